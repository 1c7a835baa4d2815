"""The lean readers and writers are dpkt's reader and the full writer, where they apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.damage import damaged
from tests.wire.packets import PAIRS, ipv4_packet, ipv6_packet
from tunstack.tcp.segment import ACK, FIN, PSH, SYN, URG, Segment
from tunstack.wire import Discard, decode_datagram, decode_frame, decode_segment, encode_segment
from tunstack.wire.fast import segment as lean
from tunstack.wire.fast import segment6 as lean6
from tunstack.wire.virtio import SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunstack.ip.datagram import Buffer

PORTS = (40000, 80)
PACKED_PORTS = b"\x9c\x40\x00\x50"


class Lean(NamedTuple):
    """The lean reader and writer of a family, with or without offload."""

    them: bytes
    us: bytes
    reader: Callable[[Buffer, int], lean.Fields | None]
    template: type[lean.Template]
    headers: int
    offload: bool

    @property
    def names(self) -> bytes:
        return self.them + self.us + PACKED_PORTS

    def read(self, packet: Buffer) -> lean.Fields | None:
        return self.reader(packet, SIZE if self.offload else 0)

    @property
    def data_at(self) -> int:
        return self.headers + 10 * self.offload

    def whole(self, segment: Segment, **fields: int) -> bytes:
        packet = encode_segment(self.them, self.us, *PORTS, segment, offload=self.offload, **fields)
        return b"".join(packet)


def of_each_family() -> Iterator[Any]:
    for name, module in (("IPv4", lean), ("IPv6", lean6)):
        for offload in (False, True):
            family = Lean(
                *PAIRS[name],
                module.read,
                module.Template,
                module.HEADERS,
                offload,
            )
            yield pytest.param(family, id=f"{name} offload" if offload else name)


each = pytest.mark.parametrize("family", list(of_each_family()))

numbers = st.integers(0, 0xFFFFFFFF)
segments = st.builds(
    Segment,
    seq=numbers,
    ack=numbers,
    flags=st.sampled_from((ACK, ACK | PSH, ACK | FIN, SYN)),
    wnd=st.integers(0, 0xFFFF),
    payload=st.binary(max_size=40),
    ts_val=numbers,
    ts_ecr=numbers,
)


def by_dpkt(frame: bytes, offload: bool) -> tuple[Any, ...] | None:
    """The same fields, read by dpkt; None for what is no packet of TCP with timestamps alone."""
    datagram = decode_frame(frame) if offload else decode_datagram(frame)
    sport, dport, segment = decode_segment(datagram)
    names = datagram.src + datagram.dst + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    return (
        names,
        segment.seq,
        segment.ack,
        segment.flags,
        segment.wnd,
        segment.ts_val,
        segment.ts_ecr,
        bytes(segment.payload),
    )


@each
@given(segment=segments)
def test_it_reads_what_dpkt_reads(segment: Segment, family: Lean) -> None:
    frame = family.whole(segment)
    fields = family.read(frame)
    assert fields is not None
    assert (*fields, frame[family.data_at :]) == by_dpkt(frame, family.offload)
    assert fields[0] == family.names


@each
@settings(max_examples=300)
@given(segment=segments, data=st.data())
def test_what_it_accepts_dpkt_accepts_and_reads_alike(
    segment: Segment, family: Lean, data: st.DataObject
) -> None:
    """Whatever was changed on the way, wherever, and cut off; one change may mend another's sum."""
    for packet in damaged(family.whole(segment), data):
        fields = family.read(packet)
        # A port of 0 is no connection's, so whoever looks for one finds none.
        if fields is not None and bytes(2) not in (fields[0][-4:-2], fields[0][-2:]):
            assert (*fields, packet[family.data_at :]) == by_dpkt(packet, family.offload)


@each
@pytest.mark.parametrize(
    "segment",
    [
        pytest.param(Segment(1, 2, ACK, payload=b"x"), id="no timestamps"),
        pytest.param(Segment(1, 2, ACK, sack=((3, 4),), ts_val=1), id="SACK blocks"),
        pytest.param(Segment(1, 0, SYN, mss=1460, ts_val=1), id="a SYN's options"),
        pytest.param(Segment(1, 2, ACK | URG, up=1, payload=b"x", ts_val=1), id="urgent data"),
    ],
)
def test_what_is_unusual_is_not_for_it(segment: Segment, family: Lean) -> None:
    assert family.read(family.whole(segment)) is None


@each
def test_another_family_is_not_for_it(family: Lean) -> None:
    """Nor one of its own with another length of header, or the other version's number."""
    others = [PAIRS["IPv6"], PAIRS["IPv4"]]
    segment = Segment(1, 2, ACK, payload=bytes(60), ts_val=1)
    for src, dst in others:
        if src != family.them:
            frame = b"".join(encode_segment(src, dst, *PORTS, segment, offload=family.offload))
            assert family.read(frame) is None
    other_version = bytearray(family.whole(segment))
    other_version[10 * family.offload] ^= 0x20
    assert family.read(other_version) is None


@each
def test_another_service_class_is_not_for_it(family: Lean) -> None:
    segment = Segment(1, 2, ACK, ts_val=1)
    assert family.read(family.whole(segment, tos=0)) is not None
    for tos in (1, 3, 0x28, 0x80):
        assert family.read(family.whole(segment, tos=tos)) is None


@pytest.mark.rfc("6437:3")
def test_any_flow_label_is_for_it() -> None:
    for offload in (False, True):
        packet = encode_segment(
            *PAIRS["IPv6"],
            *PORTS,
            Segment(1, 2, ACK, ts_val=1),
            flow_label=0xFFFFF,
            offload=offload,
        )
        assert lean6.read(b"".join(packet), SIZE if offload else 0) is not None


def test_fragments_and_extension_headers_are_not_for_it() -> None:
    segment = b"".join(encode_segment(*PAIRS["IPv4"], *PORTS, Segment(1, 2, ACK, ts_val=1)))[20:]
    assert lean.read(ipv4_packet(segment, flags=0x2000), 0) is None
    assert lean.read(ipv4_packet(segment, flags=0x0001), 0) is None
    for header in (44, 60):
        packet = ipv6_packet(b"\6\0\1\4\0\0\0\0" + segment, next_header=header)
        assert lean6.read(packet, 0) is None


@each
def test_a_wrong_checksum_is_not_for_it(family: Lean) -> None:
    packet = bytearray(
        family._replace(offload=False).whole(Segment(1, 2, ACK, payload=b"data", ts_val=1))
    )
    assert family.reader(packet, 0) is not None
    packet[-1] ^= 1
    assert family.reader(packet, 0) is None
    with pytest.raises(Discard, match="checksum"):
        by_dpkt(bytes(packet), False)
    # One that a wire brought behind a virtio header is verified as well.
    assert family.reader(bytes(SIZE) + packet, SIZE) is None
    packet[-1] ^= 1
    assert family.reader(bytes(SIZE) + packet, SIZE) is not None


@each
@given(segment=segments)
def test_it_writes_what_the_full_writer_writes(segment: Segment, family: Lean) -> None:
    template = family.template(
        family.them, family.us, PACKED_PORTS, offload=family.offload, ttl=3, tos=0x28
    )
    assert segment.ts_val is not None
    headers = template.headers(
        segment.seq,
        segment.ack,
        segment.flags,
        segment.wnd,
        segment.ts_val,
        segment.ts_ecr,
        segment.payload,
    )
    assert headers + segment.payload == family.whole(segment, ttl=3, tos=0x28)


@pytest.mark.rfc("6437:3")
@pytest.mark.parametrize("offload", [False, True])
def test_every_segment_of_a_connection_has_its_flow_label(offload: bool) -> None:
    template = lean6.Template(*PAIRS["IPv6"], PACKED_PORTS, offload=offload, flow_label=0xABCDE)
    headers = template.headers(1, 2, ACK, 9, 3, 4, b"")
    assert decode_datagram(headers[10 * offload :]).flow_label == 0xABCDE
    segment = Segment(1, 2, ACK, 9, ts_val=3, ts_ecr=4)
    packet = encode_segment(*PAIRS["IPv6"], *PORTS, segment, flow_label=0xABCDE, offload=offload)
    assert headers == b"".join(packet)


@each
def test_it_writes_large_segments_as_the_full_writer_does(family: Lean) -> None:
    family = family._replace(offload=True)
    segment = Segment(1, 2, ACK | PSH, 9, payload=bytes(30_000), ts_val=3, ts_ecr=4, gso_size=1448)
    template = family.template(family.them, family.us, PACKED_PORTS, offload=True)
    headers = template.headers(1, 2, ACK | PSH, 9, 3, 4, bytes(30_000), 1448)
    frame = headers + bytes(30_000)
    assert frame == family.whole(segment)
    assert family.read(frame) == (family.names, 1, 2, ACK | PSH, 9, 3, 4)
