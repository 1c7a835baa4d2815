"""What a worker and its parent tell each other."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trio

from tunstack.deploy.workers.channel import (
    Channel,
    Forwarded,
    Message,
    Query,
    Ready,
    Reply,
    ServiceMessage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    left, right = map(Channel, socket.socketpair())
    yield left, right
    left.close()
    right.close()


async def test_messages_come_in_order_and_whole(channels: tuple[Channel, Channel]) -> None:
    left, right = channels
    messages: list[Message] = [
        Ready(),
        ServiceMessage({"a": 1}),
        Query("statistics"),
        Reply([None] * 10_000),
    ]
    for message in messages:
        left.send(message)
    assert [await right.receive() for _ in messages] == messages
    right.send(Ready())
    assert await left.receive() == Ready()


async def test_what_is_larger_than_the_sockets_buffer_passes(
    channels: tuple[Channel, Channel],
) -> None:
    left, right = channels
    received: list[Message | None] = []

    async def receive() -> None:
        received.append(await right.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.to_thread.run_sync(left.send, ServiceMessage(bytes(2_000_000)))
    assert received == [ServiceMessage(bytes(2_000_000))]


async def test_a_cancelled_receive_loses_nothing() -> None:
    near, middle = socket.socketpair()
    Channel(near).send(ServiceMessage("whole"))
    data = middle.recv(1000)
    left, far = socket.socketpair()
    right = Channel(far)
    with near, middle, left, closing(right):
        for octet in range(len(data)):
            left.send(data[octet : octet + 1])
            if octet in (0, 3, 4, len(data) - 2):
                with trio.move_on_after(0.01) as scope:
                    await right.receive()
                assert scope.cancelled_caught
        assert await right.receive() == ServiceMessage("whole")
        left.close()
        assert await right.receive() is None


async def test_the_end_comes_after_what_was_sent_and_the_other_way_stays_open(
    channels: tuple[Channel, Channel],
) -> None:
    left, right = channels
    left.send(Ready())
    left.send_eof()
    assert [await right.receive() for _ in range(3)] == [Ready(), None, None]
    right.send(ServiceMessage("more"))
    assert await left.receive() == ServiceMessage("more")


async def test_a_send_to_a_closed_peer_does_nothing(channels: tuple[Channel, Channel]) -> None:
    left, right = channels
    right.close()
    left.send(Ready())
    left.send_nowait(Ready())
    assert await left.receive() is None


async def test_what_is_offered_is_dropped_where_there_is_no_room(
    channels: tuple[Channel, Channel],
) -> None:
    left, right = channels
    packets = [bytes([number % 256]) * 1000 for number in range(2000)]
    for packet in packets:
        left.send_nowait(Forwarded(packet))
    left.send_eof()
    received = []
    while (message := await right.receive()) is not None:
        assert isinstance(message, Forwarded)
        received.append(message.packet)
    assert 0 < len(received) < len(packets)
    assert received == packets[: len(received)]
