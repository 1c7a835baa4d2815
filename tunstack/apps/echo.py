"""Echo (RFC 862): sends back what it receives, over TCP up to the peer's end of file."""

from __future__ import annotations

from contextlib import suppress

import trio

from tunstack import Protocol, Transport
from tunstack.apps._datagrams import answer
from tunstack.apps._ending import end_sending


async def handler(stream: trio.abc.Stream) -> None:
    """Echo everything up to the peer's end of file, then end our half too."""
    with suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            await stream.send_all(data)
        await end_sending(stream)


class EchoProtocol(Protocol):
    """The same by callbacks; it reads no faster than the peer does."""

    def connection_made(self, transport: Transport) -> None:
        """Pause reading as soon as the peer takes less than it sends."""
        self._transport = transport
        transport.set_write_buffer_limits(0)

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self._transport.write(data)

    def pause_writing(self) -> None:
        """Read no more for now."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        self._transport.resume_reading()


protocol = EchoProtocol


async def datagram_handler(sock: trio.socket.SocketType) -> None:
    """Send each datagram back, until cancelled."""
    await answer(sock, lambda data: data)
