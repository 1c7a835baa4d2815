"""The simulator itself: one clock, one seed, and it says when it is stuck."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulator.transfers import exchange, finish
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator, StuckError
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from tunstack.stack.observation import Observation

PATH = Impairments(loss=0.05, delay=0.01, jitter=0.005, reorder=0.1, duplicate=0.1)


def digest(seed: int, path: Impairments = PATH, size: int = 20_000) -> str:
    simulator = Simulator(seed=seed, impairments=path)
    exchange(simulator, size)
    return simulator.digest


def test_the_same_seed_gives_the_same_octets_on_the_wire() -> None:
    assert digest(5) == digest(5)


def test_another_seed_or_another_path_gives_others() -> None:
    clean = Impairments(delay=0.01)
    digests = {digest(5), digest(6), digest(5, clean), digest(5, clean, 20_001)}
    assert len(digests) == 4


def test_looking_on_changes_nothing() -> None:
    seen: list[tuple[str, Observation]] = []
    simulator = Simulator(
        seed=5, impairments=PATH, tap=lambda side, observation: seen.append((side, observation))
    )
    exchange(simulator, 20_000)
    assert simulator.digest == digest(5)
    ways = {(side, observation.direction) for side, observation in seen}
    assert ways == {(side, way) for side in ("client", "server") for way in ("in", "out")}


def test_time_is_the_path_s() -> None:
    """A handshake and an exchange of one flight take three delays, whatever the machine does."""
    simulator = Simulator(seed=1, impairments=Impairments(delay=0.25))
    client, server = simulator.connect()
    client.send(b"question")
    simulator.run(lambda: bool(server.received))
    assert simulator.now == pytest.approx(0.75)
    assert client.received == b""


def test_directions_differ() -> None:
    simulator = Simulator(seed=1, impairments=(Impairments(delay=0.1), Impairments(delay=0.3)))
    client, server = simulator.connect()
    simulator.run(lambda: client.flow is not None and client.flow.writable_size > 0)
    assert simulator.now == pytest.approx(0.4)
    simulator.run(lambda: server.flow is not None)
    assert simulator.now == pytest.approx(0.5)


def test_what_is_to_happen_happens_in_order() -> None:
    simulator = Simulator(seed=1)
    happened: list[str] = []
    for when, what in [(2.0, "last"), (1.0, "first"), (1.0, "second")]:
        simulator.at(when, lambda what=what: happened.append(what))  # type: ignore[misc]
    simulator.run()
    assert happened == ["first", "second", "last"]
    assert simulator.now == 2.0


def test_it_ends_when_nothing_is_left_to_happen() -> None:
    simulator = Simulator(seed=1)
    simulator.run(lambda: False)
    assert (simulator.now, simulator.events) == (0.0, 0)


def test_stuck_in_time() -> None:
    simulator = Simulator(seed=1, impairments=Impairments(loss=1.0))
    simulator.connect()
    with pytest.raises(StuckError, match=r"at 63\.000 s"):
        simulator.run(limit=100.0)


def test_stuck_in_events() -> None:
    simulator = Simulator(seed=1)
    client, server = simulator.connect()
    client.send(bytes(1 << 20))
    with pytest.raises(StuckError, match="after 5 events"):
        simulator.run(lambda: server.ended, max_events=5)


def test_many_connections_share_a_listener() -> None:
    simulator = Simulator(seed=1, config=Config(receive_buffer=4096))
    for number in range(3):
        exchange(simulator, 5000 + number)
    finish(simulator)
