"""The virtio header: what it says, what it cannot say, and checksums filled in for taps."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING

import pytest

from tests.wire.packets import PAIRS
from tunstack.link.base import VNET_HEADER_SIZE
from tunstack.tcp.segment import ACK, CWR, PSH, Segment
from tunstack.wire import (
    NOTHING_OFFLOADED,
    Discard,
    Reason,
    completed,
    decode_datagram,
    decode_frame,
    decode_segment,
    decode_vnet,
    encode_segment,
)
from tunstack.wire.virtio import is_large_segment, is_large_segment_ipv6

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer

PACKET = b"\x45" + bytes(59)

each_family = pytest.mark.parametrize("family", PAIRS)
HEADER = {"IPv4": 20, "IPv6": 40}
"""Octets before the TCP header."""


def header(
    flags: int = 1, kind: int = 0, size: int = 0, start: int = 20, offset: int = 16
) -> bytes:
    return pack("=BBHHHH", flags, kind, 0, size, start, offset)


def sent(segment: Segment, family: str = "IPv4", *, offload: bool = True) -> bytes:
    return b"".join(encode_segment(*PAIRS[family], 80, 40000, segment, offload=offload))


@each_family
def test_a_segment_goes_out_with_its_checksum_left_to_others(family: str) -> None:
    frame = sent(Segment(1, 2, ACK, payload=b"data"), family)
    assert frame[:10] == header(start=HEADER[family])
    packet, trusted, gso_size = decode_vnet(frame)
    assert (trusted, gso_size) == (True, 0)
    with pytest.raises(Discard, match="bad TCP checksum"):
        decode_segment(decode_datagram(packet))
    sport, dport, segment = decode_segment(decode_frame(frame))
    assert (sport, dport, segment.seq, segment.payload) == (80, 40000, 1, b"data")


@each_family
@pytest.mark.parametrize("size", [0, 1, 4, 1448])
def test_what_is_left_out_can_be_filled_in(size: int, family: str) -> None:
    segment = Segment(7, 9, ACK | PSH, 500, payload=b"\xa5" * size, ts_val=1)
    packet = completed(sent(segment, family))
    assert packet == sent(segment, family, offload=False)
    _, _, segment = decode_segment(decode_datagram(packet))
    assert len(segment.payload) == size


@each_family
def test_a_checksum_of_0_is_filled_in_as_0_but_for_udp(family: str) -> None:
    """In UDP alone that would say that there is none, and 0xffff is the same number (RFC 768)."""
    segment = Segment(7, 9, ACK, 0, ts_val=1)
    at = slice(HEADER[family] + 16, HEADER[family] + 18)
    segment.wnd = int.from_bytes(completed(sent(segment, family))[at], "big")
    packet = completed(sent(segment, family))
    assert packet[at] == bytes(2)
    assert packet == sent(segment, family, offload=False)
    assert completed(pack("=BBHHHH", 1, 0, 0, 0, 20, 6) + bytes(28))[26:28] == b"\xff\xff"


@pytest.mark.parametrize(("family", "of_family"), [("IPv4", 1), ("IPv6", 4)])
@pytest.mark.parametrize(("flags", "of_flags"), [(ACK, 0), (ACK | CWR, 0x80)])
def test_a_large_segment_says_how_it_is_to_be_cut(
    flags: int, of_flags: int, family: str, of_family: int
) -> None:
    frame = sent(Segment(1, 2, flags, payload=bytes(5000), ts_val=1, gso_size=1448), family)
    start = HEADER[family]
    assert frame[:10] == pack("=BBHHHH", 1, of_family | of_flags, start + 32, 1448, start, 16)
    packet, trusted, gso_size = decode_vnet(frame)
    assert (len(packet), trusted, gso_size) == (5032 + start, True, 1448)
    assert is_large_segment(frame) == (family == "IPv4")
    assert is_large_segment_ipv6(frame) == (family == "IPv6")


def test_a_packet_to_which_nothing_is_left_to_do_must_be_whole() -> None:
    packet, trusted, gso_size = decode_vnet(NOTHING_OFFLOADED + PACKET)
    assert (bytes(packet), trusted, gso_size) == (PACKET, False, 0)


def test_a_packet_that_was_verified_already_is_trusted() -> None:
    assert decode_vnet(header(flags=2, start=0, offset=0) + PACKET)[1:] == (True, 0)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(header(start=50) + PACKET, id="the checksum would stand beyond the end"),
        pytest.param(header(kind=2, size=1000) + PACKET, id="a kind that nobody knows"),
        pytest.param(header(kind=1, size=0) + PACKET, id="pieces of nothing"),
        pytest.param(header(start=0xFFFF, offset=0xFFFF) + PACKET, id="far beyond the end"),
    ],
)
def test_a_header_that_cannot_be_is_discarded(frame: Buffer) -> None:
    with pytest.raises(Discard) as caught:
        decode_vnet(frame)
    assert caught.value.reason is Reason.BAD_VNET_HEADER
    assert completed(frame)  # Whoever looks sees it all the same.


@pytest.mark.parametrize("size", range(10))
def test_half_a_header_is_discarded(size: int) -> None:
    with pytest.raises(Discard) as caught:
        decode_vnet(header()[:size])
    assert caught.value.reason is Reason.TRUNCATED
    assert completed(header()[:size]) == b""


def test_links_know_the_size_of_the_header_that_wire_reads() -> None:
    assert len(NOTHING_OFFLOADED) == VNET_HEADER_SIZE
