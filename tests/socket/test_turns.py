"""Applications get to read what has come before more of it is taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import connected, host_pair

if TYPE_CHECKING:
    from tunstack import Host

BATCH = 64 * 1460
"""Octets of the largest batch of packets."""


class Steps(trio.abc.Instrument):
    """Counts the turns of the task that receives packets for a host."""

    def __init__(self, host: Host) -> None:
        self.count = 0
        self._name = f"receive from {host.name}"

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name == self._name


async def test_what_a_batch_brought_is_read_before_the_next() -> None:
    """Though each turn of the reader is good for a few segments only."""
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        near, far = await connected(ours, theirs)
        flow = far._state.connected()
        data = bytes(2_000_000)
        nursery.start_soon(trio.SocketStream(near).send_all, data)
        read = most = 0
        while read < len(data):
            read += len(await far.recv(5000))
            most = max(most, flow.receiver.buffer.size)
        assert 20_000 < most <= BATCH


async def test_who_does_not_read_holds_nobody_up() -> None:
    async with host_pair() as (ours, theirs):
        near, _far = await connected(ours, theirs)
        steps = Steps(theirs)
        await near.send(bytes(60_000))
        trio.lowlevel.add_instrument(steps)
        await near.wait_acknowledged()
        assert 0 < steps.count < 32


async def test_an_ack_is_held_back_for_a_few_turns_only() -> None:
    """More than half of the buffer is full, and nobody reads: the peer hears of it all the same."""
    async with host_pair() as (ours, theirs):
        near, far = await connected(ours, theirs, buffer=100_000)
        await near.send(bytes(10_000))
        await near.wait_acknowledged()
        begin = trio.current_time()
        await near.send(bytes(50_000))
        await wait_all_tasks_blocked()
        assert trio.current_time() == begin
        assert far._state.connected().receiver.buffer.size == 60_000
        assert near._state.connected().sender.outstanding <= 1460  # That is delayed, as ever.
