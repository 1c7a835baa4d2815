"""A small HTTP/1.1 server over any stream, for measuring and for trying things out.

- ``GET /``: a short page.
- ``GET /bytes/N``: N reproducible bytes, N up to 2**40.
- ``PUT`` or ``POST /sha256``: the SHA-256 of the body in hex, computed as it streams.

``HEAD`` works where ``GET`` does. Connections are kept alive, for HTTP/1.0 clients that ask for it
too, and requests may be pipelined. What makes no sense draws a 4xx that says what was wrong.

**The bytes.** Byte *i* of ``/bytes/N`` is byte *i* modulo 65,521 of the first 65,521 bytes that
SHAKE-128 makes of ``b"tunstack"``. The period is a prime: data that was lost, repeated or swapped
in pieces of any power of two does not line up with it, and shows.

    >>> block = hashlib.shake_128(b"tunstack").digest(65521)

A client that stops in the middle of anything, its reading included, costs no more than some 20 KiB
beside its connection.

Reading is h11's, with a new parser for each request, fed with what the last one left over. Writing
is a few lines here: every answer knows its length, and h11 would close after each HTTP/1.0 request,
where ab and its like ask for keep-alive.
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
"""Octets of a body that are read at once."""
_SOME: Final = 16384
"""The same of a chunked one: what follows a request has to be kept until that is answered, and the
client may not take the answer."""
_LITTLE: Final = 4096
"""The same where no body is known to follow."""
_LARGEST_HEAD: Final = 8192
"""Octets of a request without its body: a client may stop in the middle of it."""
_JOINED: Final = 16384
"""Octets of a head and what goes with it in one piece: a client may not take that."""
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 8 * 1024 * 1024
_PAGE: Final = (
    b"<!doctype html>\n"
    b"<title>tunstack</title>\n"
    b"<h1>It works</h1>\n"
    b"<p>This page came over a TCP connection whose other end is a Python process.</p>\n"
    b"<p>GET /bytes/N for N bytes; PUT or POST to /sha256 for the hash of what you send.</p>\n"
)


def pattern(length: int) -> Iterator[memoryview]:
    """The body of ``/bytes/length``, as slices of one block: nothing of that length is built."""
    whole, rest = divmod(length, len(_BLOCKS))
    for _ in range(whole):
        yield _BLOCKS
    if rest:
        yield _BLOCKS[:rest]


async def handler(stream: trio.abc.Stream) -> None:
    """Serve requests on one connection until either side wants no more."""
    with suppress(trio.BrokenResourceError):
        await _Conversation(stream).run()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    length: int
    body: Iterable[bytes | memoryview]
    content_type: str = "text/plain; charset=utf-8"
    allow: str = ""

    @classmethod
    def text(cls, status: HTTPStatus, text: str, *, allow: str = "") -> _Answer:
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


class _Conversation:
    """All requests of one connection, one after another."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http: h11.Connection  # Of the present request: an idle client has none.
        self._rest, self._ended = b"", False
        self._left: int | None = 0
        """Octets of the body that are still to come; None if nobody knows."""

    async def run(self) -> None:
        try:
            while isinstance(request := await self._next_request(), h11.Request):
                self._left = _length_of(request)
                answer = await self._answer(request)
                # Short of the end of a body, nobody can say where the next request begins.
                connection = "close" if self._body_is_left() else _persistence(request)
                await self._send(answer, connection, body=request.method != b"HEAD")
                if connection == "close":
                    break
                self._rest, self._ended = self._http.trailing_data
                del self._http, request
        except h11.RemoteProtocolError as error:
            await self._send(_Answer.text(_status_of(error), f"bad request: {error}"), "close")
        await self._linger()

    async def _next_request(self) -> object:
        """The beginning of the next request, or whatever else comes in its place."""
        if not self._rest and not self._ended:
            self._rest = bytes(await self._stream.receive_some(_LITTLE))
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        self._left = 0
        self._http.receive_data(self._rest)
        if self._rest and self._ended:
            self._http.receive_data(b"")
        self._rest = b""
        return await self._next_event()

    async def _next_event(self) -> object:
        """The parser's next event, whatever has to be read for it."""
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
        """Read on: as much as belongs to the body, or little."""
        left = self._left
        if left is None:
            return bytes(await self._stream.receive_some(_SOME))
        data = bytes(await self._stream.receive_some(max(_LITTLE, min(left, _READ_SIZE))))
        self._left = left - len(data)
        return data

    async def _answer(self, request: h11.Request) -> _Answer:
        path = _path_of(request.target)
        if path == "/sha256":
            if request.method not in (b"PUT", b"POST"):
                return _not_allowed(request, "PUT, POST")
            return _Answer.text(HTTPStatus.OK, await self._hash_body())
        if path != "/" and not path.startswith("/bytes/"):
            return _Answer.text(
                HTTPStatus.NOT_FOUND, f"no {path[:99]!r} here: there are /, /bytes/N and /sha256"
            )
        if request.method not in (b"GET", b"HEAD"):
            return _not_allowed(request, "GET, HEAD")
        if path == "/":
            return _Answer(HTTPStatus.OK, len(_PAGE), [_PAGE], "text/html; charset=utf-8")
        return _bytes(path.removeprefix("/bytes/"))

    async def _hash_body(self) -> str:
        digest = hashlib.sha256()
        while isinstance(event := await self._next_event(), h11.Data):
            digest.update(event.data)
            del event  # It may take long until the next one comes.
        return digest.hexdigest()

    def _body_is_left(self) -> bool:
        """Drop what has come of a body that was not asked for; tell whether more is to come."""
        while self._http.their_state is h11.SEND_BODY:
            if self._http.next_event() is h11.NEED_DATA:
                return True
        return False

    async def _send(self, answer: _Answer, connection: str, *, body: bool = True) -> None:
        """Send an answer; the head goes out with the first of the body, in one piece."""
        head = answer.head(connection)
        if not body:
            await self._stream.send_all(head)
            return
        pieces = iter(answer.body)
        first = memoryview(next(pieces, b""))
        room = _JOINED - len(head)
        await self._stream.send_all(b"".join((head, first[:room])))
        if len(first) > room:
            await self._stream.send_all(first[room:])
        for piece in pieces:
            await self._stream.send_all(piece)

    async def _linger(self) -> None:
        """End our half, and let the peer end its own (RFC 9112 section 9.6).

        To close with data unread would reset the connection, and the reset could overtake the
        answer that explains it. A peer that neither stops nor ends is left to that.
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


def _persistence(request: h11.Request) -> str:
    """What our Connection header is to say: "close", "keep-alive", or nothing (RFC 9112, 9.3)."""
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


def _bytes(text: str) -> _Answer:
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not 0 <= count <= MAX_BYTES:
        return _Answer.text(
            HTTPStatus.BAD_REQUEST,
            f"/bytes/N takes a number from 0 to {MAX_BYTES}, not {text[:99]!r}",
        )
    return _Answer(HTTPStatus.OK, count, pattern(count), "application/octet-stream")


def _not_allowed(request: h11.Request, allow: str) -> _Answer:
    method = request.method.decode("ascii")
    text = f"{method} makes no sense here: {allow} do"
    return _Answer.text(HTTPStatus.METHOD_NOT_ALLOWED, text, allow=allow)


def _status_of(error: h11.RemoteProtocolError) -> HTTPStatus:
    """The status that h11 proposes for a request it could not read: 400, 431 or 501."""
    return HTTPStatus(error.error_status_hint)
