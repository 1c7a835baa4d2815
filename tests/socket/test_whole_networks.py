"""Sockets of a host that has whole networks, and profiles of its addresses."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.families import each_family
from tests.socket.network import PORT, fails, listening
from tunstack import Host, Profile, memory_pair
from tunstack.ip.family import IPV4, IPV6

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tunstack.ip.family import Family

NEAR = ("198.51.100.0/24", "2001:db8::/64")
FAR = {IPV4: "198.51.100.1", IPV6: "2001:db8::1"}
FIRST = {IPV4: "198.51.100.2", IPV6: "2001:db8::2"}
SOME = {IPV4: "198.51.100.77", IPV6: "2001:db8::7777:1"}


@asynccontextmanager
async def whole_and_single(**parameters: Any) -> AsyncIterator[tuple[Host, Host]]:
    """A host with two whole networks, and its neighbour with one address of each."""
    left, right = memory_pair()
    theirs = [f"{FAR[IPV4]}/24", f"{FAR[IPV6]}/64"]
    async with (
        Host(left, NEAR, seed=1, excluded=FAR.values(), **parameters) as near,
        Host(right, theirs, seed=2) as far,
    ):
        yield near, far


@each_family
async def test_the_accepted_socket_tells_which_address_it_is(family: Family) -> None:
    async with whole_and_single() as (near, far):
        listeners = await near.open_tcp_listeners(PORT)
        [listener] = [each for each in listeners if each.socket.family == family.number]
        for ours in (FIRST[family], SOME[family]):
            client = await far.open_tcp_stream(ours, PORT)
            server = await listener.accept()
            assert server.socket.getsockname()[0] == ours
            assert client.socket.getpeername()[0] == ours


@each_family
async def test_a_client_chooses_its_source(family: Family) -> None:
    async with whole_and_single() as (near, far):
        listeners = await far.open_tcp_listeners(PORT, host=FAR[family])
        for chosen, source in ((None, FIRST[family]), (SOME[family], SOME[family])):
            client = await near.open_tcp_stream(FAR[family], PORT, local_address=chosen)
            server = await listeners[0].accept()
            assert client.socket.getsockname()[0] == source
            assert server.socket.getpeername()[0] == source


@each_family
async def test_an_address_that_is_not_ours_cannot_be_bound(family: Family) -> None:
    elsewhere = {IPV4: "203.0.113.2", IPV6: "2001:db8:1::2"}[family]
    async with whole_and_single() as (near, _):
        for address in (FAR[family], elsewhere):
            with fails(errno.EADDRNOTAVAIL):
                await near.socket(family.number).bind((address, PORT))
        await near.socket(family.number).bind((SOME[family], PORT))


async def test_more_clients_than_ports_each_with_an_address_of_its_own() -> None:
    """A port is taken at one address alone, whoever else has it."""
    async with whole_and_single() as (near, far):
        listener = await listening(far)
        held = []
        for number in range(3, 103):
            for _ in range(300):  # More than there are ephemeral ports, all in all.
                sock = near.socket()
                held.append(sock)
                await sock.bind((f"198.51.100.{number}", 0))
        await held[-1].connect((FAR[IPV4], PORT))
        with near.socket() as unbound:
            await unbound.connect((FAR[IPV4], PORT))
            assert unbound.getsockname()[0] == FIRST[IPV4]
        listener.close()
        for sock in held:
            sock.close()


async def test_a_host_names_its_networks() -> None:
    async with whole_and_single() as (near, _):
        assert repr(near) == "<tunstack.Host 198.51.100.0/24, 2001:db8::/64 on memory0>"
        assert [str(each) for each in near.addresses] == [*NEAR]
        assert str(near.addresses[0].network) == NEAR[0]


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        (("198.51.100.0/24", "198.51.100.2/24"), "overlaps with 198.51.100.0/24"),
        (("2001:db8::/64", "2001:db8::/112"), "overlaps with 2001:db8::/64"),
        (("198.51.100.2/24", "198.51.100.2/24"), "overlaps with"),
        (("198.51.100.0/30",), "no address of 198.51.100.0/30 is left"),
    ],
)
async def test_networks_that_a_host_cannot_have(addresses: tuple[str, ...], message: str) -> None:
    link, _ = memory_pair()
    with pytest.raises(ValueError, match=message):
        Host(link, addresses, excluded=["198.51.100.1", "198.51.100.2"])
    await trio.lowlevel.checkpoint()


# Profiles


async def test_a_socket_option_replaces_what_the_profile_says() -> None:
    """Even where it sets what the host has by default."""
    profiles = {"198.51.100.77": Profile(ttl=128, mss=1000)}
    seen: list[int] = []
    left, right = memory_pair()
    async with (
        Host(left, NEAR, excluded=FAR.values(), profiles=profiles) as near,
        trio.open_nursery() as nursery,
    ):
        for ttl in (None, 64, 3):
            sock = near.socket()
            if ttl is not None:
                sock.setsockopt(trio.socket.IPPROTO_IP, trio.socket.IP_TTL, ttl)
            await sock.bind(("198.51.100.77", 0))
            nursery.start_soon(sock.connect, (FAR[IPV4], PORT))
            await right.wait_readable()
            seen += [packet[8] for packet in right.receive()]
        nursery.cancel_scope.cancel()
    assert seen == [128, 64, 3]


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ({"203.0.113.7": Profile(ttl=9)}, "no address of the host is in it"),
        ({"198.51.100.9/28": Profile(ttl=9)}, "has host bits set"),
        ({"somewhere": Profile(ttl=9)}, "the profile of somewhere"),
        (
            {"198.51.100.9": Profile(ttl=9), "198.51.100.9/32": Profile(ttl=8)},
            "198.51.100.9/32 has two profiles",
        ),
    ],
)
async def test_profiles_that_a_host_cannot_have(profiles: dict[Any, Profile], message: str) -> None:
    link, _ = memory_pair()
    with pytest.raises(ValueError, match=message):
        Host(link, NEAR, profiles=profiles)
    await trio.lowlevel.checkpoint()
