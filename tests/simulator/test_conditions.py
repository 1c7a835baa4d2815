"""Transfers under all sorts of conditions, each packet of them under the eyes of a referee."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.simulator.referee import Referee
from tests.simulator.transfers import LONG, assert_received, exchange, finish, for_each_seed, texts
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator
from tunstack.tcp.config import Config

CLEAN: Final = Impairments(delay=0.01)
LOSSY: Final = Impairments(loss=0.1, delay=0.01, jitter=0.002)
PATHS: Final[dict[str, Impairments | tuple[Impairments, Impairments]]] = {
    "no delay": Impairments(),
    "clean": CLEAN,
    "lossy": LOSSY,
    "very lossy": Impairments(loss=0.3, delay=0.01),
    "far": Impairments(loss=0.02, delay=0.4),
    "reordered": Impairments(delay=0.01, jitter=0.02, reorder=0.3),
    "duplicated": Impairments(delay=0.01, duplicate=0.5),
    "all at once": Impairments(loss=0.1, delay=0.02, jitter=0.02, reorder=0.2, duplicate=0.2),
    "lossy there": (LOSSY, CLEAN),
    "lossy back": (CLEAN, LOSSY),
    "far back": (Impairments(delay=0.001), Impairments(delay=0.5, loss=0.05)),
}
PLAIN: Final = Config()
CONFIGS: Final[dict[str, Config]] = {
    "plain": PLAIN,
    "no timestamps": replace(PLAIN, timestamps=False),
    "no SACK": replace(PLAIN, sack=False),
    "no window scaling": replace(PLAIN, window_scaling=False),
    "no options": replace(PLAIN, timestamps=False, sack=False, window_scaling=False),
    "nodelay": replace(PLAIN, nodelay=True),
    "small windows": replace(PLAIN, receive_buffer=4096),
    "windows of less than a segment": replace(PLAIN, receive_buffer=700),
    "small windows without scaling": replace(PLAIN, receive_buffer=4096, window_scaling=False),
    "small send buffer": replace(PLAIN, send_buffer=2000),
    "large segments": replace(PLAIN, max_payload=60_000),
    "few runs": replace(PLAIN, max_out_of_order_runs=2),
}
SEEDS: Final = range(3)


def watched(
    seed: int, path: str = "lossy", config: Config = PLAIN, mtu: int = 1500
) -> tuple[Simulator, Referee]:
    referee = Referee()
    simulator = Simulator(seed=seed, impairments=PATHS[path], config=config, mtu=mtu, tap=referee)
    return simulator, referee


def transfer(simulator: Simulator, referee: Referee, size: int) -> None:
    there, back = texts(size)
    exchange(simulator, size)
    finish(simulator)
    assert referee.packets > 0
    assert referee.sides["client"].stream == there
    assert referee.sides["server"].stream == back


@pytest.mark.parametrize("path", PATHS)
def test_every_path(path: str) -> None:
    for_each_seed(SEEDS, lambda seed: transfer(*watched(seed, path), 100_000))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("path", ["clean", "all at once"])
def test_every_configuration(config: str, path: str) -> None:
    for_each_seed(SEEDS, lambda seed: transfer(*watched(seed, path, CONFIGS[config]), 50_000))


@pytest.mark.parametrize("mtu", [88, 100, 150, 296, 576, 600, 9000])
def test_every_mtu(mtu: int) -> None:
    config = replace(PLAIN, mss=mtu - 40)
    size = min(mtu * 100, 100_000)
    for_each_seed(SEEDS, lambda seed: transfer(*watched(seed, "lossy", config, mtu), size))


@pytest.mark.parametrize("client", CONFIGS)
def test_sides_that_differ(client: str) -> None:
    """Each option with a peer that has another mind about it."""

    def run(seed: int) -> None:
        simulator, referee = watched(seed, "all at once", replace(PLAIN, mss=536))
        simulator.client.stack.config = CONFIGS[client]
        transfer(simulator, referee, 20_000)

    for_each_seed(SEEDS, run)


def test_one_way_only() -> None:
    """The other side acknowledges, and has nothing to say."""

    def run(seed: int) -> None:
        simulator, referee = watched(seed)
        text, _ = texts(100_000)
        client, server = simulator.connect()
        server.send(text)
        server.shutdown()
        simulator.run(lambda: client.ended, limit=LONG)
        client.shutdown()
        simulator.run(lambda: client.done and server.done, limit=LONG)
        assert_received(client, text)
        assert_received(server, b"")
        finish(simulator)
        assert referee.sides["server"].stream == text

    for_each_seed(range(10), run)


def test_half_closed_for_long() -> None:
    """The client says all it has to say, and ends its half; much later the server answers."""

    def run(seed: int) -> None:
        simulator, _ = watched(seed)
        question, answer = texts(50_000)
        client, server = simulator.connect()
        client.send(question)
        client.shutdown()
        simulator.run(lambda: server.ended, limit=LONG)
        simulator.at(3600.0, lambda: server.send(answer))
        simulator.at(7200.0, server.shutdown)
        simulator.run(lambda: client.done and server.done, limit=LONG)
        assert simulator.now > 7200.0
        assert_received(client, answer)
        assert_received(server, question)
        finish(simulator)

    for_each_seed(SEEDS, run)


@pytest.mark.parametrize("buffer", [2000, 4096, 20_000])
def test_a_pause_of_reading(buffer: int) -> None:
    """The window closes for an hour; the probes keep the connection, and all arrives in the end."""

    def run(seed: int) -> None:
        simulator, _ = watched(seed, "all at once", replace(PLAIN, receive_buffer=buffer))
        there, back = texts(50_000)
        client, server = simulator.connect()
        for application, text in ((client, there), (server, back)):
            application.read(False)
            application.send(text)
            application.shutdown()
        simulator.at(3600.0, lambda: client.read(True))
        simulator.at(4000.0, lambda: server.read(True))
        simulator.run(lambda: client.done and server.done, limit=LONG)
        assert simulator.now > 4000.0
        assert_received(client, back)
        assert_received(server, there)
        finish(simulator)

    for_each_seed(SEEDS, run)


def test_reading_in_fits_and_starts() -> None:
    def run(seed: int) -> None:
        simulator, _ = watched(seed, "lossy", replace(PLAIN, receive_buffer=8192))
        there, back = texts(60_000)
        client, server = simulator.connect()
        for number in range(200):
            for application in (client, server):
                reading = (number + seed) % 3 == 0
                at = 0.05 * number
                simulator.at(at, lambda app=application, on=reading: app.read(on))  # type: ignore[misc]
        simulator.at(10.0, lambda: client.read(True))
        simulator.at(10.0, lambda: server.read(True))
        for application, text in ((client, there), (server, back)):
            application.send(text)
            application.shutdown()
        simulator.run(lambda: client.done and server.done, limit=LONG)
        assert_received(client, back)
        assert_received(server, there)
        finish(simulator)

    for_each_seed(SEEDS, run)


def test_an_octet_at_a_time() -> None:
    """A peer of small writes, into a small window, with everything gone wrong that can."""

    def run(seed: int) -> None:
        simulator, _ = watched(
            seed, "all at once", replace(PLAIN, nodelay=True, receive_buffer=1000)
        )
        text, _ = texts(300)
        client, server = simulator.connect()
        for number in range(len(text)):
            octet = text[number : number + 1]
            simulator.at(0.01 * number, lambda octet=octet: client.send(octet))  # type: ignore[misc]
        simulator.at(4.0, client.shutdown)
        simulator.run(lambda: server.ended, limit=LONG)
        server.shutdown()
        simulator.run(lambda: client.done and server.done, limit=LONG)
        assert_received(server, text)
        finish(simulator)

    for_each_seed(SEEDS, run)


def test_many_connections_at_once() -> None:
    def run(seed: int) -> None:
        simulator = Simulator(seed=seed, impairments=LOSSY)
        pairs = []
        for number in range(30):
            there, back = texts(2000 + number)
            client, server = simulator.connect()
            client.send(there)
            simulator.run(lambda server=server: server.flow is not None, limit=LONG)  # type: ignore[misc]
            server.send(back)
            pairs.append((client, server, there, back))
        for client, server, _, _ in pairs:
            client.shutdown()
            server.shutdown()
        simulator.run(lambda: all(c.done and s.done for c, s, _, _ in pairs), limit=LONG)
        for client, server, there, back in pairs:
            assert_received(client, back)
            assert_received(server, there)
        finish(simulator)

    for_each_seed(SEEDS, run)
