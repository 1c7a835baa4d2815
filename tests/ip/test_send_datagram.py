"""Datagrams out of a stack: whole, in fragments, or refused."""

from __future__ import annotations

import errno
from ipaddress import IPv4Interface
from random import Random
from typing import Final

import pytest

from tests.socket.network import fails
from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.stack.stack import Stack
from tunstack.wire import NOTHING_OFFLOADED, VNET_SIZE, checksum, decode_datagram, ones_sum
from tunstack.wire.virtio import (
    GSO_UDP_L4,
    HEADER,
    NEEDS_CHECKSUM,
    TCP_CHECKSUM,
    UDP_CHECKSUM,
)

HERE: Final = IPv4Interface("198.51.100.2/24")
THERE: Final = bytes((198, 51, 100, 1))
OURS: Final = HERE.ip.packed


def stack(mtu: int = 1500, *, offload: bool = False) -> Stack:
    return Stack([HERE], mtu, rng=Random(1), offload=offload)


def sent(stack: Stack) -> list[bytes]:
    packets = [b"".join(packet) for packet in stack.outgoing]
    stack.outgoing.clear()
    return packets


def of(size: int, *, df: bool = False) -> Datagram:
    return Datagram(OURS, THERE, UDP, Random(size).randbytes(size), dont_fragment=df)


@pytest.mark.parametrize("offload", [False, True], ids=["plain", "offload"])
def test_a_datagram_within_the_mtu_is_not_fragmented(offload: bool) -> None:
    ours = stack(offload=offload)
    ours.output.send_datagram(of(1480, df=True), 0.0)
    [packet] = sent(ours)
    if offload:
        assert packet[:VNET_SIZE] == NOTHING_OFFLOADED
        packet = packet[VNET_SIZE:]
    assert decode_datagram(packet) == of(1480, df=True)
    assert ours.statistics()["fragments_sent"] == 0


@pytest.mark.parametrize("offload", [False, True], ids=["plain", "offload"])
@pytest.mark.parametrize(
    ("mtu", "path", "size", "count"),
    [
        (1500, None, 1481, 2),
        (1500, 1400, 1400, 2),
        (1500, 9000, 2960, 2),
        (1500, 1, 96, 2),
        (68, None, 480, 10),
        (1500, None, 65515, 45),
    ],
    ids=["link", "path", "path above link", "no path", "narrow", "longest"],
)
def test_a_datagram_above_the_mtu_is_fragmented(
    mtu: int, path: int | None, size: int, count: int, offload: bool
) -> None:
    ours = stack(mtu, offload=offload)
    seen: list[int] = []
    for _ in range(2):
        ours.output.send_datagram(of(size), 0.0, mtu=path)
        packets = sent(ours)
        if offload:
            assert {packet[:VNET_SIZE] for packet in packets} == {NOTHING_OFFLOADED}
            packets = [packet[VNET_SIZE:] for packet in packets]
        assert max(map(len, packets)) <= max(68, min(mtu, path or mtu))
        parts = [decode_datagram(packet) for packet in packets]
        assert len(parts) == count
        assert b"".join(part.payload for part in parts) == of(size).payload
        assert not any(part.dont_fragment for part in parts)
        [identification] = {part.identification for part in parts}
        seen.append(identification)
    assert seen[1] == seen[0] + 1
    statistics = ours.statistics()
    assert statistics["datagrams_fragmented"] == 2
    assert statistics["fragments_sent"] == statistics["packets_sent"] == 2 * count


@pytest.mark.parametrize(
    ("size", "df", "path"),
    [(1481, True, None), (1000, True, 1000), (65516, False, None), (65516, True, None)],
    ids=["link", "path", "longer than IPv4 allows", "that with DF"],
)
def test_emsgsize_with_df_or_above_the_longest_datagram(
    size: int, df: bool, path: int | None
) -> None:
    ours = stack()
    with fails(errno.EMSGSIZE):
        ours.output.send_datagram(of(size, df=df), 0.0, mtu=path)
    assert not ours.outgoing
    assert ours.statistics()["packets_sent"] == 0


@pytest.mark.parametrize(
    ("protocol", "offset", "zero"), [(UDP, UDP_CHECKSUM, 0xFFFF), (TCP, TCP_CHECKSUM, 0)]
)
def test_an_offloaded_checksum_is_filled_in_before_fragmentation(
    protocol: int, offset: int, zero: int
) -> None:
    """The field has the sum of the pseudo-header; the data is such that the checksum is 0, too."""
    vnet = HEADER.pack(NEEDS_CHECKSUM, 0, 0, 0, 20, offset)
    data = bytearray(Random(1).randbytes(3000))
    pseudo = OURS + THERE + bytes((0, protocol)) + len(data).to_bytes(2, "big")
    data[offset : offset + 2] = bytes(2)
    for nulled in (False, True):
        if nulled:
            data[-2:] = bytes(2)
            data[-2:] = checksum(pseudo, data).to_bytes(2, "big")
        expected = checksum(pseudo, data) or zero
        partial = bytearray(data)
        partial[offset : offset + 2] = ones_sum(pseudo).to_bytes(2, "big")
        ours = stack(offload=True)
        ours.output.send_datagram(Datagram(OURS, THERE, protocol, partial), 0.0, vnet=vnet)
        packets = sent(ours)
        assert {packet[:VNET_SIZE] for packet in packets} == {NOTHING_OFFLOADED}
        whole = b"".join(decode_datagram(packet[VNET_SIZE:]).payload for packet in packets)
        data[offset : offset + 2] = expected.to_bytes(2, "big")
        assert whole == data
        data[offset : offset + 2] = bytes(2)


@pytest.mark.parametrize("df", [False, True])
def test_a_datagram_for_segmentation_offload_is_not_fragmented(df: bool) -> None:
    vnet = HEADER.pack(NEEDS_CHECKSUM, GSO_UDP_L4, 28, 1000, 20, UDP_CHECKSUM)
    ours = stack(offload=True)
    ours.output.send_datagram(of(30_000, df=df), 0.0, vnet=vnet)
    [packet] = sent(ours)
    assert packet[:VNET_SIZE] == vnet
    assert decode_datagram(packet[VNET_SIZE:]).payload == of(30_000).payload


def test_datagrams_to_our_own_address_are_looped() -> None:
    ours = stack()
    ours.output.send_datagram(Datagram(OURS, OURS, UDP, bytes(3000)), 0.0)
    assert not ours.outgoing
    assert len(ours.output.looped) == 3
