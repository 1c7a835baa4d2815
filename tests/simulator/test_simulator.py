"""The simulator itself: its clock, its path, and that chance is all in the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tunstack.link.impair import Impairments
from tunstack.simulator import Bottleneck, Simulator, StuckError

if TYPE_CHECKING:
    from tunstack.observation import Observation

PATH = Impairments(loss=0.05, delay=0.02, jitter=0.005, reorder=0.02, duplicate=0.02)
TEXT = bytes(n % 251 for n in range(100_000))


def echo(seed: int, *, path: Impairments = PATH) -> Simulator:
    """A client sends, a server sends back what it read, and both close."""
    simulator = Simulator(seed=seed, impairments=path)
    client, server = simulator.connect()
    client.send(TEXT)
    client.shutdown()
    simulator.run(lambda: server.ended)
    server.send(server.received)
    server.shutdown()
    simulator.run(lambda: client.done and server.done)
    assert client.received == TEXT
    return simulator


def test_the_same_seed_gives_the_same_octets_at_the_same_times() -> None:
    one, again, other = (echo(seed).digest for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_nothing_happens_after_all_has_ended() -> None:
    simulator = echo(1)
    simulator.run()
    assert [node.stack.deadline() for node in simulator.nodes] == [None, None]
    assert [[*node.stack.demux.connections] for node in simulator.nodes] == [[], []]


def test_time_is_the_paths_and_the_timers() -> None:
    simulator = Simulator(seed=1, impairments=Impairments(delay=0.25))
    client, server = simulator.connect()
    simulator.run(lambda: client.flow is not None and client.flow.state.value == "ESTABLISHED")
    assert simulator.now == 0.5
    client.send(b"x")
    simulator.run(lambda: server.received == b"x")
    assert simulator.now == 0.75


def test_each_direction_has_its_own_path() -> None:
    there, back = Impairments(delay=0.1), Impairments(delay=0.3)
    simulator = Simulator(seed=1, impairments=(there, back))
    client, _ = simulator.connect()
    simulator.run(lambda: client.flow is not None and client.flow.state.value == "ESTABLISHED")
    assert simulator.now == 0.4


def test_what_never_ends_is_stuck() -> None:
    simulator = Simulator(seed=1, impairments=Impairments(loss=1.0))
    client, _ = simulator.connect()
    with pytest.raises(StuckError, match=r"at 7\.000 s"):
        simulator.run(lambda: client.done, limit=10.0)
    with pytest.raises(StuckError, match="after 5 events"):
        simulator.run(lambda: client.done, max_events=2)


def test_several_connections_share_the_path_and_do_not_mix() -> None:
    simulator = Simulator(seed=1, impairments=PATH, bottleneck=(10e6, 50))
    pairs = [simulator.connect() for _ in range(5)]
    for number, (client, _) in enumerate(pairs):
        client.send(TEXT[number:])
        client.shutdown()
    simulator.run(lambda: all(server.ended for _, server in pairs))
    assert [server.received for _, server in pairs] == [TEXT[number:] for number in range(5)]


def test_the_tap_tells_whose_observation_it_is() -> None:
    seen: list[tuple[str, Observation]] = []
    simulator = Simulator(seed=1, tap=lambda side, observation: seen.append((side, observation)))
    client, _ = simulator.connect()
    simulator.run(lambda: client.flow is not None and client.flow.state.value == "ESTABLISHED")
    told = [(side, each.direction, each.after) for side, each in seen]
    assert told[:3] == [
        ("client", "out", "SYN-SENT"),
        ("server", "in", "SYN-RECEIVED"),
        ("server", "out", "SYN-RECEIVED"),
    ]


def test_a_bottleneck_takes_its_time_for_each_octet() -> None:
    slow = Bottleneck(8000.0, 10)
    assert slow.passes(0.0, 500) == 0.5
    assert slow.passes(0.25, 250) == 0.75  # Behind the first.
    assert slow.passes(2.0, 1000) == 3.0


def test_a_bottleneck_drops_what_its_queue_has_no_room_for() -> None:
    slow = Bottleneck(8000.0, 2)
    assert [slow.passes(0.0, 1000) for _ in range(3)] == [1.0, 2.0, None]
    assert slow.passes(1.0, 1000) == 3.0
    assert slow.passes(1.5, 1000) is None


def test_a_bottleneck_bounds_the_goodput() -> None:
    simulator = Simulator(seed=1, impairments=Impairments(delay=0.001), bottleneck=(1e6, 100))
    _, server = simulator.connect()
    server.send(TEXT)
    server.shutdown()
    simulator.run(lambda: server.flow is not None and server.flow.sender.fin_acknowledged)
    packets = len(TEXT) / 1448
    at_least = (len(TEXT) + 52 * packets) * 8 / 1e6
    assert at_least < simulator.now < 1.2 * at_least
