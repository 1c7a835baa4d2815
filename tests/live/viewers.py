"""A host with its page, and those who look at it over HTTP, in virtual time."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import h11
import trio

from tests.live.hosts import pair
from tunstack.host.host import loop_of
from tunstack.live import serve_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.live.hosts import Pair

PORT: Final = 8000
ADDRESS: Final = "198.51.100.2"


@dataclass
class Answer:
    """What a request was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """The body, of JSON."""
        return json.loads(self.body)


@dataclass
class Viewer:
    """A connection to a page."""

    stream: trio.SocketStream
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))

    async def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Send a request, and receive the answer."""
        sent = {"host": f"{ADDRESS}:{PORT}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        request = h11.Request(method=method, target=target, headers=[*sent.items()])
        data = self.http.send(request) or b""
        await self.stream.send_all(data + (self.http.send(h11.EndOfMessage()) or b""))
        return await self.answer()

    async def answer(self) -> Answer:
        """Receive an answer."""
        body, answer = b"", Answer(0, {}, b"")
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                names = {name.decode(): value.decode() for name, value in event.headers}
                answer = Answer(event.status_code, names, b"")
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                raise AssertionError(event)
        return Answer(answer.status, answer.headers, body)

    async def look(self, query: str = "") -> Any:
        """Ask for the data; `query` is ``"port=80&own=1"``."""
        answer = await self.ask(f"/data?{query}" if query else "/data")
        assert answer.status == 200, answer.body
        return answer.data

    async def _event(self) -> object:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(bytes(await self.stream.receive_some()))
        return event

    async def ended(self) -> bool:
        """Wait until the server closes the connection, having sent no more."""
        return await self.stream.receive_some() == b""


@dataclass
class Paged:
    """A server with a page, and a client."""

    both: Pair
    page: trio.CancelScope

    async def viewer(self) -> Viewer:
        """Connect to the page."""
        return Viewer(await self.both.client.open_tcp_stream("server", PORT))

    @property
    def tapped(self) -> bool:
        """Whether packets of the server are observed."""
        return loop_of(self.both.server).stack.output.tap is not None


@asynccontextmanager
async def paged(names: Iterable[str] = ()) -> AsyncIterator[Paged]:
    """A host with a page, for the block."""
    async with pair(link="delay=1ms") as both, trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[Any]) -> None:
            await serve_page(both.server, PORT, names=names, task_status=task_status)

        await nursery.start(serve)
        yield Paged(both, nursery.cancel_scope)
        nursery.cancel_scope.cancel()
