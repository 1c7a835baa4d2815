"""The page's server: HTTP/1.1 over connections of the host that it shows."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase
from http import HTTPStatus
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import trio

from tunstack import SetupError
from tunstack.apps._ending import linger
from tunstack.live.page.document import page, security_headers
from tunstack.live.page.looking import Turns, Viewer
from tunstack.live.page.requests import Answer, RefusedError, check_request, parse_query

try:
    import h11
except ModuleNotFoundError as missing:
    raise SetupError("the live page needs h11: pip install 'tunstack[http]'") from missing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.host.host import Host
    from tunstack.socket import TcpStream

MOST_CONNECTIONS: Final = 16
"""Connections of those who look; further ones are told to come later."""
IDLE: Final = 15.0
"""Seconds within which a request must come, an answer be given, and it be taken."""
_MAX_HEAD: Final = 8192
"""Octets of a request with its headers."""
_READ_SIZE: Final = 4096


class Site:
    """The page of a host: what its connections share.

    Args:
        host: The host.
        names: As of :func:`tunstack.live.serve_page`.
    """

    def __init__(self, host: Host, names: Iterable[str]) -> None:
        self.host = host
        self.turns = Turns()
        self.connections = 0
        self._names = tuple(name.lower() for name in names)

    async def serve(self, stream: TcpStream) -> None:
        """Answer the requests of a connection."""
        client = _Client(self, stream)
        self.connections += 1
        try:
            with suppress(trio.BrokenResourceError):
                await client.run()
        finally:
            self.connections -= 1
            client.close()

    def is_named(self, name: str) -> bool:
        """Whether the page may be reached by a name, in lower case."""
        return any(fnmatchcase(name, pattern) for pattern in self._names)

    def new_viewer(self, port: int) -> Viewer:
        """A viewer, who is to be counted; no other site's has the same name."""
        return Viewer(self.host, port, token_hex(8))


class _Client:
    """A connection, and its requests."""

    def __init__(self, site: Site, stream: TcpStream) -> None:
        self._site = site
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._viewer: Viewer | None = None
        self._body = True
        """Whether answers have one: not those to HEAD."""

    def close(self) -> None:
        """Look no longer."""
        if self._viewer is not None:
            self._viewer.close()
            self._site.turns.viewers -= 1

    async def run(self) -> None:
        """Answer until either side ends, or no request comes."""
        full = self._site.connections > MOST_CONNECTIONS
        while True:
            with trio.move_on_after(IDLE) as reading:
                request = await self._request()
            if reading.cancelled_caught:
                return
            if request is None:
                break
            answer = await self._answer_or_refusal(request, full=full)
            with trio.move_on_after(IDLE) as sending:
                await self._stream.send_all(self._encoded(answer))
            if sending.cancelled_caught:
                return
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                break
            self._http.start_next_cycle()
        await linger(self._stream)

    async def _request(self) -> h11.Request | Answer | None:
        """Receive a request; what is none has an answer. None is the end."""
        http = self._http
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(bytes(await self._stream.receive_some(_READ_SIZE)))
            if not isinstance(event, h11.Request):
                return None
            http.next_event()  # Its end. If it has a body, the connection ends with the answer.
        except h11.RemoteProtocolError as error:
            return Answer.refusal(HTTPStatus(error.error_status_hint), f"bad request: {error}")
        self._body = event.method != b"HEAD"
        return event

    async def _answer_or_refusal(self, request: h11.Request | Answer, *, full: bool) -> Answer:
        if isinstance(request, Answer):
            return request
        try:
            if full:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many look already")
            return await self._answer(request)
        except RefusedError as refused:
            return Answer.refusal(refused.status, refused.reason)

    async def _answer(self, request: h11.Request) -> Answer:
        """Return the answer to a request.

        Raises:
            RefusedError: there is none.
        """
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers
        }
        check_request(request.method.decode("ascii"), headers, self._site.is_named)
        path, _, query = request.target.decode("latin-1").partition("?")
        if path == "/":
            return Answer(HTTPStatus.OK, "text/html; charset=utf-8", page())
        if path != "/data":
            raise RefusedError(HTTPStatus.NOT_FOUND, "there are / and /data here")
        asked = parse_query(query)
        if self._viewer is None:
            port: int = self._stream.socket.getsockname()[1]
            self._viewer = self._site.new_viewer(port)
            self._site.turns.viewers += 1
        body = await self._site.turns.take(self._viewer, asked, self._site.connections)
        return Answer(HTTPStatus.OK, "application/json", body)

    def _encoded(self, answer: Answer) -> bytes:
        """The whole answer, for one call of `send_all`; without its body for ``HEAD``."""
        http, status = self._http, answer.status
        headers: list[tuple[str, str]] = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *security_headers(),
            *([("Allow", "GET, HEAD")] if status is HTTPStatus.METHOD_NOT_ALLOWED else []),
            *([("Connection", "close")] if answer.last else []),
        ]
        head = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
        parts = [http.send(head)]
        if self._body:
            parts.append(http.send(h11.Data(data=answer.body)))
        parts.append(http.send(h11.EndOfMessage()))
        return b"".join(part for part in parts if part)


__all__ = ["IDLE", "MOST_CONNECTIONS", "Site"]
