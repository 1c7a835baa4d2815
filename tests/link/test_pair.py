"""Two links back to back in memory."""

from __future__ import annotations

import errno

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from tunstack.link.pair import CAPACITY, memory_pair


async def test_what_one_end_sends_the_other_receives_in_order() -> None:
    left, right = memory_pair()
    assert left.send([b"one"])
    assert left.send([b"tw", memoryview(b"o")])
    assert right.receive() == [b"one", b"two"]
    assert right.receive() == []
    assert right.send([b"three"])
    assert left.receive() == [b"three"]


async def test_receive_takes_at_most_its_limit() -> None:
    left, right = memory_pair()
    for number in range(5):
        left.send([bytes([number])])
    assert right.receive(limit=2) == [b"\0", b"\1"]
    assert right.receive(limit=9) == [b"\2", b"\3", b"\4"]


async def test_the_packet_is_a_copy_of_what_was_sent() -> None:
    left, right = memory_pair()
    buffer = bytearray(b"before")
    left.send([buffer])
    buffer[:] = b"after!"
    assert right.receive() == [b"before"]


async def test_both_ends_have_the_mtu_and_names_of_their_own() -> None:
    left, right = memory_pair(mtu=576)
    assert left.mtu == right.mtu == 576
    assert left.name != right.name


async def test_a_packet_larger_than_the_mtu_is_refused() -> None:
    left, right = memory_pair(mtu=100)
    assert left.send([bytes(60), bytes(40)])
    with pytest.raises(OSError, match="101 bytes") as caught:
        left.send([bytes(101)])
    assert caught.value.errno == errno.EMSGSIZE
    assert len(right.receive()) == 1


async def test_wait_readable_returns_when_a_packet_arrives(autojump_clock: MockClock) -> None:
    left, right = memory_pair()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send_later() -> None:
            await trio.sleep(3)
            left.send([b"packet"])

        await right.wait_readable()
        assert trio.current_time() == 3
        assert right.receive() == [b"packet"]


async def test_waiting_is_a_checkpoint_when_it_need_not_wait() -> None:
    left, right = memory_pair()
    left.send([b"packet"])
    with assert_checkpoints():
        await right.wait_readable()
    with assert_checkpoints():
        await left.wait_writable()


async def test_a_waiting_link_is_a_blocked_task(mock_clock: MockClock) -> None:
    """Else a test under a virtual clock would never see time pass."""
    _, right = memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.wait_readable)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_full_link_declines_and_takes_more_once_there_is_room() -> None:
    left, right = memory_pair()
    for _ in range(CAPACITY):
        assert left.send([b"x"])
    assert not left.send([b"too many"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.wait_writable)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        assert right.receive(limit=1) == [b"x"]
    assert left.send([b"last"])
    assert right.receive(limit=CAPACITY)[-1] == b"last"


@pytest.mark.parametrize("wait", ["wait_readable", "wait_writable"])
async def test_closing_wakes_who_waits_with_closed_resource_error(wait: str) -> None:
    left, _ = memory_pair()
    while left.send([b"x"]):
        pass
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def blocked() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await getattr(left, wait)()

        await wait_all_tasks_blocked()
        left.close()
    with pytest.raises(trio.ClosedResourceError):
        await getattr(left, wait)()


async def test_a_closed_end_refuses_with_ebadf() -> None:
    left, _ = memory_pair()
    left.close()
    left.close()
    with pytest.raises(OSError, match="closed") as caught:
        left.receive()
    assert caught.value.errno == errno.EBADF
    with pytest.raises(OSError, match="closed") as caught:
        left.send([b"x"])
    assert caught.value.errno == errno.EBADF


async def test_closing_one_end_lets_the_other_read_what_was_sent_and_loses_the_rest() -> None:
    left, right = memory_pair()
    left.send([b"last words"])
    left.close()
    assert right.receive() == [b"last words"]
    assert right.send([b"into the void"])


async def test_closing_the_far_end_frees_who_waits_to_send() -> None:
    left, right = memory_pair()
    while left.send([b"x"]):
        pass
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.wait_writable)
        await wait_all_tasks_blocked()
        right.close()
    assert left.send([b"into the void"])
