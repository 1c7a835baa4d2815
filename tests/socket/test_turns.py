"""Applications get to read what has come before more of it is taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS, THEIRS, Valve, connected, host_pair
from tunstack import Host, memory_pair

if TYPE_CHECKING:
    from tunstack.link.base import Buffer

MSS = 1460
LARGE = 65_535
"""An MTU with which a batch brings as much as with offload."""
MUCH = 1_000_000


class Limits(Valve):
    """A link that notes the largest batch of packets that its host has asked for."""

    largest = 0

    def receive(self, limit: int = 256) -> list[Buffer]:
        self.largest = max(self.largest, limit)
        return super().receive(limit)


class Steps(trio.abc.Instrument):
    """Counts the turns of the task that receives packets for a host."""

    def __init__(self, host: Host) -> None:
        self.count = 0
        self._name = f"receive from {host.name}"

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name == self._name


async def test_what_a_batch_brought_is_read_before_the_next() -> None:
    """Though each turn of the reader is good for a few segments only."""
    near_link, far_link = memory_pair()
    link = Limits(far_link)
    async with (
        Host(near_link, [f"{OURS}/24"], seed=1) as ours,
        Host(link, [f"{THEIRS}/24"], seed=2) as theirs,
        trio.open_nursery() as nursery,
    ):
        near, far = await connected(ours, theirs)
        data = bytes(2_000_000)
        nursery.start_soon(trio.SocketStream(near).send_all, data)
        read = most = 0
        while read < len(data):
            read += len(await far.recv(5000))
            most = max(most, theirs.connections()[0].unread)
        assert 20_000 < most <= link.largest * MSS


async def test_an_application_that_does_not_read_blocks_no_other() -> None:
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
        near, _far = await connected(ours, theirs, buffer=100_000)
        await near.send(bytes(10_000))
        await near.wait_acknowledged()
        begin = trio.current_time()
        await near.send(bytes(50_000))
        await wait_all_tasks_blocked()
        assert trio.current_time() == begin
        assert theirs.connections()[0].unread == 60_000
        assert ours.connections()[0].unacked <= MSS  # That is delayed, as ever.


async def test_much_is_read_without_turns_of_the_host() -> None:
    """Over TLS an application takes a turn for each record of what it has read."""
    async with host_pair(mtu=LARGE) as (ours, theirs), trio.open_nursery() as nursery:
        near, far = await connected(ours, theirs, buffer=MUCH)
        steps = Steps(theirs)
        trio.lowlevel.add_instrument(steps)
        nursery.start_soon(trio.SocketStream(near).send_all, bytes(10 * MUCH))
        read = turns = 0
        while read < 10 * MUCH:
            read += len(await far.recv(LARGE))
            for _ in range(4):
                await trio.lowlevel.checkpoint()
            turns += 5
        assert steps.count < turns / 2


async def test_an_application_that_stops_reading_much_delays_the_next_batch_once() -> None:
    """It may be blocked: the host waits for 2 ms, and the next times for a few turns only."""
    async with host_pair(mtu=LARGE, nodelay=True) as (ours, theirs):
        near, _far = await connected(ours, theirs, buffer=MUCH)
        other, answers = await connected(theirs, ours)
        await near.send(bytes(MUCH // 2))
        await near.wait_acknowledged()
        begin = trio.current_time()
        for _ in range(20):
            await near.send(bytes(10_000))
            await answers.send(b"request")
            assert await other.recv(100) == b"request"
        assert trio.current_time() - begin < 0.01
