"""``tunstack connect``: how the two ways of a conversation end, over streams in memory."""

from __future__ import annotations

import errno
import os

import pytest
import trio
import trio.testing

from tunstack.cli.output.counting import describe
from tunstack.cli.running.connect import copy_both_ways
from tunstack.cli.status import OUTPUT_CLOSED, Failure


class Person:
    """Standard input and output, for a test: what is said when, and what was heard."""

    def __init__(self, *words: bytes, interactive: bool = False) -> None:
        self.words = list(words)
        self.heard = b""
        self.interactive = interactive
        self.may_end = trio.Event()

    async def read(self) -> bytes:
        if not self.words:
            await self.may_end.wait()
        await trio.lowlevel.checkpoint()
        return self.words.pop(0) if self.words else b""

    async def write(self, data: bytes | bytearray) -> None:
        await trio.lowlevel.checkpoint()
        self.heard += data

    def is_interactive(self) -> bool:
        return self.interactive


async def test_our_end_of_input_leaves_the_other_half_open() -> None:
    near, far = trio.testing.memory_stream_pair()
    person = Person(b"one", b"two")
    person.may_end.set()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy_both_ways, near, person)
            assert b"".join([data async for data in far]) == b"onetwo"
            await far.send_all(b"three")
            await far.send_eof()
    assert person.heard == b"three"


async def test_their_end_leaves_our_half_open() -> None:
    near, far = trio.testing.memory_stream_pair()
    person = Person()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy_both_ways, near, person)
            await far.send_eof()
            await trio.testing.wait_all_tasks_blocked()
            person.words.append(b"late")
            person.may_end.set()
            assert b"".join([data async for data in far]) == b"late"


async def test_their_end_is_the_end_when_a_person_types() -> None:
    near, far = trio.testing.memory_stream_pair()
    person = Person(interactive=True)
    await far.send_all(b"bye")
    await far.send_eof()
    with trio.fail_after(5):
        await copy_both_ways(near, person)
    assert person.heard == b"bye"


class _Broken(trio.abc.HalfCloseableStream):
    """A stream that breaks as soon as it is read."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise trio.BrokenResourceError from OSError(self.number, os.strerror(self.number))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def send_eof(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_the_connections_error_is_raised_once() -> None:
    with pytest.raises(trio.BrokenResourceError) as caught:
        await copy_both_ways(_Broken(errno.ECONNRESET), Person(b"x"))
    assert describe(caught.value) == "reset by peer"


async def test_closed_output_ends_it() -> None:
    class Deaf(Person):
        async def write(self, data: bytes | bytearray) -> None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"hello")
    with pytest.raises(Failure) as caught:
        await copy_both_ways(near, Deaf())
    assert caught.value.status == OUTPUT_CLOSED


async def test_a_bug_is_not_hidden() -> None:
    class Faulty(Person):
        async def write(self, data: bytes | bytearray) -> None:
            raise ZeroDivisionError

    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"hello")
    with pytest.RaisesGroup(ZeroDivisionError):
        await copy_both_ways(near, Faulty())
