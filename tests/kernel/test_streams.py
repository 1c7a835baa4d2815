"""trio's own judgement of streams, with one end of ours and one of the kernel's."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import check_half_closeable_stream

from tests.kernel.sockets import ROLES, SMALL, connected

if TYPE_CHECKING:
    from tests.kernel.sockets import Pair, Role
    from tunstack import Host, Namespace

pytestmark = [pytest.mark.kernel, pytest.mark.both_families]

Streams = tuple[trio.SocketStream, trio.SocketStream]


async def fill(sock: trio.socket.SocketType) -> None:
    """Send until nothing has moved for so long that nothing will: each side has had its timers.

    Linux takes a little more than poll(2) says: so it is tried once more.
    """
    waited = 0
    while waited < 2:
        with trio.move_on_after(1 if waited == 0 else 0.1) as scope:
            await sock.send(bytes(1 << 18))
        waited = waited + 1 if scope.cancelled_caught else 0


@pytest.mark.parametrize("role", ROLES)
async def test_streams_between_us_and_the_kernel(ns: Namespace, host: Host, role: Role) -> None:
    clogged: list[Pair] = []
    async with AsyncExitStack() as stack:

        async def make() -> Streams:
            pair = await stack.enter_async_context(connected(ns, host, role))
            return trio.SocketStream(pair[0]), trio.SocketStream(pair[1])

        async def make_clogged() -> Streams:
            if not clogged:  # Many at a time, as it takes theirs.
                async with trio.open_nursery() as nursery:
                    for _ in range(14):
                        small = connected(ns, host, role, ours=SMALL, kernels=SMALL)
                        clogged.append(await stack.enter_async_context(small))
                        for sock in clogged[-1]:
                            nursery.start_soon(fill, sock)
            pair = clogged.pop()
            return trio.SocketStream(pair[0]), trio.SocketStream(pair[1])

        await check_half_closeable_stream(make, make_clogged)
