"""TLS at the server's end of a stream: `trio.SSLStream`, with alerts sent and orderly endings.

What `trio.SSLStream` leaves to its user, and HTTP servers want:

- An alert that OpenSSL has made for a handshake or a record that it refuses is sent (RFC 8446
  section 6.2), so that the peer learns why. `trio.SSLStream` raises before it is.
- A handshake has 10 seconds.
- At the end close_notify is sent, then end of file, and what the peer still sends is read for a
  while, so that no RST overtakes the last octets.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import trio

from tunstack.apps._ending import linger

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from tunstack.apps import Handler

    TlsStream: TypeAlias = trio.SSLStream[trio.abc.Stream]

_HANDSHAKE_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 2.0
"""Seconds for close_notify to be taken, and again for the peer's end of file."""


def over_tls(context: ssl.SSLContext, serve: Callable[[TlsStream], Awaitable[None]]) -> Handler:
    """Return a handler that does the handshake, and runs `serve` on the encrypted stream.

    What the peer does wrong (`trio.BrokenResourceError`) ends the connection; other exceptions of
    `serve` are the caller's.
    """

    async def handler(stream: trio.abc.Stream) -> None:
        outgoing = _OutgoingOf(context)
        tls: TlsStream = trio.SSLStream(
            stream, cast("ssl.SSLContext", outgoing), server_side=True, https_compatible=False
        )
        try:
            with trio.fail_after(_HANDSHAKE_SECONDS):
                await tls.do_handshake()
            await serve(tls)
        except (trio.BrokenResourceError, trio.TooSlowError):
            pass
        else:
            tls.transport_stream = _StaysOpen(stream)
            with trio.move_on_after(_CLOSE_SECONDS):
                await tls.aclose()
        await _end(stream, outgoing)

    return handler


class _OutgoingOf:
    """A context that remembers where the octets to send are, for `trio.SSLStream` to use.

    Attributes:
        bio: The octets to send.
        incoming: Those received.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.bio: ssl.MemoryBIO | None = None
        self.incoming: ssl.MemoryBIO | None = None

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **options: Any
    ) -> ssl.SSLObject:
        """As of `ssl.SSLContext`."""
        self.bio, self.incoming = outgoing, incoming
        return self._context.wrap_bio(incoming, outgoing, **options)


async def _end(stream: trio.abc.Stream, outgoing: _OutgoingOf) -> None:
    """Send what OpenSSL has left to send, an alert, and end the connection.

    A peer that has ended its half without close_notify has most likely closed: an alert about that
    would meet a RST.
    """
    alert = b"" if outgoing.bio is None else outgoing.bio.read()
    at_end = outgoing.incoming is not None and outgoing.incoming.eof
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        if alert and not at_end:
            with trio.fail_after(_CLOSE_SECONDS):
                await stream.send_all(alert)
        await linger(stream)


class _StaysOpen(trio.abc.Stream):
    """A stream that is not closed with what is above it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
