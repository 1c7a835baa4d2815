"""Which sockets share a port, and which of them a datagram is for: Linux's rules."""

from __future__ import annotations

import errno
from random import Random

import pytest

from tests.socket.network import fails
from tunstack.ip.demux import EPHEMERAL_PORTS
from tunstack.stack.udp_ports import UdpPorts
from tunstack.udp.sock import UdpSock

ANY, US, ALSO_US = bytes(4), bytes((198, 51, 100, 2)), bytes((198, 51, 100, 3))
THEM, OTHERS = bytes((198, 51, 100, 1)), bytes((203, 0, 113, 1))
ANY_IPV6, US_IPV6, THEM_IPV6 = bytes(16), bytes(15) + b"\2", bytes(15) + b"\1"


@pytest.fixture
def ports() -> UdpPorts:
    return UdpPorts(Random(1))


def name(src: bytes, sport: int, dst: bytes, dport: int) -> bytes:
    return src + dst + (sport << 16 | dport).to_bytes(4, "big")


def bound(
    ports: UdpPorts,
    local: bytes | None,
    port: int = 53,
    *,
    address: bool = False,
    load: bool = False,
) -> UdpSock:
    """A bound socket, with SO_REUSEADDR, or SO_REUSEPORT, or neither."""
    sock = UdpSock(local)
    sock.reuse_address, sock.reuse_port = address, load
    ports.bind(sock, local, port)
    sock.bound_to, sock.keeps_port = local, port != 0
    return sock


def test_a_socket_bound_to_the_address_comes_before_one_bound_to_all(ports: UdpPorts) -> None:
    everywhere = bound(ports, ANY, address=True)
    here = bound(ports, US, address=True)
    assert ports.find(name(THEM, 9, US, 53)) is here
    assert ports.find(name(THEM, 9, ALSO_US, 53)) is everywhere
    assert ports.find(name(THEM, 9, US, 54)) is None


def test_a_connected_socket_comes_before_all_others(ports: UdpPorts) -> None:
    here = bound(ports, US, address=True)
    connected = bound(ports, ANY, address=True)
    ports.connect(connected, US, THEM, 9)
    assert ports.find(name(THEM, 9, US, 53)) is connected
    assert ports.find(name(THEM, 10, US, 53)) is here
    assert ports.find(name(OTHERS, 9, US, 53)) is here


def test_a_connected_socket_receives_from_its_peer_alone(ports: UdpPorts) -> None:
    connected = bound(ports, ANY)
    ports.connect(connected, US, THEM, 9)
    assert ports.find(name(OTHERS, 9, US, 53)) is None
    assert ports.find(name(THEM, 9, ALSO_US, 53)) is None


@pytest.mark.parametrize(
    ("first", "second"), [(ANY, ANY), (ANY, US), (US, ANY), (US, US), (None, US), (US_IPV6, None)]
)
def test_a_port_is_not_shared_unasked(
    ports: UdpPorts, first: bytes | None, second: bytes | None
) -> None:
    bound(ports, first)
    with fails(errno.EADDRINUSE):
        bound(ports, second)


@pytest.mark.parametrize(("first", "second"), [(US, ALSO_US), (ANY, ANY_IPV6), (US, US_IPV6)])
def test_a_port_of_other_addresses_is_free(ports: UdpPorts, first: bytes, second: bytes) -> None:
    one, other = bound(ports, first), bound(ports, second)
    assert one.port == other.port == 53


def test_both_must_have_the_same_option(ports: UdpPorts) -> None:
    bound(ports, ANY, address=True)
    for options in ({}, {"load": True}):
        with fails(errno.EADDRINUSE):
            bound(ports, ANY, **options)
    bound(ports, ANY, address=True, load=True)


def test_of_several_at_one_address_the_latest_receives(ports: UdpPorts) -> None:
    first, second = bound(ports, ANY, address=True), bound(ports, ANY, address=True)
    assert ports.find(name(THEM, 9, US, 53)) is second
    ports.remove(second)
    assert ports.find(name(THEM, 9, US, 53)) is first


def test_with_so_reuseport_each_gets_a_share_and_a_flow_stays_with_one(ports: UdpPorts) -> None:
    socks = [bound(ports, ANY, load=True) for _ in range(4)]
    found = [ports.find(name(THEM, port, US, 53)) for port in range(1000, 1400)]
    assert set(found) == set(socks)
    assert min(found.count(sock) for sock in socks) > 50
    assert found == [ports.find(name(THEM, port, US, 53)) for port in range(1000, 1400)]


def test_ephemeral_ports_are_free_ones_until_there_are_none(ports: UdpPorts) -> None:
    socks = [bound(ports, ANY, 0) for _ in EPHEMERAL_PORTS]
    assert {sock.port for sock in socks} == set(EPHEMERAL_PORTS)
    with fails(errno.EADDRINUSE):
        bound(ports, ANY, 0)
    released = socks[7].port
    ports.remove(socks[7])
    assert bound(ports, ANY, 0).port == released


def test_disconnecting_gives_back_the_address_and_releases_a_port_that_was_not_chosen(
    ports: UdpPorts,
) -> None:
    chosen, automatic = bound(ports, ANY), bound(ports, ANY, 0)
    for sock in (chosen, automatic):
        ports.connect(sock, US, THEM, 9)
        ports.disconnect(sock)
    assert (chosen.local, chosen.port, chosen.remote) == (ANY, 53, None)
    assert (automatic.local, automatic.port, automatic.remote) == (ANY, 0, None)
    assert ports.find(name(OTHERS, 9, ALSO_US, 53)) is chosen
    assert ports.sockets == [chosen]


def test_a_socket_of_both_families_receives_of_both(ports: UdpPorts) -> None:
    dual = bound(ports, None)
    assert ports.find(name(THEM, 9, US, 53)) is dual
    assert ports.find(name(THEM_IPV6, 9, US_IPV6, 53)) is dual
