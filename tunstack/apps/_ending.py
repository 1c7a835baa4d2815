"""How a handler ends its half of a stream."""

from __future__ import annotations

import trio


async def end_sending(stream: trio.abc.Stream) -> None:
    """Send end of file: half-close the stream if it supports that, else close it."""
    if isinstance(stream, trio.abc.HalfCloseableStream):
        await stream.send_eof()
    else:
        await stream.aclose()
