"""What those see who look at the page, and what is left when they go."""

from __future__ import annotations

import errno
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio

import tunstack
from tests.live.viewers import PORT, paged
from tunstack.live.page.server import IDLE, MOST_CONNECTIONS

if TYPE_CHECKING:
    from tests.live.viewers import Paged, Viewer

in_virtual_time = pytest.mark.trio(run=tunstack.run_virtual)


async def chosen(it: Paged, viewer: Viewer, more: str = "") -> tuple[trio.SocketStream, int, Any]:
    """A connection to the server, its number, and what `viewer` sees of it, who follows it."""
    stream = await it.both.connect()
    await it.both.echoed(stream, 100)
    numbers = [each["id"] for each in (await viewer.look())["connections"]]
    number = max(numbers)
    return stream, number, (await viewer.look(f"follow={number}{more}"))["chosen"]


# What is there


@in_virtual_time
async def test_the_connections_are_told_as_ss_has_them() -> None:
    async with paged() as it:
        stream = await it.both.connect(40000)
        await it.both.echoed(stream, 5000)
        viewer = await it.viewer()
        await viewer.look()
        await trio.sleep(1)
        await it.both.echoed(stream, 5000)
        data = await viewer.look()
    (row,) = data["connections"]
    assert (row["state"], row["local"], row["remote"]) == (
        *("ESTAB", "198.51.100.2:7"),
        "198.51.100.1:40000",
    )
    assert row["rate_in"] > 4000
    assert (row["recv_q"], row["retransmits"], row["own"]) == (0, 0, False)
    assert row["cwnd"] >= 10
    assert row["rtt"] == pytest.approx(0.002, rel=0.5)
    assert data["states"] == {"ESTAB": 1}
    assert data["totals"]["octets_in"] == 10000
    assert data["addresses"] == ["198.51.100.2/24"]
    assert {"local": "0.0.0.0:7", "port": 7, "own": False}.items() <= data["listeners"][0].items()
    assert data["counters"]["packets_received"] > 10


@in_virtual_time
async def test_what_the_page_itself_does_is_left_out_or_marked() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        await viewer.look()
        await trio.sleep(1)
        without = await viewer.look()
        own = await viewer.look("own=1")
    assert (without["connections"], without["matching"], without["states"]) == ([], 0, {})
    assert (without["totals"]["octets_in"], without["totals"]["rate_out"]) == (0, 0)
    assert (without["own"], own["own"]) == (1, 1)
    (row,) = own["connections"]
    assert row["own"]
    assert own["totals"]["octets_in"] > 0
    assert [each["port"] for each in without["listeners"] if each["own"]] == [PORT]


@in_virtual_time
async def test_of_many_connections_those_wanted_are_shown_and_the_others_counted() -> None:
    async with paged() as it:
        streams = [await it.both.connect(port) for port in range(40000, 40060)]
        viewer = await it.viewer()
        default = await viewer.look()
        few = await viewer.look("most=5")
        one = await viewer.look("port=40007")
        none = await viewer.look("state=time-wait")
        assert len(streams) == 60
    assert (len(default["connections"]), default["matching"]) == (50, 60)
    assert (len(few["connections"]), few["matching"]) == (5, 60)
    assert [each["remote"] for each in one["connections"]] == ["198.51.100.1:40007"]
    assert none["connections"] == []


# A connection that is followed


@in_virtual_time
async def test_of_a_followed_connection_each_answer_has_what_is_new() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        stream, number, first = await chosen(it, viewer)
        await it.both.echoed(stream, 100)
        since = f"follow={number}&view={first['view']}"
        at = f"&row={first['next_row']}&point={first['next_point']}"
        second = (await viewer.look(since + at))["chosen"]
        await it.both.echoed(stream, 100)
        at = f"&row={second['next_row']}&point={second['next_point']}"
        third = (await viewer.look(since + at))["chosen"]
        again = (await viewer.look(f"follow={number}"))["chosen"]
    assert (first["id"], first["gone"], first["ended"]) == (number, False, False)
    told = [[(row["toward"], row["words"][0]) for row in each["rows"]] for each in (second, third)]
    assert told[0][0] == ("right", "PSH,ACK")
    assert told[0] == told[1]
    times = [row["time"] for row in (*second["rows"], *third["rows"])]
    assert times == sorted(times)
    assert again["rows"] == second["rows"] + third["rows"]
    moments = [point[0] for point in (*second["points"], *third["points"])]
    assert moments == sorted(set(moments))
    assert third["points"][-1][4] == 300  # Octets acknowledged.
    assert third["points"][-1][7] == 300  # Octets received.


@in_virtual_time
async def test_indices_of_another_view_count_from_the_beginning() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        stream, number, _ = await chosen(it, viewer)
        await it.both.echoed(stream, 100)
        answer = (await viewer.look(f"follow={number}&view=other&row=9999&point=9999"))["chosen"]
    assert answer["rows"]
    assert answer["points"]


@in_virtual_time
async def test_no_two_views_have_the_same_name() -> None:
    """Or indices of one, whose server has gone, would count in that of the next."""
    names = []
    for _ in range(2):
        async with paged() as it:
            _, _, first = await chosen(it, await it.viewer())
            _, _, second = await chosen(it, await it.viewer())
            names += [first["view"], second["view"]]
    assert len(set(names)) == 4


@in_virtual_time
async def test_the_ladder_of_a_connection_that_ends_shows_its_end() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        stream, number, first = await chosen(it, viewer)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
        await trio.sleep(1)
        last = (await viewer.look(f"follow={number}&view={first['view']}"))["chosen"]
        assert not it.tapped
    assert last["ended"]
    assert last["rows"][-1]["words"][0].startswith("RST")
    assert last["rows"][-1]["state"] == "ESTABLISHED -> CLOSED"


@in_virtual_time
async def test_a_connection_that_is_gone_is_said_to_be() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        answer = (await viewer.look("follow=12345"))["chosen"]
    assert (answer["id"], answer["gone"], answer["rows"]) == (12345, True, [])


# Who looks, and who no longer does


@in_virtual_time
async def test_nothing_is_observed_before_a_connection_is_followed_nor_after() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        await viewer.ask("/")
        await viewer.look()
        assert not it.tapped
        _, number, _ = await chosen(it, viewer)
        assert it.tapped
        await viewer.look(f"follow={number + 1}")
        assert not it.tapped
        await viewer.look(f"follow={number}")
        assert it.tapped
        await viewer.look()
        assert not it.tapped


@in_virtual_time
@pytest.mark.parametrize("way", ["closes", "is reset", "asks no more"])
async def test_when_a_viewer_goes_nothing_is_observed_any_more(way: str) -> None:
    async with paged() as it:
        viewer = await it.viewer()
        await chosen(it, viewer)
        if way == "is reset":
            option = struct.pack("ii", 1, 0)
            viewer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        if way != "asks no more":
            await viewer.stream.aclose()
            await trio.sleep(0.1)
        else:
            assert it.tapped
            await trio.sleep(IDLE + 1)
        assert not it.tapped
        assert (await (await it.viewer()).look("own=1"))["own"] == 1


@in_virtual_time
async def test_a_viewer_who_does_not_read_misses_samples_and_is_left_in_the_end() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        await chosen(it, viewer)
        request = b"GET / HTTP/1.1\r\nHost: 198.51.100.2\r\n\r\n"
        with trio.move_on_after(1):
            while True:
                await viewer.stream.send_all(request * 100)
        held = it.both.server.statistics()["memory_held"]
        assert it.tapped
        await trio.sleep(IDLE + 1)
        assert not it.tapped
    assert held < 20 << 20  # Send and receive buffers.


@in_virtual_time
async def test_two_who_look_see_each_what_they_chose() -> None:
    async with paged() as it:
        viewers = [await it.viewer() for _ in range(2)]
        (first, one, _), (_, other, _) = [await chosen(it, viewer) for viewer in viewers]
        await it.both.echoed(first, 100)
        seen = [
            (await viewer.look(f"follow={number}"))["chosen"]
            for viewer, number in zip(viewers, (one, other), strict=True)
        ]
        assert [len(each["rows"]) > 0 for each in seen] == [True, False]
        await viewers[0].stream.aclose()
        await trio.sleep(0.1)
        assert it.tapped


@in_virtual_time
async def test_there_is_room_for_so_many_and_the_next_is_told_to_come_later() -> None:
    async with paged() as it:
        viewers = [await it.viewer() for _ in range(MOST_CONNECTIONS)]
        for viewer in viewers:
            await viewer.ask("/", "HEAD")
        late = await it.viewer()
        answer = await late.ask("/data")
        assert (answer.status, answer.body) == (503, b"too many look already\n")
        assert await late.ended()
        await viewers[0].stream.aclose()
        await late.stream.aclose()
        await trio.sleep(0.1)
        assert (await (await it.viewer()).ask("/data")).status == 200


@in_virtual_time
async def test_samples_take_a_share_of_the_time_whoever_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor = iter(range(1000))
    monkeypatch.setattr(time, "thread_time", lambda: next(processor) * 0.01)
    async with paged() as it:
        viewers = [await it.viewer() for _ in range(2)]
        pauses = [(await viewer.look())["pause"] for viewer in viewers]
        began = trio.current_time()
        for viewer in viewers:
            await viewer.look()
        took = trio.current_time() - began
    assert pauses == [0.5, 1.0]  # Nobody knew before the first what a sample costs.
    assert took == pytest.approx(2 * 0.01 / 0.02, rel=0.05)


@in_virtual_time
async def test_whoever_waits_for_a_turn_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = iter(range(1000))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(processor)))
    async with paged() as it:
        await (await it.viewer()).look()  # A second of processor time: the next turn is in 50.
        began = trio.current_time()
        await (await it.viewer()).look()
        assert trio.current_time() - began > 2 * IDLE


@in_virtual_time
async def test_the_page_is_gone_when_it_is_cancelled_and_the_viewers_with_it() -> None:
    async with paged() as it:
        viewer = await it.viewer()
        await chosen(it, viewer)
        it.page.cancel()
        with pytest.raises(trio.Cancelled):
            await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await trio.sleep(0.1)
    assert not it.tapped


@in_virtual_time
async def test_when_the_device_goes_serving_says_so_and_nothing_is_left() -> None:
    at: list[Paged] = []

    async def look_and_crash() -> None:
        async with paged() as it:
            at.append(it)
            await chosen(it, await it.viewer())
            it.both.net.crash(it.both.server)
            await trio.sleep_forever()

    down = pytest.RaisesExc(OSError, check=lambda error: error.errno == errno.ENETDOWN)
    with pytest.RaisesGroup(down, flatten_subgroups=True):
        await look_and_crash()
    assert not at[0].tapped
