"""The recorder: what a simulated connection went through, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.path.middlebox import Narrow
from tunstack.capture import Recorder
from tunstack.ip.family import FAMILIES, IPV4, Family
from tunstack.path.impair import Impairments
from tunstack.plot.sequences import sequence_panel
from tunstack.plot.series import Bars, Crosses, Line, Panel
from tunstack.plot.windows import window_panel
from tunstack.simulator import Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.congestion import Reno
from tunstack.wire import decode_datagram, decode_segment

CONFIG = replace(Config(), congestion=Reno, initial_window=4)


def drop_third(side: str, packet: bytes, now: float, seen: list[int]) -> float | None:
    """The server's third segment with data is lost."""
    if side == "server" and len(decode_segment(decode_datagram(packet))[2].payload):
        seen.append(1)
        return None if len(seen) == 3 else 0.0
    return 0.0


def recorded(
    octets: int = 100_000, *, others: int = 0, family: Family = IPV4
) -> tuple[Recorder, float]:
    recorder = Recorder("server")
    seen: list[int] = []
    simulator = Simulator(
        seed=1,
        impairments=Impairments(delay=0.05),
        config=CONFIG,
        tap=recorder,
        script=lambda side, packet, now: drop_third(side, packet, now, seen),
        family=family,
    )
    client, server = simulator.connect()
    recorder.watch(server)
    for _ in range(others):
        _, other = simulator.connect()
        simulator.at(0.3, lambda other=other: other.send(bytes(50_000)))  # type: ignore[misc]
    server.send(bytes(octets))
    simulator.run(lambda: len(client.received) == octets)
    return recorder, simulator.now


def series(panel: Panel) -> dict[str, Line | Bars | Crosses]:
    return {each.name: each for each in panel.series}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_sequence_has_all_that_was_sent_and_what_was_lost(family: Family) -> None:
    recorder, _ = recorded(family=family)
    connection = recorder.connection()
    assert connection.retransmissions_to_client == 1
    found = series(sequence_panel(connection, "server"))
    lost, fast, data = found["lost"], found["sent again: fast"], found["data"]
    assert isinstance(lost, Crosses)
    assert isinstance(fast, Bars)
    assert isinstance(data, Bars)
    ((when, at),) = lost.points
    ((again, low, high),) = fast.bars
    assert low < at < high
    assert again > when + 0.1
    assert max(high for _, _, high in data.bars) > 100_000


def test_the_windows_are_those_of_the_sender_in_segments() -> None:
    recorder, _ = recorded()
    found = series(window_panel(recorder.connection(), "server"))
    cwnd, flight, ssthresh = (
        found[name] for name in ("congestion window", "in flight", "threshold")
    )
    assert isinstance(cwnd, Line)
    assert isinstance(flight, Line)
    assert isinstance(ssthresh, Line)
    assert cwnd.points[0][1] == 4.0
    assert 0 <= min(y for _, y in flight.points) < max(y for _, y in flight.points) <= 40
    assert ssthresh.points[0][1] != ssthresh.points[0][1]  # None yet.
    assert ssthresh.points[-1][1] >= 2.0
    assert set(cwnd.points) <= set(recorder.congestion_window())


def test_other_connections_are_not_in_it() -> None:
    alone, _ = recorded()
    among, _ = recorded(others=2)
    assert among.connection().octets_to_client == alone.connection().octets_to_client


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_packets_other_than_segments_are_left_out(family: Family) -> None:
    """A path narrower than the link: ICMP errors arrive at the sender."""
    recorder = Recorder("server")
    simulator = Simulator(seed=1, tap=recorder, middlebox=Narrow(1300), family=family)
    client, server = simulator.connect()
    recorder.watch(server)
    server.send(bytes(20_000))
    simulator.run(lambda: len(client.received) == 20_000)
    assert simulator.server.stack.statistics()["icmp_received"] > 0
    connection = recorder.connection()
    assert connection.octets_to_client > 20_000
    assert {packet.protocol for packet in connection.packets} == {"TCP"}


def test_there_is_nothing_of_a_connection_that_is_not_watched() -> None:
    recorder = Recorder("server")
    simulator = Simulator(seed=1, tap=recorder)
    client, server = simulator.connect()
    server.send(b"x")
    simulator.run(lambda: client.received == b"x")
    with pytest.raises(ValueError, match="no packet of a watched connection"):
        recorder.connection()
