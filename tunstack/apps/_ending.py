"""How a handler ends its half of a stream, and a protocol its half of a connection."""

from __future__ import annotations

from typing import Final

import trio

from tunstack import Protocol, Transport

_LINGER_SECONDS: Final = 2.0
"""Seconds to read before closing, until the peer closes."""
_LINGER_BYTES: Final = 8 * 1024 * 1024
"""Octets to read before closing."""
_READ_SIZE: Final = 65536


async def end_sending(stream: trio.abc.Stream) -> None:
    """Send end of file: half-close the stream if it supports that, else close it."""
    if isinstance(stream, trio.abc.HalfCloseableStream):
        await stream.send_eof()
    else:
        await stream.aclose()


async def linger(stream: trio.abc.Stream) -> None:
    """End our half, and wait for the peer to end its own (RFC 9112 section 9.6).

    Closing with unread data resets the connection, and the RST may discard at the peer what was
    sent last. Time and octets are limited.
    """
    await end_sending(stream)
    if not isinstance(stream, trio.abc.HalfCloseableStream):
        return
    left = _LINGER_BYTES
    with trio.move_on_after(_LINGER_SECONDS):
        while left > 0 and (data := await stream.receive_some(_READ_SIZE)):
            left -= len(data)


class Lingering(Protocol):
    """What reads on, for a while, after the last octet was written; as :func:`linger`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._left = _LINGER_BYTES

    def begin(self, *, at_end: bool) -> None:
        """End our half, and take the place of the connection's protocol.

        Args:
            at_end: Whether the peer has ended its half.
        """
        transport = self._transport
        transport.set_protocol(self)
        transport.write_eof()
        if at_end:
            transport.close()
            return
        transport.call_later(_LINGER_SECONDS, transport.close)
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Discard it."""
        self._left -= len(data)
        if self._left <= 0:
            self._transport.close()
