"""A small HTTP/1.1 server over any stream, for measurements and experiments.

It serves :mod:`tunstack.apps.pages`. ``HEAD`` works where ``GET`` does. Connections are persistent,
for HTTP/1.0 clients that ask for it too, and requests may be pipelined. Invalid requests are
answered with a 4xx and an explanation.

A stalled client, whether it stops sending or reading, takes at most 20 KiB of memory beside its
connection.

h11 parses requests, with a new parser for each request, fed with the rest of the last one.
Responses are written here: all have a Content-Length, and h11 would close after each HTTP/1.0
request, although ab asks for keep-alive.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import trio

from tunstack import SetupError
from tunstack.apps._ending import linger
from tunstack.apps.pages import Response, respond

try:
    import h11
except ModuleNotFoundError as missing:
    raise SetupError("the http app needs h11: pip install 'tunstack[http]'") from missing

_READ_SIZE: Final = 65536
"""Octets of a body with a Content-Length to read at a time."""
_CHUNKED_READ_SIZE: Final = 16384
"""Octets of a chunked body to read at a time: pipelined data behind it is kept in memory."""
_HEAD_READ_SIZE: Final = 4096
"""Octets to read at a time where no body follows."""
_MAX_HEAD_SIZE: Final = 8192
"""Octets of the largest request line with headers, which are kept in memory."""
_MAX_JOINED_SIZE: Final = 16384
"""Octets of a response's headers with the beginning of its body, which are sent in one call."""


async def handler(stream: trio.abc.Stream) -> None:
    """Serve requests on one connection until either side closes it."""
    with suppress(trio.BrokenResourceError):
        await _Connection(stream).run()


class _Connection:
    """All requests of one connection, one after another."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http: h11.Connection  # Of the present request; an idle connection has none.
        self._rest, self._ended = b"", False
        self._body_left: int | None = 0
        """Octets of the body not yet received; None if it is chunked."""

    async def run(self) -> None:
        try:
            while isinstance(request := await self._next_request(), h11.Request):
                self._body_left = _length_of(request)
                answer = await self._respond(request)
                # Without the rest of the body the next request cannot be found.
                connection = "close" if self._discard_body() else _connection_header(request)
                await self._send(answer, connection, body=request.method != b"HEAD")
                if connection == "close":
                    break
                self._rest, self._ended = self._http.trailing_data
                del self._http, request
        except h11.RemoteProtocolError as error:
            await self._send(Response.text(_status_of(error), f"bad request: {error}"), "close")
        await linger(self._stream)

    async def _next_request(self) -> object:
        """Read up to the next request's headers; returns h11's event."""
        if not self._rest and not self._ended:
            self._rest = bytes(await self._stream.receive_some(_HEAD_READ_SIZE))
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_SIZE)
        self._body_left = 0
        self._http.receive_data(self._rest)
        if self._rest and self._ended:
            self._http.receive_data(b"")
        self._rest = b""
        return await self._next_event()

    async def _next_event(self) -> object:
        """Read until the parser has its next event."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                go_ahead = h11.InformationalResponse(
                    status_code=100, headers=[], reason=b"Continue"
                )
                await self._stream.send_all(self._http.send(go_ahead))
            self._http.receive_data(await self._read())

    async def _read(self) -> bytes:
        """Read some data, at most as much as the body has."""
        left = self._body_left
        if left is None:
            return bytes(await self._stream.receive_some(_CHUNKED_READ_SIZE))
        data = bytes(await self._stream.receive_some(max(_HEAD_READ_SIZE, min(left, _READ_SIZE))))
        self._body_left = left - len(data)
        return data

    async def _respond(self, request: h11.Request) -> Response:
        method = request.method.decode("ascii")
        response = respond(method, _path_of(request.target))
        return (
            Response.text(HTTPStatus.OK, await self._hash_body()) if response is None else response
        )

    async def _hash_body(self) -> str:
        digest = hashlib.sha256()
        while isinstance(event := await self._next_event(), h11.Data):
            digest.update(event.data)
            del event  # Free it while waiting for the next one.
        return digest.hexdigest()

    def _discard_body(self) -> bool:
        """Discard the received part of a body that was not read; returns whether more follows."""
        while self._http.their_state is h11.SEND_BODY:
            if self._http.next_event() is h11.NEED_DATA:
                return True
        return False

    async def _send(self, answer: Response, connection: str, *, body: bool = True) -> None:
        """Send a response; the headers and the beginning of the body in one call."""
        head = _head(answer, connection)
        if not body:
            await self._stream.send_all(head)
            return
        pieces = iter(answer.body)
        first = memoryview(next(pieces, b""))
        room = _MAX_JOINED_SIZE - len(head)
        await self._stream.send_all(b"".join((head, first[:room])))
        if len(first) > room:
            await self._stream.send_all(first[room:])
        for piece in pieces:
            await self._stream.send_all(piece)


def _head(answer: Response, connection: str) -> bytes:
    """The status line and the headers, up to and with the empty line."""
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Date: {formatdate(time.time(), usegmt=True)}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {answer.length}",
    ]
    if answer.allow:
        lines.append(f"Allow: {answer.allow}")
    if connection:
        lines.append(f"Connection: {connection}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _length_of(request: h11.Request) -> int | None:
    """Octets of the body that follows; None if it is chunked."""
    for name, value in request.headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0


def _connection_header(request: h11.Request) -> str:
    """Our Connection header: "close", "keep-alive", or none (RFC 9112 section 9.3)."""
    wishes = {
        wish.strip().lower()
        for name, value in request.headers
        if name == b"connection"
        for wish in value.split(b",")
    }
    if b"close" in wishes:
        return "close"
    if request.http_version >= b"1.1":
        return ""
    return "keep-alive" if b"keep-alive" in wishes else "close"


def _path_of(target: bytes) -> str:
    """The path of a request's target, which may be a whole URL (RFC 9112 section 3.2.2)."""
    text = target.decode("ascii", "backslashreplace").partition("?")[0]
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        text = "/" + rest.partition("/")[2]
    return text


def _status_of(error: h11.RemoteProtocolError) -> HTTPStatus:
    """The status that h11 suggests for an invalid request: 400, 431 or 501."""
    return HTTPStatus(error.error_status_hint)
