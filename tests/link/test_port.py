"""A port of a switch in memory: when packets arrive, and what is taken back."""

from __future__ import annotations

import errno

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.socket.network import fails
from tunstack.link.port import CAPACITY, MemoryPort


async def test_packets_arrive_in_order_of_time_then_of_delivery(autojump_clock: MockClock) -> None:
    port = MemoryPort("port", 1500, lambda packet: None)
    for packet, at in ((b"c", 2), (b"a", 1), (b"b", 1), (b"d", 3)):
        assert port.deliver(packet, at)
    assert port.receive() == []
    await port.wait_readable()
    assert trio.current_time() == 1
    assert port.receive(1) == [b"a"]
    assert port.receive() == [b"b"]
    await trio.sleep(5)
    assert port.receive() == [b"c", b"d"]


async def test_an_earlier_packet_wakes_earlier(autojump_clock: MockClock) -> None:
    port = MemoryPort("port", 1500, lambda packet: None)
    port.deliver(b"later", 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(port.wait_readable)
        await trio.sleep(1)
        port.deliver(b"earlier", 2)
    assert trio.current_time() == 2
    assert port.receive() == [b"earlier"]


async def test_what_is_sent_is_carried(autojump_clock: MockClock) -> None:
    carried: list[bytes] = []
    port = MemoryPort("port", 100, carried.append)
    assert port.send([b"one ", memoryview(b"packet")])
    assert carried == [b"one packet"]
    with fails(errno.EMSGSIZE):
        port.send([bytes(101)])
    await port.wait_writable()


async def test_what_has_not_arrived_can_be_taken_back(autojump_clock: MockClock) -> None:
    port = MemoryPort("port", 1500, lambda packet: None)
    for packet, at, source in ((b"0", 0, "x"), (b"1", 2, "x"), (b"2", 1, "y"), (b"3", 1, "x")):
        port.deliver(packet, at, source)
    assert port.withdraw("x") == [(1, b"3"), (2, b"1")]
    assert port.receive() == [b"0"]
    assert port.withdraw() == [(1, b"2")]
    assert port.withdraw() == []


async def test_a_closed_port_takes_nothing(autojump_clock: MockClock) -> None:
    port = MemoryPort("port", 1500, lambda packet: None)
    port.deliver(b"", 1)

    async def is_closed() -> None:
        with pytest.raises(trio.ClosedResourceError, match="the link port is closed"):
            await port.wait_readable()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(is_closed)
        await wait_all_tasks_blocked()
        port.close()
        port.close()
    assert not port.deliver(b"", 1)
    with fails(errno.EBADF):
        port.receive()
    with fails(errno.EBADF):
        port.send([b""])
    with pytest.raises(trio.ClosedResourceError):
        await port.wait_writable()


async def test_there_is_room_for_so_many(autojump_clock: MockClock) -> None:
    port = MemoryPort("port", 1500, lambda packet: None)
    assert all(port.deliver(b"", 1) for _ in range(CAPACITY))
    assert not port.deliver(b"", 1)
    await trio.sleep(1)
    assert len(port.receive(CAPACITY)) == CAPACITY
    assert port.deliver(b"", 1)
