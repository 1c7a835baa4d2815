"""What the workers of the tests run: they import it by its name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NoReturn

import trio

from tunstack.host.host import loop_of

if TYPE_CHECKING:
    from tunstack import Worker
    from tunstack.link.base import Buffer

PORT = 7


async def echo(
    worker: Worker, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tell each connection which worker it has, and then send back what it sends."""

    async def handler(stream: trio.SocketStream) -> None:
        await stream.send_all(bytes([worker.number]))
        async for data in stream:
            await stream.send_all(data)

    await worker.host.serve_tcp(handler, PORT, task_status=task_status)


async def count(
    worker: Worker, *, of: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Count something, the first worker once, the next ten times..."""
    loop_of(worker.host).stack.counters[of] += 10**worker.number
    loop_of(worker.host).stack.memory.budget.used += 10**worker.number
    task_status.started()


async def talk(worker: Worker, task_status: trio.TaskStatus[None]) -> None:
    """Tell the parent something, in the beginning and in the end."""
    worker.tell({"begun": worker.number})
    task_status.started()
    try:
        await trio.sleep_forever()
    finally:
        worker.tell({"ended": worker.number})


async def roll(worker: Worker, task_status: trio.TaskStatus[None]) -> None:
    """Tell what chance is like here."""
    worker.tell(
        loop_of(worker.host).stack.demux.ephemeral_port(b"\xc6\x33\x64\x02", b"\xc6\x33\x64\x01", 9)
    )
    task_status.started()


async def hand_on(worker: Worker, task_status: trio.TaskStatus[object]) -> None:
    """Hand on a packet for each connection, and tell what is handed on to here."""

    paths = loop_of(worker.host).stack.paths

    async def handler(stream: trio.SocketStream) -> None:
        assert paths.forward is not None
        paths.forward(b"packet from %d" % worker.number)

    def take(packet: Buffer, now: float) -> None:
        worker.tell(bytes(packet))

    paths.handle_forwarded = take  # type: ignore[method-assign]
    await worker.host.serve_tcp(handler, PORT, task_status=task_status)


async def connect(worker: Worker, task_status: trio.TaskStatus[None]) -> None:
    """Try what a worker must not."""
    try:
        await worker.host.open_tcp_stream("198.51.100.1", 80)
    except OSError as error:
        worker.tell((error.errno, str(error)))
    task_status.started()


async def refuse(worker: Worker, task_status: trio.TaskStatus[None]) -> NoReturn:
    """Die before serving."""
    raise SystemExit(f"worker {worker.number} will not")


nowhere = partial(echo)
