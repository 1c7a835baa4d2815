"""Echo (RFC 862): sends back what it receives, over TCP up to the peer's end of file."""

from __future__ import annotations

from contextlib import suppress

import trio

from tunstack.apps._datagrams import answer
from tunstack.apps._ending import end_sending


async def handler(stream: trio.abc.Stream) -> None:
    """Echo everything up to the peer's end of file, then end our half too."""
    with suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            await stream.send_all(data)
        await end_sending(stream)


async def datagram_handler(sock: trio.socket.SocketType) -> None:
    """Send each datagram back, until cancelled."""
    await answer(sock, lambda data: data)
