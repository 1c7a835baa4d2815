"""For testers: the handshake succeeds, and the first record after it fails to decrypt.

The last octet of the response to the first request is flipped on its way, so that the client finds
its authentication tag wrong, and sends the alert bad_record_mac (RFC 8446 section 5.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tunstack.apps.http import handler as serve_http

if TYPE_CHECKING:
    import ssl

    from tunstack.apps import Handler


def make_handler(context: ssl.SSLContext) -> Handler:
    """Return the handler of a connection."""
    context.set_alpn_protocols(["http/1.1"])

    async def handler(stream: trio.abc.Stream) -> None:
        transport = _Damaging(stream)
        tls = trio.SSLStream(transport, context, server_side=True, https_compatible=True)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError:
            return
        transport.damages = True
        await serve_http(tls)

    return handler


class _Damaging(trio.abc.Stream):
    """A stream that flips the last octet of what is sent."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.damages = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        damaged = bytearray(data)
        if self.damages:
            damaged[-1] ^= 0xFF
        await self._stream.send_all(damaged)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()
