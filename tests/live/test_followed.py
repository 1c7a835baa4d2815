"""A connection that is followed: its history and its ladder, and what it costs."""

from __future__ import annotations

import json
import sys
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio

import tunstack
from tests.compiled import is_compiled
from tests.live.hosts import Pair, pair
from tunstack.ladder.layout import UNICODE, Layout
from tunstack.live import View
from tunstack.live.followed import DECODED, DECODED_OCTETS, RESOLUTION, Tail, latest
from tunstack.stack.flow import Flow
from tunstack.stack.observation import Observation

if TYPE_CHECKING:
    from collections.abc import Callable

in_virtual_time = pytest.mark.trio(run=tunstack.run_virtual)


@in_virtual_time
async def test_its_packets_become_rows_of_a_ladder() -> None:
    async with pair() as both:
        await both.connect()
        stream = await both.connect(40001)
        await trio.sleep(1)
        rows = both.look().connections
        followed = both.view.follow(rows[1].id)
        await both.echoed(stream, 100)
        await stream.send_eof()
        await trio.sleep(1)
        both.look()
    assert [(row.toward, row.words[:3]) for row in followed.rows][:3] == [
        ("right", ("PSH,ACK", "seq 1", "len 100")),
        ("left", ("PSH,ACK", "seq 1", "len 100")),
        ("right", ("FIN,ACK", "seq 101", "ack 101")),
    ]
    assert [row.state for row in followed.rows if row.changed][:1] == ["ESTABLISHED -> CLOSE-WAIT"]
    assert followed.conversation is not None
    assert followed.conversation.left == ("198.51.100.1", 40001)


@in_virtual_time
async def test_from_its_middle_numbers_count_from_the_syn_and_windows_are_scaled() -> None:
    async with pair() as both:
        stream = await both.connect()
        await both.echoed(stream, 5000)
        followed = both.view.follow(0)
        await both.echoed(stream, 100)
        await trio.sleep(1)
        (row,) = both.look().connections
        assert followed.conversation is not None
        headings = [*Layout(80, UNICODE).heading(followed.conversation)]
    assert len(headings) == 1
    request, answer = [row for row in followed.rows if "len 100" in row.words]
    assert request.words[1:4] == ("seq 5001", "len 100", "ack 5001")
    assert answer.words[1:4] == ("seq 5001", "len 100", "ack 5101")
    assert answer.words[4] == f"win {row.info.rcv_wnd}"
    assert row.info.rcv_wnd > 65535


@in_virtual_time
async def test_from_syn_received_on_windows_are_scaled_too() -> None:
    async with pair() as both:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both.connect)
            await trio.sleep(0.011)
            (row,) = both.look().connections
            assert row.state == "SYN-RECV"
            followed = both.view.follow(0)
        await trio.sleep(1)
        both.look()
    (ack,) = followed.rows
    assert ack.words[:3] == ("ACK", "seq 1", "ack 1")
    assert int(ack.words[3].removeprefix("win ")) > 65535


@in_virtual_time
async def test_others_are_not_observed() -> None:
    async with pair() as both:
        chosen, other = await both.connect(), await both.connect()
        await trio.sleep(1)
        followed = both.view.follow(0)
        await both.echoed(other, 100_000)
        assert followed.packets == 0
        await both.echoed(chosen, 100)
        assert followed.packets == 2


@in_virtual_time
async def test_its_windows_and_sequence_numbers_are_points_in_time() -> None:
    async with pair("delay=10ms,rate=8Mbit") as both:
        stream = await both.connect()
        both.look()
        followed = both.view.follow(0)
        await both.echoed(stream, 200_000)
        await trio.sleep(1)
        sample = both.look()
    points = [*followed.points]
    assert len(points) > 10
    times = [point.time for point in points]
    assert all(b - a >= RESOLUTION - 1e-6 for a, b in pairwise(times[:-1]))
    assert times[-1] == sample.time
    for point in points:
        assert point.acked <= point.sent <= point.queued <= 200_000
        assert point.sent <= point.edge
        assert point.srtt is None or 0.02 <= point.srtt < 1
    assert points[-1].acked == points[-1].sent == points[-1].received == 200_000
    assert max(point.in_flight for point in points) > 10_000
    assert points[-1].cwnd > points[0].cwnd


@in_virtual_time
async def test_the_handshake_and_the_fin_do_not_count_as_octets() -> None:
    async with pair() as both:
        view = View(both.client, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both.connect)
            await trio.sleep(0.001)
            view.sample(trio.current_time())
            followed = view.follow(0)
            view.sample(trio.current_time())
        assert [(point.acked, point.sent) for point in followed.points] == [(0, 0)] * len(
            followed.points
        )


@in_virtual_time
async def test_it_ends_with_its_connection_and_keeps_what_it_has() -> None:
    async with pair() as both:
        stream = await both.connect()
        both.look()
        followed = both.view.follow(0)
        await both.echoed(stream, 100)
        both.look()
        await stream.aclose()
        await trio.sleep(1)
        both.look()
        assert followed.ended
        assert both.tap is None
        assert followed.row is not None
        assert followed.row.info.bytes_received == 100
        kept = len(followed.rows)
        assert kept >= 5
        both.look()
    assert len(followed.rows) == kept


@in_virtual_time
async def test_it_goes_on_in_time_wait() -> None:
    async with pair() as both:
        view = View(both.client, 0)
        stream = await both.connect()
        followed = view.follow(0)
        await both.echoed(stream, 100)
        await stream.aclose()
        await trio.sleep(1)
        view.sample(trio.current_time())
        assert not followed.ended
        assert followed.row is not None
        assert followed.row.state == "TIME-WAIT"
        await trio.sleep(120)
        view.sample(trio.current_time())
        assert followed.ended


@in_virtual_time
async def test_it_stays_among_the_rows_whatever_else_is_wanted() -> None:
    async with pair() as both:
        streams = [await both.connect() for _ in range(3)]
        both.look()
        both.view.follow(1)
        await both.echoed(streams[2], 100)
        sample = both.look(most=1)
    assert [row.id for row in sample.connections] == [2, 1]


@in_virtual_time
async def test_unfollowing_detaches_and_so_does_the_end_of_the_view() -> None:
    async with pair() as both:
        await both.connect()
        await both.connect()
        both.look()
        both.view.follow(0)
        assert both.view.follow(0) is both.view.followed[0]
        assert both.tap is not None
        both.view.unfollow(0)
        both.view.unfollow(0)
        assert both.tap is None
        both.view.follow(0)
        both.view.follow(1)
        both.view.close()
        assert both.tap is None
        with pytest.raises(LookupError, match="connection 5 is gone"):
            both.view.follow(5)


@in_virtual_time
async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunstack.live.followed.POINTS", 50)
    monkeypatch.setattr("tunstack.live.followed.ROWS", 100)
    async with pair("delay=1ms") as both:
        stream = await both.connect()
        both.look()
        followed = both.view.follow(0)
        await both.echoed(stream, 1_000_000)
        both.look()
        decoded = len(followed.rows)
        assert followed.packets > 500
        assert decoded <= DECODED + 10
        first, second, *_ = followed.rows
        assert first.words == (f"… {followed.packets - DECODED} packets",)
        assert first.time == second.time > 0.001
        for _ in range(100):
            await both.echoed(stream, 1)
            await trio.sleep(RESOLUTION)
            both.look()
    assert len(followed.rows) == 100
    assert len(followed.points) == 50


def test_of_large_packets_fewer_are_decoded() -> None:
    def sizes(*octets: int) -> list[int]:
        seen = deque(Observation(0, "in", bytes(each)) for each in octets)
        return [len(each.packet) for each in latest(seen)]

    most = DECODED_OCTETS
    assert sizes(40, 1500) == [40, 1500]
    assert sizes(1500, most) == [most]
    assert sizes(most, most - 40, 20, 20) == [most - 40, 20, 20]
    assert sizes(40, most + 1) == [most + 1]
    assert sizes() == []


@in_virtual_time
async def test_what_is_new_is_told_by_index() -> None:
    async with pair() as both:
        stream = await both.connect()
        both.look()
        followed = both.view.follow(0)
        await both.echoed(stream, 100)
        both.look()
        first = json.loads(json.dumps(followed.to_dict()))
        await both.echoed(stream, 100)
        await trio.sleep(1)
        both.look()
        second = followed.to_dict(rows=first["next_row"], points=first["next_point"])
        everything = followed.to_dict()
    assert everything["rows"] == [*first["rows"], *second["rows"]]
    assert everything["points"] == [*first["points"], *second["points"]]
    assert second["rows"]


def test_a_tail_knows_what_it_has_dropped() -> None:
    tail: Tail[int] = Tail(3)
    for item in range(5):
        tail.append(item)
    assert ([*tail], len(tail), tail.count) == ([2, 3, 4], 3, 5)
    assert tail.since(4) == [4]
    assert tail.since(5) == tail.since(99) == []
    assert tail.since(0) == tail.since(-1) == [2, 3, 4]


# What a sample costs


def calls(of: Callable[[], Any]) -> int:
    """How many functions of Python it calls."""
    count = 0

    def count_one(_frame: object, event: str, _what: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(count_one)
    try:
        of()
    finally:
        sys.setprofile(None)
    return count


async def cost(both: Pair, connections: int, most: int) -> int:
    """The calls of a sample of so many more connections, of which it shows some."""
    for _ in range(connections):
        await both.connect()
    both.look(most=most)
    await trio.sleep(1)
    return calls(lambda: both.look(most=most))


@pytest.mark.skipif(is_compiled(Flow), reason="calls of compiled functions are not counted")
@in_virtual_time
async def test_a_sample_calls_one_function_for_a_connection_that_is_not_shown() -> None:
    async with pair() as both:
        few = await cost(both, 50, most=20)
        many = await cost(both, 200, most=20)
        shown = calls(lambda: both.look(most=500))
    assert (many - few) / 200 <= 1
    assert shown > many + 200 * 10
