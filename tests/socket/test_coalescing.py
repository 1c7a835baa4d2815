"""What several applications answer to a batch goes to the device together."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import pytest
import trio

from tests.socket.network import OURS, THEIRS, Valve, connected, is_gathering
from tunstack import Host, memory_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack import Socket
    from tunstack.link.base import Buffer, Link


class Steps(Valve, trio.abc.Instrument):
    """A link that notes each step of a task, and each packet that its host sends in it."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.events: list[str] = []

    def send(self, packet: Sequence[Buffer]) -> bool:
        self.events.append("packet")
        return super().send(packet)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.events.append("step")

    @property
    def bursts(self) -> list[int]:
        """How many packets went out in each step in which one did."""
        return [len([*group]) for what, group in groupby(self.events) if what == "packet"]


async def echo(sock: Socket) -> None:
    await sock.send(await sock.recv(100))


async def test_answers_to_a_batch_go_out_in_two_bursts() -> None:
    """In whatever order the applications get their turn, and the host its own between them."""
    requests = 8
    near_link, far_link = memory_pair()
    valve, steps = Valve(near_link), Steps(far_link)
    async with (
        Host(valve, [f"{OURS}/24"], seed=1) as ours,
        Host(steps, [f"{THEIRS}/24"], seed=2) as theirs,
        trio.open_nursery() as nursery,
    ):
        pairs = [await connected(ours, theirs) for _ in range(requests)]
        for near, far in pairs:
            nursery.start_soon(echo, far)
            await near.send(b"once")  # A connection's first answer is none of the short way.
            assert await near.recv(100) == b"once"
            nursery.start_soon(echo, far)
        await trio.testing.wait_all_tasks_blocked()
        valve.full = True
        for near, _ in pairs:
            await near.send(b"again")
        steps.events.clear()
        trio.lowlevel.add_instrument(steps)
        valve.empty()
        for near, _ in pairs:
            assert await near.recv(100) == b"again"
        trio.lowlevel.remove_instrument(steps)
        assert sum(steps.bursts) == requests
        assert len(steps.bursts) <= 2


async def test_a_host_that_ends_meanwhile_resets_its_connections_all_the_same() -> None:
    """By the very application that the batch has woken."""
    link, far = memory_pair()
    valve = Valve(link)
    async with Host(valve, [f"{OURS}/24"]) as ours:
        async with Host(far, [f"{THEIRS}/24"]) as theirs:
            pairs = [await connected(ours, theirs) for _ in range(8)]
            valve.full = True
            for near, _ in pairs:
                await near.send(b"request")
            valve.empty()
            await pairs[0][1].recv(100)
            assert is_gathering(theirs)
        for near, _ in pairs:
            with pytest.raises(ConnectionResetError):
                await near.recv(100)
