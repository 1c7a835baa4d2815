"""What a user's own link or tap raises comes out of the host's block, and nothing is left open."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS, PORT, Peer, Valve, fails, listening
from tunstack import Host, ImpairedLink, Impairments, Observation, memory_pair
from tunstack.tcp.segment import ACK, RST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tunstack import Socket
    from tunstack.link.base import Buffer, Link

MISTAKE = ValueError("a mistake in somebody's link or tap")


class Mistaken(Valve):
    """A link of a user's with a mistake in one of its methods.

    Attributes:
        where: The method that raises from now on.
        closed: How often it was closed.
    """

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.where = ""
        self.closed = 0

    def _check_for(self, method: str) -> None:
        if self.where == method:
            raise MISTAKE

    def receive(self, limit: int = 256) -> list[Buffer]:
        self._check_for("receive")
        return super().receive(limit)

    def send(self, packet: Sequence[Buffer]) -> bool:
        self._check_for("send")
        return super().send(packet)

    async def wait_readable(self) -> None:
        await super().wait_readable()
        self._check_for("wait_readable")

    async def wait_writable(self) -> None:
        self._check_for("wait_writable")
        await super().wait_writable()

    def close(self) -> None:
        self.closed += 1
        self._check_for("close")
        super().close()

    def tap(self, seen: Observation) -> None:
        self._check_for(f"tap {seen.direction}")


FULL = "wait_writable"
WHERE = ["receive", "send", "wait_readable", FULL, "close", "tap in", "tap out"]
SENDS = ["receive", "wait_readable", "close", "tap in", "tap out"]
"""Where there is a mistake and packets can be sent all the same."""


@asynccontextmanager
async def a_host_with_a_mistake(
    where: str, wrap: Callable[[Link], Link]
) -> AsyncIterator[tuple[Socket, Mistaken, Peer]]:
    """A host with a connection, and soon with a mistake in its link or its tap."""
    near, far = memory_pair()
    link, peer = Mistaken(near), Peer(far)
    async with Host(wrap(link), [f"{OURS}/24"], seed=1, tap=link.tap) as host:
        listener = await listening(host)
        await peer.connect(mss=1460)
        server, _ = await listener.accept()
        await wait_all_tasks_blocked()
        link.where = where
        link.full = where == FULL
        peer.send(ACK, b"there is a packet in")
        yield server, link, peer


async def meet_it(server: Socket) -> None:
    """Have packets come and go, and wait for what never comes."""
    await server.recv(100)
    await server.send(b"there is a packet out")
    await server.recv(100)


def as_it_is(link: Link) -> Link:
    return link


def impaired(link: Link) -> Link:
    return ImpairedLink(link, Impairments(), Impairments())


@pytest.mark.parametrize(
    ("wrap", "where"),
    # A path has always room, and does not wait for the link.
    [*((as_it_is, each) for each in WHERE), *((impaired, each) for each in WHERE if each != FULL)],
)
async def test_it_comes_out_of_the_block_as_it_is(where: str, wrap: Callable[[Link], Link]) -> None:
    with pytest.raises(ValueError, match="a mistake") as caught:  # noqa: PT012
        async with a_host_with_a_mistake(where, wrap) as (server, link, peer):
            with trio.fail_after(10) if where != "close" else trio.move_on_after(1):
                await meet_it(server)
    assert caught.value is MISTAKE
    assert link.closed == 1
    if where in SENDS:
        assert peer.segments()[-1].flags & RST


@pytest.mark.parametrize("where", WHERE)
async def test_what_the_block_raises_is_beside_it(where: str) -> None:
    with pytest.raises(ExceptionGroup, match="failed") as caught:  # noqa: PT012
        async with a_host_with_a_mistake(where, as_it_is) as (server, link, _):
            try:
                with trio.move_on_after(1):
                    await meet_it(server)
            finally:
                raise KeyError("the block's own")
    mistake, own = caught.value.exceptions
    assert mistake is MISTAKE
    assert type(own) is KeyError
    assert link.closed == 1


async def test_of_a_group_what_is_no_cancellation_is_beside_it() -> None:
    async def fail_as_it_ends() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("one task's")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with (
            a_host_with_a_mistake("receive", as_it_is) as (server, _, _),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(fail_as_it_ends)
            nursery.start_soon(meet_it, server)
    mistake, own = caught.value.exceptions
    assert mistake is MISTAKE
    assert isinstance(own, ExceptionGroup)
    assert [type(each) for each in own.exceptions] == [KeyError]


async def test_an_outer_cancellation_does_not_hide_it() -> None:
    with trio.CancelScope() as scope, pytest.raises(ValueError, match="mistake"):  # noqa: PT012
        async with a_host_with_a_mistake("receive", as_it_is):
            scope.cancel()
            await trio.sleep_forever()


async def test_who_does_not_mind_a_cancellation_has_errors_of_sockets() -> None:
    with pytest.raises(ValueError, match="mistake"):  # noqa: PT012
        async with a_host_with_a_mistake("send", as_it_is) as (server, _, _):
            with trio.CancelScope(shield=True):
                with pytest.raises(OSError) as caught:  # noqa: PT011
                    await meet_it(server)
                assert caught.value.errno in (errno.ECONNABORTED, errno.ENETDOWN)
                with fails(errno.ENETDOWN):
                    await server._state.endpoint.socket().connect((OURS, PORT))


async def test_a_tap_that_has_raised_is_not_called_again() -> None:
    calls: list[Any] = []

    def tap(seen: Observation) -> None:
        calls.append(seen)
        raise MISTAKE

    near, far = memory_pair()
    peer = Peer(far)
    with pytest.raises(ValueError, match="a mistake"):  # noqa: PT012
        async with Host(near, [f"{OURS}/24"], tap=tap) as host:
            await listening(host)
            with trio.CancelScope(shield=True):
                await peer.connect()  # The host goes on as long as the block does.
            await trio.sleep_forever()
    assert len(calls) == 1
