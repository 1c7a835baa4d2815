"""Echo (RFC 862): sends back what it receives, up to the peer's end of file."""

from __future__ import annotations

from contextlib import suppress

import trio

from tunstack.apps._ending import end_sending


async def handler(stream: trio.abc.Stream) -> None:
    """Echo everything up to the peer's end of file, then end our half too."""
    with suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            await stream.send_all(data)
        await end_sending(stream)
