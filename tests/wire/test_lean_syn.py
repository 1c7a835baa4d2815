"""The lean reader of SYNs is dpkt's reader, where it applies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.damage import damaged
from tunstack.tcp.segment import ACK, CWR, ECE, FIN, RST, SYN, URG, Segment
from tunstack.wire import Discard, decode_datagram, decode_frame, decode_segment, encode_segment
from tunstack.wire.fast.syn import SIZE, SynReader, read_syn_frame, read_syn_packet

US, THEM = bytes((198, 51, 100, 2)), bytes((198, 51, 100, 1))
PORTS = (40000, 80)
NAMES = THEM + US + b"\x9c\x40\x00\x50"
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


def whole(segment: Segment, *, offload: bool, tos: int = 0) -> bytes:
    return b"".join(encode_segment(THEM, US, *PORTS, segment, offload=offload, tos=tos))


def reader(offload: bool) -> SynReader:
    return read_syn_frame if offload else read_syn_packet


def by_dpkt(frame: bytes, offload: bool) -> tuple[Any, ...]:
    datagram = decode_frame(frame) if offload else decode_datagram(frame)
    assert (datagram.more_fragments, datagram.fragment_offset, datagram.tos) == (False, 0, 0)
    sport, dport, segment = decode_segment(datagram)
    names = datagram.src + datagram.dst + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    return names, replace(segment, payload=bytes(segment.payload))


@pytest.mark.parametrize("offload", [False, True])
@given(segment=syns)
def test_it_reads_what_dpkt_reads(segment: Segment, offload: bool) -> None:
    frame = whole(segment, offload=offload)
    assert reader(offload)(frame) == by_dpkt(frame, offload) == (NAMES, segment)


@pytest.mark.parametrize("offload", [False, True])
@settings(max_examples=300)
@given(segment=syns, data=st.data())
def test_what_it_accepts_dpkt_accepts_and_reads_alike(
    segment: Segment, offload: bool, data: st.DataObject
) -> None:
    """Whatever was changed on the way, wherever, and cut off; one change may mend another's sum."""
    for packet in damaged(whole(segment, offload=offload), data):
        found = reader(offload)(packet)
        if found is not None:
            assert found == by_dpkt(packet, offload)


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
def test_what_is_unusual_is_not_for_it(segment: Segment) -> None:
    assert read_syn_packet(whole(segment, offload=False)) is None
    assert read_syn_frame(whole(segment, offload=True)) is None


def test_another_service_class_is_not_for_it() -> None:
    assert read_syn_packet(whole(USUAL, offload=False, tos=0x20)) is None


@pytest.mark.parametrize("start", [20, 22], ids=["source", "destination"])
def test_a_port_of_0_is_not_for_it(start: int) -> None:
    frame = bytearray(whole(USUAL, offload=True))
    frame[10 + start : 12 + start] = bytes(2)
    assert read_syn_frame(bytes(frame)) is None
    with pytest.raises(Discard, match="port"):
        by_dpkt(bytes(frame), True)


def test_a_wrong_checksum_is_not_for_it() -> None:
    packet = bytearray(whole(USUAL, offload=False))
    assert len(packet) == SIZE
    assert read_syn_packet(packet) is not None
    packet[-1] ^= 1
    assert read_syn_packet(packet) is None
    with pytest.raises(Discard, match="checksum"):
        by_dpkt(bytes(packet), False)
    # One that a wire brought behind a virtio header is verified as well.
    assert read_syn_frame(bytes(10) + packet) is None
    packet[-1] ^= 1
    assert read_syn_frame(bytes(10) + packet) is not None


def test_another_virtio_header_is_not_for_it() -> None:
    frame = whole(USUAL, offload=True)
    assert read_syn_frame(b"\x03" + frame[1:]) is None
