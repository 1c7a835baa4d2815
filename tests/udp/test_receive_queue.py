"""The receive queue of a UDP socket, and its memory."""

from __future__ import annotations

from tunstack.udp.receive_queue import OVERHEAD, Received, ReceiveQueue

PEER = bytes((198, 51, 100, 1))
US = bytes((198, 51, 100, 2))


def received(data: bytes) -> Received:
    return data, PEER, 9, US, 64, 0, 0


def test_datagrams_are_taken_in_the_order_of_their_arrival() -> None:
    queue = ReceiveQueue()
    for data in (b"one", b"", b"three"):
        assert queue.add(received(data), 10_000) == OVERHEAD + len(data)
    assert [queue.take()[0] for _ in range(3)] == [b"one", b"", b"three"]
    assert (len(queue), queue.used) == (0, 0)


def test_datagrams_without_data_are_bounded_too() -> None:
    queue = ReceiveQueue()
    count = sum(1 for _ in range(1000) if queue.add(received(b""), 10 * OVERHEAD))
    assert count == len(queue) == 11
    assert queue.used == 11 * OVERHEAD


def test_an_empty_queue_takes_a_datagram_of_any_size() -> None:
    queue = ReceiveQueue()
    assert queue.add(received(bytes(65507)), 2304)
    assert queue.add(received(b""), 2304) == 0
    queue.take()
    assert queue.add(received(b""), 2304)


def test_clearing_tells_what_was_charged() -> None:
    queue = ReceiveQueue()
    queue.add(received(b"1234"), 10_000)
    queue.add(received(b""), 10_000)
    assert queue.clear() == 2 * OVERHEAD + 4
    assert (len(queue), queue.used) == (0, 0)
