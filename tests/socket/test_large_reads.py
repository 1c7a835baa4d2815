"""A stream reads up to 256 KiB at a time, as long as few of its host's streams do."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.socket.network import OURS, THEIRS, connected
from tunstack import Host, Limits, Socket, TcpStream, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

LARGE = 1 << 18
USUAL = 1 << 16
MUCH = 3 * LARGE


@asynccontextmanager
async def reader_with(memory: int) -> AsyncIterator[tuple[Host, Host]]:
    """A host that sends, and one that reads and has so much memory."""
    left, right = memory_pair(9000)
    async with (
        Host(left, [f"{OURS}/24"], seed=1) as ours,
        Host(right, [f"{THEIRS}/24"], seed=2, limits=Limits(memory=memory)) as theirs,
    ):
        yield ours, theirs


async def sent_to(ours: Host, theirs: Host, size: int = MUCH) -> tuple[Socket, TcpStream]:
    """A socket that has sent so much, and the stream that has it to read."""
    near, far = await connected(ours, theirs, buffer=4 * MUCH)
    await near.send(bytes(size))
    await near.wait_acknowledged()
    return near, TcpStream(far)


async def unread(ours: Host, theirs: Host, size: int = MUCH) -> TcpStream:
    """A stream with so much to read."""
    return (await sent_to(ours, theirs, size))[1]


async def test_a_read_without_a_number_takes_256_kib_and_one_with_a_number_that() -> None:
    async with reader_with(256 << 20) as (ours, theirs):
        stream = await unread(ours, theirs)
        assert len(await stream.receive_some()) == LARGE
        assert len(await stream.receive_some(1000)) == 1000
        assert len(await stream.receive_some(2 * LARGE)) == MUCH - LARGE - 1000


async def test_a_small_read_is_not_larger_than_what_it_returns() -> None:
    """Nothing is allocated for what might have come."""
    async with reader_with(256 << 20) as (ours, theirs):
        stream = await unread(ours, theirs, 100)
        data = await stream.receive_some()
        assert len(data) == 100
        assert data.__sizeof__() < 200


async def test_only_as_many_streams_read_much_as_take_a_sixteenth_of_the_memory() -> None:
    async with reader_with(32 * LARGE) as (ours, theirs):
        streams = [await unread(ours, theirs) for _ in range(4)]
        sizes = [len(await stream.receive_some()) for stream in streams]
        assert sizes == [LARGE, LARGE, USUAL, USUAL]
        assert [len(await stream.receive_some()) for stream in streams] == sizes


@pytest.mark.parametrize("how", ["a small read", "aclose", "abort", "forgotten"])
async def test_the_next_stream_reads_much_when_another_has_ended_that(
    how: str, autojump_clock: MockClock
) -> None:
    async with reader_with(16 * LARGE) as (ours, theirs):
        near, first = await sent_to(ours, theirs, LARGE + 10 * (how == "a small read"))
        second = await unread(ours, theirs)
        assert len(await first.receive_some()) == LARGE
        assert len(await second.receive_some()) == USUAL
        if how == "a small read":
            assert len(await first.receive_some()) == 10
        elif how == "aclose":
            await first.aclose()
        elif how == "abort":
            first.abort()
        else:
            near.abort()
            await trio.sleep(5)  # Its timer was set for a second, and has it until then.
            assert len(theirs.connections()) == 1
            del first
            gc.collect()
        assert len(await second.receive_some()) == LARGE
        third = await unread(ours, theirs)
        assert len(await third.receive_some()) == USUAL
