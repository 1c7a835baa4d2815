"""A link from which nothing is received before somebody says so."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tunstack.link.gated import GatedLink
from tunstack.link.pair import memory_pair


async def test_no_packets_are_reported_before_the_gate_opens() -> None:
    far, near = memory_pair()
    link = GatedLink(near)
    far.send([b"early"])
    heard: list[bytes] = []

    async def receive() -> None:
        await link.wait_readable()
        heard.extend(map(bytes, link.receive()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert heard == []
        link.open()
    assert heard == [b"early"]


async def test_what_is_sent_does_not_wait_for_the_gate() -> None:
    far, near = memory_pair()
    link = GatedLink(near)
    assert link.send([b"out"])
    assert far.receive() == [b"out"]
    assert (link.name, link.mtu, link.offload) == (near.name, near.mtu, near.offload)


async def test_to_close_it_wakes_who_waits_before_the_gate() -> None:
    link = GatedLink(memory_pair()[1])
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def blocked() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await link.wait_readable()

        await wait_all_tasks_blocked()
        link.close()
