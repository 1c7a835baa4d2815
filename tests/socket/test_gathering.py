"""What several applications answer to a batch goes to the device together."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import pytest
import trio

from tests.socket.network import OURS, THEIRS, Valve, connected, host_pair
from tunstack import Host, memory_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack import Socket
    from tunstack.link.base import Buffer


class Steps(trio.abc.Instrument):
    """Notes each step of a task, and each packet that the host sends in it."""

    def __init__(self, host: Host) -> None:
        self.events: list[str] = []
        self._send = host._link.send
        host._link.send = self.send  # type: ignore[method-assign]

    def send(self, packet: Sequence[Buffer]) -> bool:
        self.events.append("packet")
        return self._send(packet)

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
    async with host_pair(wrap=Valve) as (ours, theirs), trio.open_nursery() as nursery:
        pairs = [await connected(ours, theirs) for _ in range(requests)]
        for near, far in pairs:
            nursery.start_soon(echo, far)
            await near.send(b"once")  # A connection's first answer is none of the short way.
            assert await near.recv(100) == b"once"
            nursery.start_soon(echo, far)
        valve = ours._link
        assert isinstance(valve, Valve)
        await trio.testing.wait_all_tasks_blocked()
        valve.full = True
        for near, _ in pairs:
            await near.send(b"again")
        steps = Steps(theirs)
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
            assert theirs._coalesce_until > 0
        for near, _ in pairs:
            with pytest.raises(ConnectionResetError):
                await near.recv(100)
