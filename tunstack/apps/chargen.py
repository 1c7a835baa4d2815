"""Character generator (RFC 864): sends lines of printable characters until the peer closes.

A line is 72 of the 95 printable ASCII characters and CR LF; each line starts one character later,
so that the pattern repeats after 95 lines. Over UDP each datagram is answered by one of up to 512
characters, as many as chance has it.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Final

import trio

from tunstack import Protocol, Transport
from tunstack.apps._datagrams import answer
from tunstack.apps._ending import end_sending

_RING: Final = bytes(range(0x20, 0x7F))
_WIDTH: Final = 72

PATTERN: Final = b"".join((_RING * 2)[start : start + _WIDTH] + b"\r\n" for start in range(95))
"""One period of the pattern, 7,030 octets, which is sent repeatedly."""

_BLOCK: Final = PATTERN * 9  # about 64 KiB, for fewer wake-ups

_MOST_IN_DATAGRAM: Final = 512


async def handler(stream: trio.abc.Stream) -> None:
    """Send the pattern until the peer closes or resets; discard what it sends."""
    ended = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_forever, stream, nursery.cancel_scope)
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
            ended = True
        nursery.cancel_scope.cancel()
    if ended:  # and not broken
        with suppress(trio.BrokenResourceError):
            await end_sending(stream)


async def _send_forever(stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(_BLOCK)
    scope.cancel()


class ChargenProtocol(Protocol):
    """The same by callbacks."""

    def connection_made(self, transport: Transport) -> None:
        """Begin to send."""
        self._transport = transport
        self._paused = False
        self._send()

    def _send(self) -> None:
        while not (self._paused or self._transport.is_closing()):
            self._transport.write(_BLOCK)

    def pause_writing(self) -> None:
        """Send no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """Send again."""
        self._paused = False
        self._send()


protocol = ChargenProtocol


async def datagram_handler(sock: trio.socket.SocketType) -> None:
    """Answer each datagram with the beginning of the pattern, until cancelled."""
    await answer(sock, lambda data: PATTERN[: random.randrange(_MOST_IN_DATAGRAM + 1)])
