"""How a handler ends its half of a stream."""

from __future__ import annotations

import trio


async def end_sending(stream: trio.abc.Stream) -> None:
    """Tell the peer that nothing more will come: half-close where the stream can, else close."""
    if isinstance(stream, trio.abc.HalfCloseableStream):
        await stream.send_eof()
    else:
        await stream.aclose()
