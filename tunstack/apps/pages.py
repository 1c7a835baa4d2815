"""What the apps ``http`` and ``https`` serve: a page, bytes, and hashes of what is sent.

- ``GET /``: a short page.
- ``GET /bytes/N``: N reproducible bytes, N up to 2**40.
- ``PUT`` or ``POST /sha256``: the SHA-256 of the body in hex, computed as it streams.

**The bytes.** Byte *i* of ``/bytes/N`` is byte *i* modulo 65,521 of the first 65,521 bytes that
SHAKE-128 makes of ``b"tunstack"``. The period is a prime, so that data lost, duplicated or swapped
in blocks of a power of two is detected.

    >>> block = hashlib.shake_128(b"tunstack").digest(65521)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

PERIOD: Final = 65521
MAX_BYTES: Final = 2**40

_BLOCK: Final = hashlib.shake_128(b"tunstack").digest(PERIOD)
_BLOCKS: Final = memoryview(_BLOCK * 2)
"""What a body is sent in; what a client has not taken of one counts as memory of its connection."""
_HTTP2_PIECE: Final = 16384
"""Octets of a piece of a body: each of a connection's streams may have three in memory."""
_PAGE: Final = (
    b"<!doctype html>\n"
    b"<title>tunstack</title>\n"
    b"<h1>It works</h1>\n"
    b"<p>This page came over a TCP connection whose other end is a Python process.</p>\n"
    b"<p>GET /bytes/N for N bytes; PUT or POST to /sha256 for the hash of what you send.</p>\n"
)


@dataclass(frozen=True, slots=True)
class Response:
    """What a request is answered with.

    Attributes:
        status: The status.
        length: Octets of the body.
        body: The body in pieces.
        content_type: The header Content-Type.
        allow: The header Allow; none if empty.
    """

    status: HTTPStatus
    length: int
    body: Iterable[bytes | memoryview]
    content_type: str = "text/plain; charset=utf-8"
    allow: str = ""

    @classmethod
    def text(cls, status: HTTPStatus, text: str, *, allow: str = "") -> Response:
        """A response of one line."""
        body = f"{text}\n".encode()
        return cls(status, len(body), [body], allow=allow)


def pattern(length: int) -> Iterator[memoryview]:
    """The body of ``/bytes/length``, as slices of one block."""
    whole, rest = divmod(length, len(_BLOCKS))
    for _ in range(whole):
        yield _BLOCKS
    if rest:
        yield _BLOCKS[:rest]


def respond(method: str, path: str) -> Response | None:
    """Find the response to a request; None: the hash of the request's body is."""
    if path == "/sha256":
        return None if method in ("PUT", "POST") else _not_allowed(method, "PUT, POST")
    if path != "/" and not path.startswith("/bytes/"):
        return Response.text(
            HTTPStatus.NOT_FOUND, f"no {path[:99]!r} here: there are /, /bytes/N and /sha256"
        )
    if method not in ("GET", "HEAD"):
        return _not_allowed(method, "GET, HEAD")
    if path == "/":
        return Response(HTTPStatus.OK, len(_PAGE), [_PAGE], "text/html; charset=utf-8")
    return _bytes(path.removeprefix("/bytes/"))


def _bytes(text: str) -> Response:
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not 0 <= count <= MAX_BYTES:
        return Response.text(
            HTTPStatus.BAD_REQUEST,
            f"/bytes/N takes a number from 0 to {MAX_BYTES}, not {text[:99]!r}",
        )
    return Response(HTTPStatus.OK, count, pattern(count), "application/octet-stream")


def _not_allowed(method: str, allow: str) -> Response:
    text = f"{method} makes no sense here: {allow} do"
    return Response.text(HTTPStatus.METHOD_NOT_ALLOWED, text, allow=allow)


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    """The same as an ASGI application."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    method, path = scope["method"], scope["path"]
    response = respond(method, path)
    digest = hashlib.sha256()
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return
        digest.update(event["body"])
        more = event["more_body"]
    if response is None:
        response = Response.text(HTTPStatus.OK, digest.hexdigest())
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", b"%d" % response.length),
    ]
    if response.allow:
        headers.append((b"allow", response.allow.encode()))
    start = {"type": "http.response.start", "status": response.status.value, "headers": headers}
    await send(start)
    if method != "HEAD":
        for piece in _pieces(response.body, scope["http_version"]):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _pieces(body: Iterable[bytes | memoryview], version: str) -> Iterator[bytes | memoryview]:
    for piece in body:
        if version != "2" or len(piece) <= _HTTP2_PIECE:
            yield piece
        else:
            for at in range(0, len(piece), _HTTP2_PIECE):
                yield piece[at : at + _HTTP2_PIECE]
