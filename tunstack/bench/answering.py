"""What answers HTTP requests by callbacks: the same code for `tunstack.Protocol` and asyncio's."""

from __future__ import annotations

from typing import Any, Final

ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nServer: tunstack.bench\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 14\r\n\r\nHello, world!\n"
)


class Answers:
    """Answers HTTP requests without a body; HTTP/1.1 connections are persistent."""

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        self._transport = transport
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        pending = self._pending + data
        if pending.endswith(b"\r\n\r\n"):
            self._transport.write(ANSWER * pending.count(b"\r\n\r\n"))
            if b"HTTP/1.0\r\n" in pending:
                self._transport.close()
            pending = b""
        self._pending = pending
