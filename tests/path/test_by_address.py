"""Impairments by a host's address."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

import tunstack
from tunstack import ImpairedLink, Impairments, memory_pair
from tunstack.ip.datagram import Datagram
from tunstack.path.by_address import AddressedPath, split
from tunstack.wire import encode_datagram

if TYPE_CHECKING:
    from trio.testing import MockClock

PERFECT, DEAD, SLOW = Impairments(), Impairments(loss=1.0), Impairments(delay=1.0)
PEERS = {4: "198.51.100.1", 6: "2001:db8::1"}


def packet(ours: str, *, way: int) -> bytes:
    """A packet that we send (0), or receive (1)."""
    address = ip_address(ours)
    ends = address.packed, ip_address(PEERS[address.version]).packed
    src, dst = ends if way == 0 else ends[::-1]
    return b"".join(encode_datagram(Datagram(src, dst, 253, b"x")))


@pytest.mark.parametrize("way", [0, 1])
@pytest.mark.parametrize(
    ("address", "arrival"),
    [
        ("198.51.100.2", 5.0),
        ("198.51.100.16", 6.0),
        ("198.51.100.20", None),
        ("2001:db8::2", 5.0),
        ("2001:db8::5", 6.0),
    ],
)
def test_the_longest_prefix_of_our_address_decides(
    address: str, arrival: float | None, way: int
) -> None:
    networks = {
        ip_network("198.51.100.16/28"): (SLOW, SLOW),
        ip_network("198.51.100.20/32"): (DEAD, DEAD),
        ip_network("2001:db8::5/128"): (SLOW, SLOW),
    }
    path = AddressedPath(PERFECT, networks, way, random.Random(1))
    assert path.put(packet(address, way=way), 5.0) == ([] if arrival is None else [arrival])
    assert path.next_arrival == (float("inf") if arrival is None else arrival)


@pytest.mark.parametrize("octets", [b"", b"\x45", b"\x60" + bytes(20), b"\x15" + bytes(40)])
def test_what_is_no_ip_packet_goes_by_the_general_path(octets: bytes) -> None:
    networks = {ip_network("0.0.0.0/0"): (DEAD, DEAD), ip_network("::/0"): (DEAD, DEAD)}
    path = AddressedPath(PERFECT, networks, 0, random.Random(1))
    assert path.put(octets, 5.0) == [5.0]


def test_packets_of_several_networks_arrive_in_the_order_of_time() -> None:
    networks = {ip_network("198.51.100.16/28"): (SLOW, SLOW)}
    path = AddressedPath(PERFECT, networks, 0, random.Random(1))
    slow, fast = packet("198.51.100.16", way=0), packet("198.51.100.2", way=0)
    path.put(slow, 0.0)
    path.put(fast, 0.5)
    arrived = []
    while (first := path.first(9.0)) is not None:
        arrived.append(first)
        path.pop()
    assert arrived == [fast, slow]
    assert path.counts["admitted"] == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nonsense": "loss=1%"}, "the impairments of nonsense"),
        ({"198.51.100.1/24": "loss=1%"}, "has host bits set"),
        ({"198.51.100.0/24": "luck=1"}, "luck"),
        ({"::/0": "loss=1%", "0::/0": "loss=2%"}, "twice"),
    ],
)
def test_a_mistake_is_one_line(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        split(given)
    assert "\n" not in str(caught.value)


async def test_a_link_impairs_the_packets_of_one_network_alone(autojump_clock: MockClock) -> None:
    near, far = memory_pair()
    networks = {ip_network("198.51.100.16/28"): (DEAD, DEAD)}
    link = ImpairedLink(near, networks=networks)
    link.send([packet("198.51.100.16", way=0)])
    link.send([packet("198.51.100.2", way=0)])
    assert [bytes(each) for each in far.receive()] == [packet("198.51.100.2", way=0)]
    far.send([packet("198.51.100.17", way=1)])
    far.send([packet("198.51.100.3", way=1)])
    await link.wait_readable()
    assert [bytes(each) for each in link.receive()] == [packet("198.51.100.3", way=1)]
    assert (link.counts["out_lost"], link.counts["in_lost"]) == (1, 1)


@pytest.mark.kernel
async def test_one_address_of_a_host_is_dead_and_its_neighbour_is_not() -> None:
    impair = {"198.51.100.16/28": "loss=100%"}
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host("198.51.100.0/24", impair=impair) as host,
    ):
        for address, lost in (("198.51.100.15", 0), ("198.51.100.16", 1)):
            command = ["ping", "-c", "1", "-W", "0.3", address]
            result = await ns.run_process(command, check=False, capture_stdout=True)
            assert result.returncode == lost
        assert host.statistics()["path_in_lost"] == 1
