"""For testers: the connection ends without close_notify, and so may have been cut.

The response has no Content-Length and ends with the connection: without close_notify its reader
cannot know whether it is whole (RFC 8446 section 6.1, RFC 9112 section 9.8).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from tunstack.apps._ending import linger

if TYPE_CHECKING:
    import ssl

    from tunstack.apps import Handler

_RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This may be all, or not.\n"
)
_MAX_HEAD_SIZE: Final = 8192


def make_handler(context: ssl.SSLContext) -> Handler:
    """Return the handler of a connection."""
    context.set_alpn_protocols(["http/1.1"])

    async def handler(stream: trio.abc.Stream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        head = b""
        with suppress(trio.BrokenResourceError):
            while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD_SIZE:
                if not (data := await tls.receive_some(_MAX_HEAD_SIZE)):
                    return
                head += data
            await tls.send_all(_RESPONSE)
            await linger(stream)

    return handler
