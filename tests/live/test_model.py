"""What a view of a host says: rows, sums, rates."""

from __future__ import annotations

import json
import socket
import struct

import pytest
import trio

import tunstack
from tests.live.hosts import pair
from tunstack.live import Sample, View, Wanted, pause_after

in_virtual_time = pytest.mark.trio(run=tunstack.run_virtual)


def reset(stream: trio.SocketStream) -> None:
    """Close a connection by a RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@in_virtual_time
async def test_a_sample_has_a_connection_as_ss_shows_it() -> None:
    async with pair() as both:
        stream = await both.connect(40000)
        await both.echoed(stream, 1000)
        await trio.sleep(1)
        (row,) = both.look().connections
    assert (row.local, row.remote) == ("198.51.100.2:7", "198.51.100.1:40000")
    assert (row.state, row.info.state, row.phase) == ("ESTAB", "ESTABLISHED", "open")
    assert row.numbers.startswith("ts sack cubic wscale:7,7 rto:")
    assert "bytes_acked:1000 bytes_received:1000" in row.numbers


@in_virtual_time
async def test_rates_are_of_the_time_between_two_samples() -> None:
    async with pair() as both:
        stream = await both.connect()
        await both.echoed(stream, 1000)
        first = both.look()
        began = trio.current_time()
        await both.echoed(stream, 6000)
        await trio.sleep(began + 2 - trio.current_time())
        second = both.look()
        await trio.sleep(1)
        third = both.look()
    rows = [sample.connections[0] for sample in (first, second, third)]
    assert (first.interval, second.interval, third.interval) == (0, 2, 1)
    assert [(row.rate_in, row.rate_out) for row in rows] == [(0, 0), (3000, 3500), (0, 0)]
    totals = second.totals
    assert (totals.octets_in, totals.rate_in, totals.rate_out) == (7000, 3000, 3500)
    assert totals.packet_rate_in == (totals.packets_in - first.totals.packets_in) / 2
    assert second.counter_rates["packets_received"] == totals.packet_rate_in
    assert third.counter_rates == {}
    assert second.time - first.time == pytest.approx(2)
    assert second.uptime == pytest.approx(began + 2)


@in_virtual_time
async def test_rates_are_never_of_a_short_time() -> None:
    async with pair() as both:
        stream = await both.connect()
        both.look()
        await both.echoed(stream, 1000)
        await trio.sleep(1)
        first = both.look()
        second = both.look()
        await trio.sleep(0.1)
        new = await both.connect()
        await both.echoed(new, 500)
        third = both.look()
        await trio.sleep(0.05)
        fourth = both.look()
        await trio.sleep(0.3)
        fifth = both.look()
    assert second.interval == first.interval > 1
    assert second.totals == first.totals
    assert second.connections == first.connections
    assert third.interval == pytest.approx(first.interval + 0.1, abs=0.1)
    assert third.connections[0].rate_in * third.interval == pytest.approx(1000)
    assert third.connections[1].rate_in * third.interval == pytest.approx(500)
    assert fourth.connections[1].rate_in * fourth.interval == pytest.approx(500)
    assert fourth.connections[1].age == pytest.approx(0.05)
    assert fifth.interval == pytest.approx(0.3)
    assert fifth.totals.rate_in == 0


@in_virtual_time
async def test_two_first_samples_at_one_moment_have_no_rates() -> None:
    async with pair() as both:
        stream = await both.connect()
        await both.echoed(stream, 10)
        both.look()
        again = both.look()
    assert (again.interval, again.totals.rate_in, again.connections[0].rate_in) == (0, 0, 0)


@in_virtual_time
async def test_a_connection_of_the_same_ports_is_another() -> None:
    async with pair() as both:
        both.look()
        stream = await both.connect(40000)
        await both.echoed(stream, 100_000)
        await trio.sleep(1)
        (old,) = both.look().connections
        reset(stream)
        await trio.sleep(1)
        stream = await both.connect(40000)
        await both.echoed(stream, 100)
        await trio.sleep(1)
        sample = both.look()
    (new,) = sample.connections
    assert (old.local, old.remote) == (new.local, new.remote)
    assert (old.id, new.id) == (0, 1)
    assert new.age == 0
    assert new.rate_in * sample.interval == pytest.approx(100)


@in_virtual_time
async def test_what_came_and_went_between_two_samples_counts_in_the_sums() -> None:
    async with pair() as both:
        both.look()
        for octets in (1000, 2000):
            stream = await both.connect()
            await both.echoed(stream, octets)
            await trio.sleep(0.5)
            reset(stream)
            await trio.sleep(0.5)
        sample = both.look()
    assert sample.connections == ()
    totals = sample.totals
    assert (totals.octets_in, totals.octets_out, totals.opened) == (3000, 3000, 2)
    assert totals.rate_in == pytest.approx(3000 / sample.interval)


@in_virtual_time
async def test_a_connection_in_time_wait_that_is_restored_is_opened_once() -> None:
    async with pair() as both:
        server = View(both.client, 0)  # The client closes first.
        stream = await both.connect()
        await both.echoed(stream, 1000)
        await stream.aclose()
        with both.server.rules.drop(direction="in", flags="ACK,!FIN", first=1):
            await trio.sleep(5)
        sample = server.sample(trio.current_time())
    assert sample.states == {"TIME-WAIT": 1}
    assert sample.counters["tcp_accepted"] >= 3
    assert (sample.totals.opened, sample.totals.octets_in) == (1, 1000)


@in_virtual_time
async def test_age_is_unknown_of_what_was_there_before_the_first_sample() -> None:
    async with pair() as both:
        await both.connect()
        both.look()
        await both.connect()
        await trio.sleep(1)
        both.look()
        await trio.sleep(2)
        rows = both.look(order="age").connections
    assert [row.age for row in rows] == [None, 2]


@in_virtual_time
async def test_connections_are_sorted_and_the_rest_is_counted() -> None:
    def ports(**wanted: object) -> list[int]:
        sample = view.sample(trio.current_time(), Wanted(**wanted))  # type: ignore[arg-type]
        assert sample.matching == 3
        assert sample.states == {"ESTAB": 2, "TIME-WAIT": 1}
        return [row.info.local[1] for row in sample.connections]

    async with pair() as both:
        view = View(both.client, trio.current_time())
        streams = [await both.connect(port) for port in (40000, 40001, 40002)]
        for stream, octets in zip(streams, (10, 1000, 100), strict=True):
            await both.echoed(stream, octets)
        await streams[1].send_eof()
        await trio.sleep(1)
        assert ports(most=2) == [40001, 40002]
        assert ports(order="state") == [40000, 40002, 40001]
        assert ports(order="age") == [40000, 40001, 40002]


@in_virtual_time
async def test_those_with_most_retransmissions_are_first() -> None:
    async with pair() as both:
        await both.connect(40000)
        stream = await both.connect(40001)
        with both.server.rules.drop(direction="out", remote_port=40001, first=1):
            await both.echoed(stream, 100)
        await trio.sleep(1)
        sample = both.look(order="retransmissions")
    assert [(row.info.remote[1], row.info.retransmits) for row in sample.connections] == [
        (40001, 1),
        (40000, 0),
    ]
    assert sample.totals.retransmitted == 1
    assert sample.drops == {"rules_dropped": 1}
    assert sample.totals.dropped == 1


@in_virtual_time
@pytest.mark.parametrize(
    ("wanted", "ports"),
    [
        ({"port": 40001}, [40001]),
        ({"port": 7}, [40000, 40001, 40002]),
        ({"port": 9}, []),
        ({"state": "estab"}, [40000, 40001]),
        ({"state": "ESTABLISHED", "port": 40000}, [40000]),
        ({"state": "time-wait"}, [40002]),
        ({"state": "time-wait", "port": 40000}, []),
    ],
)
async def test_connections_are_filtered_by_port_and_state(
    wanted: dict[str, object], ports: list[int]
) -> None:
    async with pair() as both:
        view = View(both.client, trio.current_time())
        streams = [await both.connect(port) for port in (40000, 40001, 40002)]
        await streams[2].aclose()
        await trio.sleep(1)
        sample = view.sample(trio.current_time(), Wanted(**wanted))  # type: ignore[arg-type]
    assert [row.info.local[1] for row in sample.connections] == ports
    assert sample.matching == len(ports)
    assert sample.states == {"ESTAB": 2, "TIME-WAIT": 1}


@in_virtual_time
async def test_connections_of_a_port_are_left_out_as_if_they_were_not_there() -> None:
    async with pair() as both:
        view = View(both.client, trio.current_time())
        stream = await both.connect(40000)
        page = await both.connect(40001)

        def look() -> Sample:
            return view.sample(trio.current_time(), Wanted(without=40001))

        await both.echoed(stream, 100)
        await both.echoed(page, 10_000)
        first = look()
        await both.echoed(page, 10_000)
        look()
        await page.aclose()
        await trio.sleep(1)
        last = look()
    assert [row.info.local[1] for row in first.connections] == [40000]
    assert first.totals.octets_in == last.totals.octets_in == 100
    assert first.totals.octets_out == last.totals.octets_out == 100
    assert first.totals.opened == last.totals.opened == 1
    assert (first.matching, last.matching) == (1, 1)
    assert first.states == last.states == {"ESTAB": 1}


@in_virtual_time
async def test_listeners_and_udp_sockets_are_rows_too() -> None:
    async with pair() as both:
        sock = both.server.socket(type=socket.SOCK_DGRAM)
        await sock.bind(("198.51.100.2", 53))
        sender = both.client.socket(type=socket.SOCK_DGRAM)
        await sender.sendto(b"hello", ("198.51.100.2", 53))
        await sender.sendto(b"hello", ("198.51.100.2", 54))
        await trio.sleep(1)
        sample = both.look()
    assert [(row.local, row.backlog) for row in sample.listeners] == [("0.0.0.0:7", 4096)]
    (udp,) = sample.datagrams
    assert (udp.local, udp.remote, udp.queued) == ("198.51.100.2:53", "*:*", 837)
    assert sample.drops == {"no_udp_port": 1}


@in_virtual_time
async def test_all_of_a_sample_can_be_written_as_json() -> None:
    async with pair() as both:
        stream = await both.connect(40000)
        await both.echoed(stream, 100)
        sock = both.server.socket(type=socket.SOCK_DGRAM)
        await sock.bind(("", 53))
        written = json.loads(json.dumps(both.look().to_dict(), allow_nan=False))
    (row,) = written["connections"]
    assert row["snd_ssthresh"] is None
    assert (row["rfc_state"], row["remote_port"]) == ("ESTABLISHED", 40000)
    assert written["totals"]["octets_in"] == 100
    assert written["addresses"] == ["198.51.100.2/24"]


@in_virtual_time
async def test_a_view_that_is_not_asked_attaches_nothing() -> None:
    async with pair() as both:
        stream = await both.connect()
        both.look()
        await both.echoed(stream, 100)
        assert both.tap is None
        both.look()
        assert both.tap is None


def test_looking_takes_a_share_of_the_time() -> None:
    assert pause_after(0.001, interval=0.5, share=0.02) == 0.5
    assert pause_after(0.1, interval=0.5, share=0.02) == 5
