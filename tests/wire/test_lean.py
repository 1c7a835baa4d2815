"""The lean reader and writer are dpkt's reader and the full writer, where they apply."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.damage import damaged
from tunstack.tcp.segment import ACK, FIN, PSH, SYN, URG, Segment
from tunstack.wire import Discard, decode_datagram, decode_frame, decode_segment, encode_segment
from tunstack.wire.fast import segment as lean

US, THEM = bytes((198, 51, 100, 2)), bytes((198, 51, 100, 1))
PORTS = (40000, 80)
NAMES = THEM + US + b"\x9c\x40\x00\x50"

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


def whole(segment: Segment, *, offload: bool) -> bytes:
    return b"".join(encode_segment(THEM, US, *PORTS, segment, offload=offload))


def reader(offload: bool) -> lean.Reader:
    return lean.read_frame if offload else lean.read_packet


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


@pytest.mark.parametrize("offload", [False, True])
@given(segment=segments)
def test_it_reads_what_dpkt_reads(segment: Segment, offload: bool) -> None:
    frame = whole(segment, offload=offload)
    fields = reader(offload)(frame)
    assert fields is not None
    data = frame[lean.HEADERS + 10 * offload :]
    assert (*fields, data) == by_dpkt(frame, offload)
    assert fields[0] == NAMES


@pytest.mark.parametrize("offload", [False, True])
@settings(max_examples=300)
@given(segment=segments, data=st.data())
def test_what_it_accepts_dpkt_accepts_and_reads_alike(
    segment: Segment, offload: bool, data: st.DataObject
) -> None:
    """Whatever was changed on the way, wherever, and cut off; one change may mend another's sum."""
    for packet in damaged(whole(segment, offload=offload), data):
        fields = reader(offload)(packet)
        # A port of 0 is no connection's, so whoever looks for one finds none.
        if fields is not None and bytes(2) not in (fields[0][8:10], fields[0][10:]):
            payload = packet[lean.HEADERS + 10 * offload :]
            assert (*fields, payload) == by_dpkt(packet, offload)


@pytest.mark.parametrize(
    "segment",
    [
        pytest.param(Segment(1, 2, ACK, payload=b"x"), id="no timestamps"),
        pytest.param(Segment(1, 2, ACK, sack=((3, 4),), ts_val=1), id="SACK blocks"),
        pytest.param(Segment(1, 0, SYN, mss=1460, ts_val=1), id="a SYN's options"),
        pytest.param(Segment(1, 2, ACK | URG, up=1, payload=b"x", ts_val=1), id="urgent data"),
    ],
)
def test_what_is_unusual_is_not_for_it(segment: Segment) -> None:
    assert lean.read_packet(whole(segment, offload=False)) is None
    assert lean.read_frame(whole(segment, offload=True)) is None


def test_a_wrong_checksum_is_not_for_it() -> None:
    packet = bytearray(whole(Segment(1, 2, ACK, payload=b"data", ts_val=1), offload=False))
    assert lean.read_packet(packet) is not None
    packet[-1] ^= 1
    assert lean.read_packet(packet) is None
    with pytest.raises(Discard, match="checksum"):
        by_dpkt(bytes(packet), False)
    # One that a wire brought behind a virtio header is verified as well.
    assert lean.read_frame(bytes(10) + packet) is None
    packet[-1] ^= 1
    assert lean.read_frame(bytes(10) + packet) is not None


@pytest.mark.parametrize("offload", [False, True])
@given(segment=segments)
def test_it_writes_what_the_full_writer_writes(segment: Segment, offload: bool) -> None:
    template = lean.Template(
        THEM, US, PORTS[0].to_bytes(2, "big") + PORTS[1].to_bytes(2, "big"), offload=offload
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
    assert headers + segment.payload == whole(segment, offload=offload)


def test_it_writes_large_segments_as_the_full_writer_does() -> None:
    segment = Segment(1, 2, ACK | PSH, 9, payload=bytes(30_000), ts_val=3, ts_ecr=4, gso_size=1448)
    template = lean.Template(THEM, US, NAMES[8:], offload=True)
    headers = template.headers(1, 2, ACK | PSH, 9, 3, 4, bytes(30_000), 1448)
    frame = headers + bytes(30_000)
    assert frame == whole(segment, offload=True)
    assert lean.read_frame(frame) == (NAMES, 1, 2, ACK | PSH, 9, 3, 4)
