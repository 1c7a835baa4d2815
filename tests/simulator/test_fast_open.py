"""TCP Fast Open between two endpoints: a round trip less, and nothing lost or twice for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.simulator.transfers import LONG, assert_received, finish, for_each_seed, texts
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.segment import SYN

if TYPE_CHECKING:
    from tunstack.simulator import Application
    from tunstack.stack.observation import Observation

pytestmark = pytest.mark.rfc("7413:4.2.2")

DELAY = 0.1
CONFIG = Config(fast_open_queue=5)
LOSSY = Impairments(loss=0.15, delay=0.01, jitter=0.005, reorder=0.2, duplicate=0.1)


def ask(simulator: Simulator, size: int = 100) -> tuple[Application, Application]:
    """Begin an exchange of so many octets each way, the client's first ones in its SYN."""
    there, back = texts(size)
    client, server = simulator.connect(early=True)
    client.send(there)
    server.send(back)
    client.shutdown()
    server.shutdown()
    return client, server


def conclude(simulator: Simulator, client: Application, server: Application, size: int) -> None:
    there, back = texts(size)
    simulator.run(lambda: client.done and server.done, limit=LONG)
    assert_received(client, back)
    assert_received(server, there)


def counted(simulator: Simulator, name: str) -> int:
    return simulator.client.stack.counters[f"fast_open_{name}"]


@pytest.mark.rfc("7413:4.2.1")
def test_the_second_exchange_takes_one_round_trip() -> None:
    simulator = Simulator(seed=1, impairments=Impairments(delay=DELAY), config=CONFIG)
    for trips in (4, 2, 2):
        began = simulator.now
        client, server = ask(simulator)
        simulator.run(lambda client=client: len(client.received) == 100)  # type: ignore[misc]
        assert simulator.now - began == pytest.approx(trips * DELAY)
        conclude(simulator, client, server, 100)
    assert (counted(simulator, "requested"), counted(simulator, "active")) == (1, 2)
    finish(simulator)


def test_a_server_that_does_not_open_fast_costs_nothing() -> None:
    simulator = Simulator(seed=1, impairments=Impairments(delay=DELAY))
    for _ in range(2):
        began = simulator.now
        client, server = ask(simulator)
        simulator.run(lambda client=client: len(client.received) == 100)  # type: ignore[misc]
        assert simulator.now - began == pytest.approx(4 * DELAY)
        conclude(simulator, client, server, 100)
    finish(simulator)


@pytest.mark.parametrize("size", [100, 1420, 1421, 30_000])
def test_whatever_does_not_fit_into_the_syn_follows(size: int) -> None:
    simulator = Simulator(seed=1, impairments=Impairments(delay=DELAY), config=CONFIG)
    for _ in range(2):
        client, server = ask(simulator, size)
        conclude(simulator, client, server, size)
    assert counted(simulator, "active") == 1
    finish(simulator)


def test_nothing_is_lost_or_comes_twice_on_a_bad_path() -> None:
    accepted = 0

    def run(seed: int) -> None:
        nonlocal accepted
        simulator = Simulator(seed=seed, impairments=LOSSY, config=CONFIG)
        for size in (100, 3000, 30_000, 100):
            client, server = ask(simulator, size)
            conclude(simulator, client, server, size)
        accepted += counted(simulator, "active")
        finish(simulator)

    for_each_seed(range(20), run)
    assert accepted > 10


@pytest.mark.parametrize("mtu", [68, 79, 80])
def test_a_link_with_no_room_for_the_option_goes_without(mtu: int) -> None:
    """Headers of 40 octets and all the options there are do not fit into 79."""
    largest = 0

    def look(_: str, seen: Observation) -> None:
        nonlocal largest
        largest = max(largest, len(seen.packet))

    config = replace(CONFIG, mss=mtu - 40)
    simulator = Simulator(seed=1, mtu=mtu, config=config, tap=look)
    for _ in range(2):
        client, server = ask(simulator, 300)
        conclude(simulator, client, server, 300)
    assert largest == mtu
    assert counted(simulator, "requested") == (mtu >= 80)
    finish(simulator)


def test_a_duplicate_fast_open_syn_opens_a_connection_that_times_out() -> None:
    """RFC 7413 section 2.1 leaves it to the application; here it meets nobody, and is reset."""
    syns: list[bytes] = []

    def keep(packet: bytes) -> tuple[bytes | None, bytes | None]:
        if packet[33] == SYN:
            syns.append(packet)
        return packet, None

    simulator = Simulator(seed=1, config=CONFIG, middlebox=keep)
    for _ in range(2):
        client, server = ask(simulator)
        conclude(simulator, client, server, 100)
    finish(simulator)
    stack = simulator.server.stack
    stack.handle_packet(syns[-1], simulator.now)
    finish(simulator)
    assert stack.counters["fast_open_passive"] == 2
    assert_received(server, texts(100)[0])
