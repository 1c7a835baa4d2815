"""A host with some traffic, in virtual time: the same at every run."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from tests.live.hosts import Pair, pair
from tunstack.cli.top.frame import Frames
from tunstack.cli.top.looking import MOST, Looking
from tunstack.host.host import loop_of
from tunstack.ladder import plain_text
from tunstack.live import View, Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tunstack.ladder import Line


@dataclass
class Scene:
    """What somebody sees of the server, and types.

    Attributes:
        both: The hosts.
        looking: What is looked at.
        frames: Makes frames.
        left: Whether `q` was typed.
    """

    both: Pair
    looking: Looking
    frames: Frames = field(default_factory=lambda: Frames("tunstack serve"))
    left: bool = False

    def look(self) -> None:
        """Take a sample."""
        self.looking.take(self.looking.view.sample(trio.current_time(), self.looking.needed))

    def type(self, *keys: str) -> None:
        """Press keys, and take a sample where one is due."""
        for key in keys:
            self.looking.press(key)
            if self.looking.due:
                self.look()

    async def grow(self) -> None:
        """Let two seconds pass."""
        for _ in range(4):
            await trio.sleep(0.5)
            self.look()

    def lines(self, width: int = 80, height: int = 24, output: Sequence[str] = ()) -> list[Line]:
        """A frame, with its styles."""
        return self.frames.lines(self.looking, width, height, output)

    def shown(self, width: int = 80, height: int = 24, output: Sequence[str] = ()) -> list[str]:
        """A frame, as text."""
        return [plain_text(line).rstrip() for line in self.lines(width, height, output)]

    def ports(self) -> list[int]:
        """The peers' ports of the rows that are shown."""
        return [
            int(line.split()[2].rpartition(":")[2])
            for line in self.shown()
            if line.startswith(("ESTAB", "TIME-WAIT", "CLOSE-WAIT"))
        ]


@asynccontextmanager
async def scene(link: str = "delay=10ms", connections: int = 3) -> AsyncIterator[Scene]:
    """Some connections from ports 40000 on, of which each has carried more than the one before."""
    async with pair(link) as both:
        view = View(both.server, trio.current_time())

        def leave() -> None:
            seen.left = True

        seen = Scene(both, Looking(view, leave, Wanted(most=MOST)))
        seen.look()
        streams = [await both.connect(40000 + number) for number in range(connections)]
        for number, stream in enumerate(streams):
            await both.echoed(stream, 1000 * (number + 1))
        await trio.sleep(1)
        seen.look()
        yield seen


async def _ask_again_and_again(stream: trio.SocketStream) -> None:
    """Ask and get an answer, a few times a second."""
    while True:
        await stream.send_all(bytes(300))
        await stream.receive_some()
        await trio.sleep(0.15)


@asynccontextmanager
async def busy() -> AsyncIterator[Scene]:
    """A server on a lossy path, while it sends much: for pictures."""
    async with scene("delay=10ms,rate=20Mbit,loss=1%", connections=6) as seen:
        sock = seen.both.server.socket(type=socket.SOCK_DGRAM)
        await sock.bind(("", 53))
        # Times are exact to the microsecond then.
        loop_of(seen.both.server).stack.set_epoch(0)
        async with trio.open_nursery() as nursery:
            for port, octets in ((40007, 9_000_000), (40008, 6_000_000), (40009, 700_000)):
                stream = await seen.both.connect(port)
                nursery.start_soon(seen.both.echoed, stream, octets)
            slow = await seen.both.connect(40010)
            nursery.start_soon(_ask_again_and_again, slow)
            await seen.grow()
            await seen.grow()
            yield seen
            nursery.cancel_scope.cancel()
