"""The lean readers of SYNs are dpkt's reader, where they apply."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.damage import damaged
from tests.wire.packets import PAIRS
from tunstack.tcp.segment import ACK, CWR, ECE, FIN, RST, SYN, URG, Segment
from tunstack.wire import Discard, decode_datagram, decode_frame, decode_segment, encode_segment
from tunstack.wire.fast import syn, syn6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.wire.fast.syn import SynReader

PORTS = (40000, 80)
PACKED_PORTS = b"\x9c\x40\x00\x50"
USUAL = Segment(1, 0, SYN, 64240, mss=1460, wscale=7, sack_permitted=True, ts_val=5)

numbers = st.integers(0, 0xFFFFFFFF)
syns = st.builds(
    Segment,
    seq=numbers,
    ack=numbers,
    flags=st.sampled_from((SYN, SYN | ECE | CWR)),
    wnd=st.integers(0, 0xFFFF),
    up=st.integers(0, 0xFFFF),
    mss=st.integers(0, 0xFFFF),
    wscale=st.integers(0, 0xFF),
    sack_permitted=st.just(True),
    ts_val=numbers,
    ts_ecr=numbers,
)


class Lean(NamedTuple):
    """The lean reader of a family, with or without offload."""

    them: bytes
    us: bytes
    read_packet: SynReader
    read_frame: SynReader
    size: int
    offload: bool

    @property
    def names(self) -> bytes:
        return self.them + self.us + PACKED_PORTS

    @property
    def read(self) -> SynReader:
        return self.read_frame if self.offload else self.read_packet

    def whole(self, segment: Segment, *, tos: int = 0) -> bytes:
        packet = encode_segment(self.them, self.us, *PORTS, segment, offload=self.offload, tos=tos)
        return b"".join(packet)


def of_each_family() -> Iterator[Any]:
    for name, module in (("IPv4", syn), ("IPv6", syn6)):
        for offload in (False, True):
            family = Lean(
                *PAIRS[name], module.read_syn_packet, module.read_syn_frame, module.SIZE, offload
            )
            yield pytest.param(family, id=f"{name} offload" if offload else name)


each = pytest.mark.parametrize("family", list(of_each_family()))


def by_dpkt(frame: bytes, offload: bool) -> tuple[Any, ...]:
    datagram = decode_frame(frame) if offload else decode_datagram(frame)
    assert (datagram.more_fragments, datagram.fragment_offset, datagram.tos) == (False, 0, 0)
    sport, dport, segment = decode_segment(datagram)
    names = datagram.src + datagram.dst + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    return names, replace(segment, payload=bytes(segment.payload))


@each
@given(segment=syns)
def test_it_reads_what_dpkt_reads(segment: Segment, family: Lean) -> None:
    frame = family.whole(segment)
    assert family.read(frame) == by_dpkt(frame, family.offload) == (family.names, segment)


@each
@settings(max_examples=300)
@given(segment=syns, data=st.data())
def test_what_it_accepts_dpkt_accepts_and_reads_alike(
    segment: Segment, family: Lean, data: st.DataObject
) -> None:
    """Whatever was changed on the way, wherever, and cut off; one change may mend another's sum."""
    for packet in damaged(family.whole(segment), data):
        found = family.read(packet)
        if found is not None:
            assert found == by_dpkt(packet, family.offload)


@each
@pytest.mark.parametrize(
    "segment",
    [
        pytest.param(replace(USUAL, payload=b"data"), id="data"),
        pytest.param(replace(USUAL, wscale=None), id="no window scale"),
        pytest.param(replace(USUAL, sack_permitted=False), id="no SACK"),
        pytest.param(replace(USUAL, ts_val=None), id="no timestamps"),
        pytest.param(replace(USUAL, fast_open=b""), id="a request for a cookie"),
        pytest.param(replace(USUAL, flags=SYN | ACK), id="an answer"),
        pytest.param(replace(USUAL, flags=SYN | FIN), id="nonsense"),
        pytest.param(replace(USUAL, flags=SYN | RST), id="a reset"),
        pytest.param(replace(USUAL, flags=SYN | URG), id="urgent data"),
        pytest.param(replace(USUAL, ecn=3), id="marked"),
        pytest.param(Segment(1, 2, ACK, ts_val=1, sack=((3, 4),)), id="no SYN"),
    ],
)
def test_what_is_unusual_is_not_for_it(segment: Segment, family: Lean) -> None:
    assert family.read(family.whole(segment)) is None


@each
def test_another_service_class_is_not_for_it(family: Lean) -> None:
    assert family.read(family.whole(USUAL, tos=0x20)) is None


@each
@pytest.mark.parametrize("place", [4, 2], ids=["source", "destination"])
def test_a_port_of_0_is_not_for_it(place: int, family: Lean) -> None:
    family = family._replace(offload=True)
    frame = bytearray(family.whole(USUAL))
    start = 10 + family.size - 40 + 4 - place  # Both ports begin the segment of 40 octets.
    frame[start : start + 2] = bytes(2)
    assert family.read(bytes(frame)) is None
    with pytest.raises(Discard, match="port"):
        by_dpkt(bytes(frame), True)


@each
def test_a_wrong_checksum_is_not_for_it(family: Lean) -> None:
    packet = bytearray(family._replace(offload=False).whole(USUAL))
    assert len(packet) == family.size
    assert family.read_packet(packet) is not None
    packet[-1] ^= 1
    assert family.read_packet(packet) is None
    with pytest.raises(Discard, match="checksum"):
        by_dpkt(bytes(packet), False)
    # One that a wire brought behind a virtio header is verified as well.
    assert family.read_frame(bytes(10) + packet) is None
    packet[-1] ^= 1
    assert family.read_frame(bytes(10) + packet) is not None


@each
def test_another_virtio_header_is_not_for_it(family: Lean) -> None:
    frame = family._replace(offload=True).whole(USUAL)
    assert family.read_frame(b"\x03" + frame[1:]) is None
