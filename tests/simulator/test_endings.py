"""Connections that end in every way: at random, in the middle, refused, and in silence."""

from __future__ import annotations

import errno
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tests.simulator.referee import Referee
from tests.simulator.transfers import LONG, assert_received, finish, for_each_seed, texts
from tunstack.path.impair import Impairments
from tunstack.simulator import Application, Simulator
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

PATH: Final = Impairments(loss=0.1, delay=0.02, jitter=0.02, reorder=0.1, duplicate=0.1)
CLEAN: Final = Impairments(delay=0.01)
SILENCE: Final = Impairments(loss=1.0)


def end(application: Application) -> int | None:
    """The errno of what ended its connection."""
    assert application.flow is not None
    error = application.flow.error
    return None if error is None else error.errno


class Speaker:
    """An application, and what it was told to say."""

    def __init__(self, application: Application, text: bytes) -> None:
        self.application = application
        self.said = bytearray()
        self._text = text

    def say(self, size: int) -> None:
        """Send the next octets."""
        piece = self._text[len(self.said) : len(self.said) + size]
        self.said += piece
        self.application.send(piece)

    def act_at_random(self, simulator: Simulator, rng: Random) -> None:
        """Do this and that for a few seconds; after a minute, let go; in the end, reset.

        For who has closed waits for the peer's FIN without end, and a RST may be lost.
        """
        application = self.application
        at = 0.0
        for _ in range(rng.randrange(3, 12)):
            at += rng.expovariate(1.0)
            acts: list[Callable[[], None]] = [
                *[partial(self.say, rng.choice((1, 100, 5000, 40_000)))] * 3,
                partial(application.read, False),
                partial(application.read, True),
                application.shutdown,
                application.close,
                application.abort,
            ]
            simulator.at(at, rng.choice(acts))
        simulator.at(60.0, partial(application.read, True))
        simulator.at(60.0, application.close)
        simulator.at(3600.0, application.abort)


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_at_random(first: int) -> None:
    """Whatever the two do: what is read is a beginning of what was said, and nothing is left."""

    def run(seed: int) -> None:
        rng = Random(seed)
        config = Config(receive_buffer=rng.choice((2000, 20_000, 1 << 20)))
        simulator = Simulator(seed=seed, impairments=PATH, config=config, tap=Referee())
        client, server = map(Speaker, simulator.connect(), texts(1 << 19))
        client.act_at_random(simulator, rng)
        server.act_at_random(simulator, rng)
        finish(simulator)
        assert client.said.startswith(server.application.received)
        assert server.said.startswith(client.application.received)

    for_each_seed(range(first, first + 100), run)


def test_an_abort_resets_the_peer() -> None:
    def run(seed: int) -> None:
        simulator = Simulator(seed=seed, impairments=CLEAN)
        there, back = texts(1 << 20)
        client, server = simulator.connect()
        client.send(there)
        server.send(back)
        simulator.at(0.1, client.abort)
        finish(simulator)
        assert (end(client), end(server)) == (errno.ECONNABORTED, errno.ECONNRESET)
        assert there.startswith(server.received)
        assert 0 < len(server.received) < len(there)

    for_each_seed(range(5), run)


def test_data_for_whoever_closed_draws_a_reset() -> None:
    """SHLD-3, with both ends looking."""

    def run(seed: int) -> None:
        simulator = Simulator(seed=seed, impairments=PATH)
        there, _ = texts(1 << 18)
        client, server = simulator.connect()
        client.send(there)
        simulator.run(lambda: len(server.received) > 20_000, limit=LONG)
        server.close()
        finish(simulator)
        assert end(client) == errno.ECONNRESET

    for_each_seed(range(10), run)


@pytest.mark.parametrize("ways", [(SILENCE, CLEAN), (CLEAN, SILENCE), (SILENCE, SILENCE)])
def test_a_black_hole_path_times_out(ways: tuple[Impairments, Impairments]) -> None:
    simulator = Simulator(seed=1, impairments=CLEAN)
    there, back = texts(1 << 20)
    client, server = simulator.connect()
    client.send(there)
    server.send(back)

    def silence() -> None:
        simulator.client.impairer.impairments, simulator.server.impairer.impairments = ways

    simulator.at(0.1, silence)
    finish(simulator)
    assert (end(client), end(server)) == (errno.ETIMEDOUT, errno.ETIMEDOUT)
    assert simulator.now > Config().data_timeout


def test_an_outage_is_survived() -> None:
    """Ten minutes without a packet, both ways."""
    simulator = Simulator(seed=1, impairments=CLEAN)
    there, back = texts(1 << 18)
    client, server = simulator.connect()

    def set_path(path: Impairments) -> None:
        for node in simulator.nodes:
            node.impairer.impairments = path

    simulator.at(0.1, partial(set_path, SILENCE))
    simulator.at(600.0, partial(set_path, CLEAN))
    for application, text in ((client, there), (server, back)):
        application.send(text)
        application.shutdown()
    simulator.run(lambda: client.done and server.done, limit=LONG)
    assert_received(client, back)
    assert_received(server, there)
    finish(simulator)


def test_nobody_answers() -> None:
    simulator = Simulator(seed=1, impairments=SILENCE)
    client, server = simulator.connect()
    finish(simulator)
    assert server.flow is None
    assert end(client) == errno.ETIMEDOUT
    assert simulator.now == Config().syn_timeout


def test_without_a_listener() -> None:
    simulator = Simulator(seed=1, impairments=CLEAN)
    flow = simulator.client.stack.connect(simulator.server.address, 9, 0.0)
    finish(simulator)
    assert flow.error is not None
    assert flow.error.errno == errno.ECONNREFUSED


def test_both_open_at_once() -> None:
    """MUST-10: two connects that meet on the way make one connection."""

    def run(seed: int) -> None:
        simulator = Simulator(seed=seed, impairments=PATH, tap=Referee())
        there, back = texts(20_000)
        client = Application(simulator.client)
        server = Application(simulator.server)
        one, other = simulator.nodes
        for application, node, peer, ports in (
            (client, one, other, (5000, 6000)),
            (server, other, one, (6000, 5000)),
        ):
            flow = node.stack.connect(peer.address, ports[1], 0.0, local_port=ports[0])
            application.attach(flow)
        for application, text in ((client, there), (server, back)):
            application.send(text)
            application.shutdown()
        simulator.run(lambda: client.done and server.done, limit=LONG)
        assert_received(client, back)
        assert_received(server, there)
        finish(simulator)

    for_each_seed(range(20), run)
