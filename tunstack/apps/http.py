"""A small HTTP/1.1 server over any stream or by callbacks, for measurements and experiments.

It serves :mod:`tunstack.apps.pages`. ``HEAD`` works where ``GET`` does. Connections are persistent,
for HTTP/1.0 clients that ask for it too, and requests may be pipelined. Invalid requests are
answered with a 4xx and an explanation.

A stalled client, whether it stops sending or reading, takes at most 20 KiB of memory beside its
connection.

:func:`exchanges` is the server without I/O. `handler` runs it over a stream, and `HttpProtocol` by
callbacks. h11 parses requests, with a new parser for each request, fed with the rest of the last
one. Responses are written here: all have a Content-Length, and h11 would close after each HTTP/1.0
request, although ab asks for keep-alive.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from tunstack import Protocol, SetupError, Transport
from tunstack.apps._ending import Lingering, linger
from tunstack.apps.pages import Response, respond

try:
    import h11
except ModuleNotFoundError as missing:
    raise SetupError("the http app needs h11: pip install 'tunstack[http]'") from missing

if TYPE_CHECKING:
    from collections.abc import Generator

    Step: TypeAlias = int | bytes | memoryview
    Steps: TypeAlias = Generator[Step, bytes | None, None]

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


def exchanges() -> Steps:
    """Serve requests on one connection until either side closes it, without I/O.

    Yields:
        An int: receive at most so many octets, at least one, and send them to the generator; the
        end of the stream is ``b""``. Or octets to send.
    """
    return _Connection().run()


async def handler(stream: trio.abc.Stream) -> None:
    """Serve requests on one connection until either side closes it."""
    steps = exchanges()
    with suppress(trio.BrokenResourceError):
        step = next(steps, None)
        while step is not None:
            try:
                if isinstance(step, int):
                    step = steps.send(bytes(await stream.receive_some(step)))
                else:
                    await stream.send_all(step)
                    step = next(steps)
            except StopIteration:
                break
        await linger(stream)


class HttpProtocol(Protocol):
    """The same by callbacks."""

    def connection_made(self, transport: Transport) -> None:
        """Wait for the first request."""
        self._transport = transport
        self._steps = exchanges()
        self._paused = self._ended = False
        # No more in memory than is wanted: the rest stays in the receive buffer.
        transport.set_write_buffer_limits(_MAX_JOINED_SIZE, 0)
        self._step: Step = next(self._steps)
        self._go_on(None)

    def data_received(self, data: bytes) -> None:
        """Give it to the server, which has asked for it."""
        self._go_on(data)

    def eof_received(self) -> bool:
        """Answer what was asked before."""
        self._ended = True
        if not self._paused:
            self._go_on(b"")
        return True

    def pause_writing(self) -> None:
        """Go on when the client has taken what was sent."""
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._transport.resume_reading()
        self._go_on(None)

    def _go_on(self, data: bytes | None) -> None:
        """Send until more is to be received, or the client takes no more."""
        steps, step = self._steps, self._step
        try:
            while not self._paused:
                if not isinstance(step, int):
                    self._transport.write(step)
                    step = next(steps)
                elif data is not None:
                    step, data = steps.send(data), None
                elif self._ended:
                    data = b""
                else:
                    self._transport.max_size = step
                    break
        except StopIteration:
            Lingering(self._transport).begin(at_end=self._ended)
        self._step = step


protocol = HttpProtocol


class _Connection:
    """All requests of one connection, one after another."""

    def __init__(self) -> None:
        self._http: h11.Connection  # Of the present request; an idle connection has none.
        self._rest, self._ended = b"", False
        self._body_left: int | None = 0
        """Octets of the body not yet received; None if it is chunked."""

    def run(self) -> Steps:
        try:
            while isinstance(request := (yield from self._next_request()), h11.Request):
                self._body_left = _length_of(request)
                answer = yield from self._respond(request)
                # Without the rest of the body the next request cannot be found.
                connection = "close" if self._discard_body() else _connection_header(request)
                yield from self._send(answer, connection, body=request.method != b"HEAD")
                if connection == "close":
                    break
                self._rest, self._ended = self._http.trailing_data
                del self._http, request
        except h11.RemoteProtocolError as error:
            answer = Response.text(_status_of(error), f"bad request: {error}")
            yield from self._send(answer, "close")

    def _next_request(self) -> Generator[Step, bytes | None, object]:
        """Read up to the next request's headers; returns h11's event."""
        if not self._rest and not self._ended:
            self._rest = (yield _HEAD_READ_SIZE) or b""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_SIZE)
        self._body_left = 0
        self._http.receive_data(self._rest)
        if self._rest and self._ended:
            self._http.receive_data(b"")
        self._rest = b""
        return (yield from self._next_event())

    def _next_event(self) -> Generator[Step, bytes | None, object]:
        """Read until the parser has its next event."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                go_ahead = h11.InformationalResponse(
                    status_code=100, headers=[], reason=b"Continue"
                )
                yield self._http.send(go_ahead)
            self._http.receive_data((yield from self._read()))

    def _read(self) -> Generator[Step, bytes | None, bytes]:
        """Read some data, at most as much as the body has."""
        left = self._body_left
        if left is None:
            return (yield _CHUNKED_READ_SIZE) or b""
        data = (yield max(_HEAD_READ_SIZE, min(left, _READ_SIZE))) or b""
        self._body_left = left - len(data)
        return data

    def _respond(self, request: h11.Request) -> Generator[Step, bytes | None, Response]:
        method = request.method.decode("ascii")
        response = respond(method, _path_of(request.target))
        if response is None:
            response = Response.text(HTTPStatus.OK, (yield from self._hash_body()))
        return response

    def _hash_body(self) -> Generator[Step, bytes | None, str]:
        digest = hashlib.sha256()
        while isinstance(event := (yield from self._next_event()), h11.Data):
            digest.update(event.data)
            del event  # Free it while waiting for the next one.
        return digest.hexdigest()

    def _discard_body(self) -> bool:
        """Discard the received part of a body that was not read; returns whether more follows."""
        while self._http.their_state is h11.SEND_BODY:
            if self._http.next_event() is h11.NEED_DATA:
                return True
        return False

    def _send(self, answer: Response, connection: str, *, body: bool = True) -> Steps:
        """Send a response; the headers and the beginning of the body in one call."""
        head = _head(answer, connection)
        if not body:
            yield head
            return
        pieces = iter(answer.body)
        first = memoryview(next(pieces, b""))
        room = _MAX_JOINED_SIZE - len(head)
        yield b"".join((head, first[:room]))
        if len(first) > room:
            yield first[room:]
        yield from pieces


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
