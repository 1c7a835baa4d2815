"""A small HTTP/1.1 server over any stream, for measurements and experiments.

- ``GET /``: a short page.
- ``GET /bytes/N``: N reproducible bytes, N up to 2**40.
- ``PUT`` or ``POST /sha256``: the SHA-256 of the body in hex, computed as it streams.

``HEAD`` works where ``GET`` does. Connections are persistent, for HTTP/1.0 clients that ask for it
too, and requests may be pipelined. Invalid requests are answered with a 4xx and an explanation.

**The bytes.** Byte *i* of ``/bytes/N`` is byte *i* modulo 65,521 of the first 65,521 bytes that
SHAKE-128 makes of ``b"tunstack"``. The period is a prime, so that data lost, duplicated or swapped
in blocks of a power of two is detected.

    >>> block = hashlib.shake_128(b"tunstack").digest(65521)

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
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import trio

from tunstack import SetupError
from tunstack.apps._ending import end_sending

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

try:
    import h11
except ModuleNotFoundError as missing:
    raise SetupError("the http app needs h11: pip install 'tunstack[http]'") from missing

PERIOD: Final = 65521
MAX_BYTES: Final = 2**40

_BLOCK: Final = hashlib.shake_128(b"tunstack").digest(PERIOD)
_BLOCKS: Final = memoryview(_BLOCK * 4)
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
_LINGER_SECONDS: Final = 2.0
"""Seconds to read before closing, until the peer closes."""
_LINGER_BYTES: Final = 8 * 1024 * 1024
"""Octets to read before closing."""
_PAGE: Final = (
    b"<!doctype html>\n"
    b"<title>tunstack</title>\n"
    b"<h1>It works</h1>\n"
    b"<p>This page came over a TCP connection whose other end is a Python process.</p>\n"
    b"<p>GET /bytes/N for N bytes; PUT or POST to /sha256 for the hash of what you send.</p>\n"
)


def pattern(length: int) -> Iterator[memoryview]:
    """The body of ``/bytes/length``, as slices of one block."""
    whole, rest = divmod(length, len(_BLOCKS))
    for _ in range(whole):
        yield _BLOCKS
    if rest:
        yield _BLOCKS[:rest]


async def handler(stream: trio.abc.Stream) -> None:
    """Serve requests on one connection until either side closes it."""
    with suppress(trio.BrokenResourceError):
        await _Connection(stream).run()


@dataclass(frozen=True, slots=True)
class _Response:
    status: HTTPStatus
    length: int
    body: Iterable[bytes | memoryview]
    content_type: str = "text/plain; charset=utf-8"
    allow: str = ""

    @classmethod
    def text(cls, status: HTTPStatus, text: str, *, allow: str = "") -> _Response:
        body = f"{text}\n".encode()
        return cls(status, len(body), [body], allow=allow)

    def head(self, connection: str) -> bytes:
        """The status line and the headers, up to and with the empty line."""
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Date: {formatdate(time.time(), usegmt=True)}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {self.length}",
        ]
        if self.allow:
            lines.append(f"Allow: {self.allow}")
        if connection:
            lines.append(f"Connection: {connection}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


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
            await self._send(_Response.text(_status_of(error), f"bad request: {error}"), "close")
        await self._linger()

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

    async def _respond(self, request: h11.Request) -> _Response:
        path = _path_of(request.target)
        if path == "/sha256":
            if request.method not in (b"PUT", b"POST"):
                return _not_allowed(request, "PUT, POST")
            return _Response.text(HTTPStatus.OK, await self._hash_body())
        if path != "/" and not path.startswith("/bytes/"):
            return _Response.text(
                HTTPStatus.NOT_FOUND, f"no {path[:99]!r} here: there are /, /bytes/N and /sha256"
            )
        if request.method not in (b"GET", b"HEAD"):
            return _not_allowed(request, "GET, HEAD")
        if path == "/":
            return _Response(HTTPStatus.OK, len(_PAGE), [_PAGE], "text/html; charset=utf-8")
        return _bytes(path.removeprefix("/bytes/"))

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

    async def _send(self, answer: _Response, connection: str, *, body: bool = True) -> None:
        """Send a response; the headers and the beginning of the body in one call."""
        head = answer.head(connection)
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

    async def _linger(self) -> None:
        """End our half, and wait for the peer to end its own (RFC 9112 section 9.6).

        Closing with unread data resets the connection, and the RST may discard the response at the
        peer. Time and octets are limited.
        """
        await end_sending(self._stream)
        if not isinstance(self._stream, trio.abc.HalfCloseableStream):
            return
        left = _LINGER_BYTES
        with trio.move_on_after(_LINGER_SECONDS):
            while left > 0 and (data := await self._stream.receive_some(_READ_SIZE)):
                left -= len(data)


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


def _bytes(text: str) -> _Response:
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not 0 <= count <= MAX_BYTES:
        return _Response.text(
            HTTPStatus.BAD_REQUEST,
            f"/bytes/N takes a number from 0 to {MAX_BYTES}, not {text[:99]!r}",
        )
    return _Response(HTTPStatus.OK, count, pattern(count), "application/octet-stream")


def _not_allowed(request: h11.Request, allow: str) -> _Response:
    method = request.method.decode("ascii")
    text = f"{method} makes no sense here: {allow} do"
    return _Response.text(HTTPStatus.METHOD_NOT_ALLOWED, text, allow=allow)


def _status_of(error: h11.RemoteProtocolError) -> HTTPStatus:
    """The status that h11 suggests for an invalid request: 400, 431 or 501."""
    return HTTPStatus(error.error_status_hint)
