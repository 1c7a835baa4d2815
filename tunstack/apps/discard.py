"""Discard (RFC 863): discards what it receives."""

from __future__ import annotations

from contextlib import suppress

import trio

from tunstack import Protocol
from tunstack.apps._datagrams import answer
from tunstack.apps._ending import end_sending


async def handler(stream: trio.abc.Stream) -> None:
    """Read up to the peer's end of file, send nothing, then end our half."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass
        await end_sending(stream)


protocol = Protocol
"""One that does nothing with what it receives, and closes at the peer's end of file."""


async def datagram_handler(sock: trio.socket.SocketType) -> None:
    """Read datagrams and send none, until cancelled."""
    await answer(sock, lambda data: None)
