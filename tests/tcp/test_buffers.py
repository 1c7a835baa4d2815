"""The buffers against plain ones: what goes in comes out, once, in order, around the wrap."""

from __future__ import annotations

import gc
import re
from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tunstack.tcp.receiver.reassembly import Reassembly
from tunstack.tcp.receiver.receive_buffer import ReceiveBuffer
from tunstack.tcp.sender.send_buffer import SendBuffer
from tunstack.tcp.sequence import diff

if TYPE_CHECKING:
    from tunstack.tcp.segment import Buffer

starts: Final = st.sampled_from([0, 1, 2**31 - 2000, 2**32 - 1, 2**32 - 3000])
sizes: Final = st.one_of(
    st.integers(1, 40), st.sampled_from([1023, 1024, 1460, 2047, 2048, 5000, 20_000, 40_000])
)
examples = settings(deadline=None, derandomize=True, max_examples=300)
machines = settings(
    deadline=None, derandomize=True, max_examples=60, stateful_step_count=30, print_blob=False
)


def text(size: int, salt: int = 0) -> bytes:
    """Octets that tell where they came from."""
    return bytes((n * 7 + salt) % 251 for n in range(size))


def chunks_of(buffer: SendBuffer | ReceiveBuffer) -> list[Buffer]:
    """The pieces of data that it keeps, in whatever queue it has them."""
    queues = [each for each in gc.get_referents(buffer) if isinstance(each, list | deque)]
    kinds = bytes | bytearray | memoryview
    return [each for queue in queues for each in queue if isinstance(each, kinds)]


class SendBufferMachine(RuleBasedStateMachine):
    """A send buffer, and a bytearray that does the same."""

    @initialize(start=starts)
    def begin(self, start: int) -> None:
        self.buffer = SendBuffer(start)
        self.model = bytearray()
        self.start = start
        self.acknowledged = 0

    @rule(size=sizes, salt=st.integers(0, 250))
    def append(self, size: int, salt: int) -> None:
        data = bytearray(text(size, salt))
        self.buffer.append(memoryview(data) if salt % 2 else data)
        self.model += data
        data[:] = bytes(size)  # It was copied.

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def slice(self, data: st.DataObject) -> None:
        begin = data.draw(st.integers(0, len(self.model) - 1))
        end = data.draw(st.integers(begin + 1, len(self.model)))
        piece = self.buffer.slice((self.start + begin) % 2**32, end - begin)
        assert piece == self.model[begin:end]

    @rule(part=st.floats(0.0, 1.0))
    def drop(self, part: float) -> None:
        octets = int(len(self.model) * part)
        self.start = (self.start + octets) % 2**32
        self.buffer.drop_until(self.start)
        del self.model[:octets]
        self.acknowledged += octets

    @invariant()
    def sizes_agree(self) -> None:
        assert len(self.buffer) == len(self.model)
        assert self.buffer.start == self.start
        assert self.buffer.end == (self.start + len(self.model)) % 2**32
        assert self.buffer.acknowledged == self.acknowledged


class ReceiveBufferMachine(RuleBasedStateMachine):
    """A receive buffer, and a bytearray that does the same."""

    @initialize()
    def begin(self) -> None:
        self.buffer = ReceiveBuffer()
        self.model = bytearray()
        self.total = 0

    @rule(size=sizes, salt=st.integers(0, 250))
    def append(self, size: int, salt: int) -> None:
        data = text(size, salt)
        self.buffer.append(memoryview(data) if salt % 2 else data)
        self.model += data
        self.total += size

    @rule(limit=sizes)
    def take(self, limit: int) -> None:
        taken = self.buffer.take(limit)
        assert taken == self.model[: len(taken)]
        assert min(limit, len(self.model)) // 2 <= len(taken) <= limit
        assert taken or not limit or not self.model
        del self.model[: len(taken)]

    @rule(limit=st.just(1 << 30))
    def take_all(self, limit: int) -> None:
        self.take(limit)

    @rule()
    def clear(self) -> None:
        self.buffer.clear()
        self.model.clear()

    @invariant()
    def sizes_agree(self) -> None:
        assert len(self.buffer) == len(self.model)
        assert self.buffer.total == self.total


TestSendBuffer = SendBufferMachine.TestCase
TestSendBuffer.settings = machines
TestReceiveBuffer = ReceiveBufferMachine.TestCase
TestReceiveBuffer.settings = machines


def test_many_acknowledged_chunks_are_let_go() -> None:
    """The index is cleaned up now and then; what is left stays where it was."""
    buffer = SendBuffer(0)
    whole = b""
    for number in range(300):
        chunk = text(2048, number)
        whole += chunk
        buffer.append(chunk)
    for end in range(1000, len(whole) - 3000, 1000):
        buffer.drop_until(end)
        assert buffer.slice(end, 3000) == whole[end : end + 3000]
    chunks = chunks_of(buffer)
    assert 0 < len(chunks) < 150
    assert sum(map(len, chunks)) < 8192


def test_immutable_data_is_not_copied() -> None:
    buffer = SendBuffer(0)
    data = text(10_000)
    with memoryview(data)[1000:9000] as view:  # So do trio's streams.
        buffer.append(view)
    found = buffer.slice(0, 8000)
    assert isinstance(found, memoryview)
    assert found.obj is data
    assert found == data[1000:9000]


def test_what_may_change_is_copied() -> None:
    buffer = SendBuffer(0)
    data = bytearray(text(10_000))
    buffer.append(memoryview(data))
    data[:] = bytes(10_000)
    assert buffer.slice(0, 10_000) == text(10_000)


def test_a_part_of_something_large_is_copied() -> None:
    """Else that would have to stay, all of it, and uncounted."""
    buffer = SendBuffer(0)
    data = text(10_000)
    buffer.append(memoryview(data)[:4999])
    found = buffer.slice(0, 4999)
    assert found == data[:4999]
    assert type(found) is bytes


def test_octets_that_lie_apart_are_copied() -> None:
    buffer = SendBuffer(0)
    data = text(10_000)
    buffer.append(memoryview(data)[::2])
    assert buffer.slice(0, 5000) == data[::2]
    assert b"".join([buffer.slice(1, 4000)]) == data[2:8002:2]


def test_small_writes_are_gathered() -> None:
    """A chunk costs more than its octets."""
    buffer = SendBuffer(0)
    for _ in range(10_000):
        buffer.append(b"x")
    assert 0 < len(chunks_of(buffer)) < 10


def test_small_arrivals_are_gathered() -> None:
    buffer = ReceiveBuffer()
    for _ in range(10_000):
        buffer.append(memoryview(bytearray(1500))[:1])
    assert 0 < len(chunks_of(buffer)) < 5


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (65536, [65160, 65160, 1448]),
        (65160, [65160, 65160, 1448]),
        (40_000, [40_000, 40_000, 40_000, 11_768]),
        (1 << 18, [131_768]),
    ],
)
def test_a_large_segment_is_handed_over_by_itself(asked: int, given: list[int]) -> None:
    """To fill up what was asked for would mean to cut, and copy, each of them twice."""
    buffer = ReceiveBuffer()
    data = text(131_768)
    for start, end in ((0, 65_160), (65_160, 130_320), (130_320, 131_768)):
        buffer.append(memoryview(data)[start:end])
    taken = [buffer.take(asked) for _ in given]
    assert [len(piece) for piece in taken] == given
    assert b"".join(taken) == data
    assert buffer.size == 0


def test_of_small_segments_all_that_was_asked_for_is_given() -> None:
    buffer = ReceiveBuffer()
    for _ in range(100):
        buffer.append(memoryview(text(1448)))
    assert [len(buffer.take(65_536)) for _ in range(3)] == [65_536, 65_536, 13_728]


def test_a_whole_chunk_and_a_part_of_a_large_one_are_not_copied() -> None:
    buffer = SendBuffer(0)
    data = text(4000)
    buffer.append(data)
    assert buffer.slice(0, 4000) is data
    view = buffer.slice(1000, 1460)
    assert isinstance(view, memoryview)
    assert view.obj is data


# Reassembly


LENGTH: Final = 8000
STREAM: Final = text(LENGTH)


@st.composite
def scattered(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Pieces of a stream, as (offset, size), in any order, overlapping or not."""
    size = draw(st.sampled_from([7, 300, 1500, 5000]))
    least = draw(st.sampled_from([1, size]))
    offsets = st.integers(0, LENGTH - 1)
    pieces = draw(st.lists(st.tuples(offsets, st.integers(least, size)), max_size=40))
    return [(offset, min(length, LENGTH - offset)) for offset, length in pieces]


class Covered:
    """Which octets of the stream are there."""

    def __init__(self) -> None:
        self._there = bytearray(LENGTH)

    def add(self, offset: int, size: int) -> bool:
        """Returns whether anything in it was new."""
        new = 0 in self._there[offset : offset + size]
        self._there[offset : offset + size] = b"\x01" * size
        return new

    def twice(self, offset: int, end: int) -> tuple[int, int] | None:
        """Of what is there already between the two, the first octets."""
        found = re.search(b"\x01+", self._there[offset:end])
        return None if found is None else (offset + found.start(), offset + found.end())

    def size(self, start: int = 0) -> int:
        return sum(self._there[start:])

    def runs(self) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(b"\x01+", self._there)]

    def end(self, start: int) -> int:
        """Where the octets that follow `start` without a gap end."""
        gap = self._there.find(0, start)
        return LENGTH if gap < 0 else gap


def relative(span: tuple[int, int] | None, start: int) -> tuple[int, int] | None:
    return None if span is None else (diff(span[0], start), diff(span[1], start))


@examples
@given(starts, scattered())
def test_overlapping_pieces_become_the_stream(start: int, pieces: list[tuple[int, int]]) -> None:
    """What is held, its size, and the SACK blocks, after each piece."""
    reassembly = Reassembly(1024)
    covered = Covered()
    for offset, size in pieces:
        twice = covered.twice(offset, offset + size)
        kept = reassembly.insert((start + offset) % 2**32, STREAM[offset : offset + size])
        assert relative(reassembly.duplicate, start) == twice
        assert kept is covered.add(offset, size)
        runs = covered.runs()
        assert reassembly.size == covered.size()
        assert len(reassembly) == len(runs)
        blocks = [
            (diff(left, start), diff(right, start)) for left, right in reassembly.blocks(1024)
        ]
        assert sorted(blocks) == runs
        assert blocks[0][0] <= offset < blocks[0][1]
        assert reassembly.blocks(3) == reassembly.blocks(1024)[:3]
    runs = covered.runs()
    for number, (left, right) in enumerate(runs, 1):
        data = b"".join(reassembly.take((start + left) % 2**32))
        assert data == STREAM[left:right]
        assert len(reassembly) == len(runs) - number
    assert reassembly.size == 0


@examples
@given(starts, scattered(), st.integers(0, LENGTH))
def test_take_drops_what_lies_before(start: int, pieces: list[tuple[int, int]], nxt: int) -> None:
    """In-order data may have come to cover what was held."""
    reassembly = Reassembly(1024)
    covered = Covered()
    for offset, size in pieces:
        reassembly.insert((start + offset) % 2**32, STREAM[offset : offset + size])
        covered.add(offset, size)
    end = covered.end(nxt)
    assert b"".join(reassembly.take((start + nxt) % 2**32)) == STREAM[nxt:end]
    assert relative(reassembly.duplicate, start) == covered.twice(0, nxt)
    assert reassembly.size == covered.size(end)
    assert reassembly.take((start + end) % 2**32) == []


def test_blocks_are_in_the_order_of_arrival() -> None:
    reassembly = Reassembly(1024)
    for offset in (50, 10, 30, 70, 10):
        reassembly.insert(offset, bytes(5))
    assert reassembly.blocks(4) == ((10, 15), (70, 75), (30, 35), (50, 55))
    reassembly.insert(35, bytes(15))  # Joins two.
    assert reassembly.blocks(4) == ((30, 55), (10, 15), (70, 75))


def test_too_many_runs_are_refused_but_those_there_may_grow() -> None:
    reassembly = Reassembly(3)
    assert [reassembly.insert(offset, b"x") for offset in (2, 4, 6, 8)] == [True, True, True, False]
    assert reassembly.duplicate is None
    assert reassembly.insert(7, b"xy")
    assert reassembly.size == 5
    assert reassembly.insert(3, b"xyz")
    assert len(reassembly) == 1
    assert b"".join(reassembly.take(2)) == b"xxyzxxy"


def test_clear_drops_everything() -> None:
    reassembly = Reassembly(3)
    reassembly.insert(2, b"x")
    reassembly.clear()
    assert (len(reassembly), reassembly.size, reassembly.blocks(3)) == (0, 0, ())


def test_small_pieces_of_a_run_are_gathered() -> None:
    reassembly = Reassembly(3)
    for offset in accumulate(1 for _ in range(5000)):
        reassembly.insert(offset, memoryview(bytearray(1500))[:1])
    assert len(reassembly.take(1)) < 5
