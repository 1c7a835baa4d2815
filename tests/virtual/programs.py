"""Programs that know nothing of networks: what a host runs in these tests."""

from __future__ import annotations

import trio


async def echo(stream: trio.SocketStream) -> None:
    """Send back what comes, until it ends."""
    async for data in stream:
        await stream.send_all(data)


async def serve_echo(
    port: int = 7, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
) -> None:
    """An echo server by trio's own means."""
    await trio.serve_tcp(echo, port, task_status=task_status)


async def ask(host: str, data: bytes = b"hello", port: int = 7) -> bytes:
    """Return what an echo server sends back."""
    stream = await trio.open_tcp_stream(host, port)
    async with stream:
        await stream.send_all(data)
        await stream.send_eof()
        return b"".join([bytes(each) async for each in stream])
