"""Connecting to a name of several addresses (RFC 8305)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.socket import AF_INET, AF_INET6

from tests.socket.network import OURS, fails
from tests.socket.test_families import OURS6, dual_stack_pair
from tunstack.host.happy_eyeballs import ATTEMPT_DELAY, interleaved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOWHERE, NOWHERE6 = "198.51.100.77", "2001:db8::77"


class Names(trio.abc.HostnameResolver):
    """Knows one name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        assert host == b"peer.test"
        found: list[Any] = []
        for each in self.addresses:
            own = AF_INET6 if ":" in each else AF_INET
            if family in (0, own):
                address = (each, port) if own == AF_INET else (each, port, 0, 0)
                found.append((own, type, proto, "", address))
        return found

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    resolver = Names()
    before = trio.socket.set_custom_hostname_resolver(resolver)
    yield resolver
    trio.socket.set_custom_hostname_resolver(before)


def test_families_take_turns() -> None:
    assert interleaved([(10, "a"), (10, "b"), (2, "c")]) == [(10, "a"), (2, "c"), (10, "b")]
    assert interleaved([(2, "a")]) == [(2, "a")]
    assert interleaved([]) == []


@pytest.mark.parametrize("first", [OURS, OURS6])
async def test_the_first_address_that_answers_is_used(names: Names, first: str) -> None:
    other = OURS6 if first == OURS else OURS
    names.addresses = (first, other)
    async with dual_stack_pair() as (ours, theirs):
        await ours.open_tcp_listeners(80)
        stream = await theirs.open_tcp_stream("peer.test", 80)
        assert stream.socket.getpeername()[0] == first


async def test_a_silent_address_costs_a_quarter_of_a_second(
    names: Names, autojump_clock: trio.testing.MockClock
) -> None:
    names.addresses = (NOWHERE6, OURS)
    async with dual_stack_pair() as (ours, theirs):
        await ours.open_tcp_listeners(80)
        began = trio.current_time()
        stream = await theirs.open_tcp_stream("peer.test", 80)
        assert stream.socket.getpeername()[0] == OURS
        assert trio.current_time() - began == pytest.approx(ATTEMPT_DELAY, abs=0.01)
        assert [each.remote[1] for each in theirs.connections()] == [80]


async def test_a_refusal_has_the_next_one_tried_at_once(
    names: Names, autojump_clock: trio.testing.MockClock
) -> None:
    names.addresses = (OURS6, OURS)
    async with dual_stack_pair() as (ours, theirs):
        await ours.open_tcp_listeners(80, host=OURS)
        began = trio.current_time()
        stream = await theirs.open_tcp_stream("peer.test", 80)
        assert stream.socket.getpeername()[0] == OURS
        assert trio.current_time() - began < ATTEMPT_DELAY


async def test_that_all_refuse_is_one_error(names: Names) -> None:
    names.addresses = (OURS6, OURS)
    async with dual_stack_pair() as (_, theirs):
        with fails(errno.ECONNREFUSED) as caught:
            await theirs.open_tcp_stream("peer.test", 80)
        assert "peer.test port 80" in str(caught.value)


async def test_the_local_address_chooses_the_family(names: Names) -> None:
    names.addresses = (OURS6, OURS)
    async with dual_stack_pair() as (ours, theirs):
        await ours.open_tcp_listeners(80)
        local = str(theirs.addresses[0].ip)
        stream = await theirs.open_tcp_stream("peer.test", 80, local_address=local)
        assert stream.socket.getsockname()[0] == local
