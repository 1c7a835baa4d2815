"""Long fat paths: buffers that nobody has set let them be filled."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Final

import pytest

from tests.path.simulated import receive, transfer
from tests.tcp.inspection import Tcb
from tunstack.path.impair import Impairments
from tunstack.simulator import Application, Simulator
from tunstack.tcp.config import INITIAL_SIZE, Config

RATE: Final = 40e6
"""Bits per second."""
PATH: Final = Impairments(delay=0.05)
CARRIED: Final = round(RATE / 8 * 0.1)
"""Octets that the path carries in a round-trip time: half a megabyte."""
DATA: Final = bytes(range(251)) * 12_000

TUNED: Final = Config()
LARGE: Final = Config(receive_buffer=6 << 20, send_buffer=4 << 20)
SMALL: Final = Config(receive_buffer=INITIAL_SIZE, send_buffer=INITIAL_SIZE)


@cache
def run(config: Config | tuple[Config, Config]) -> tuple[float, Application, Application]:
    """How long it takes to send `DATA` to the client, in seconds; and both applications."""
    simulator = Simulator(seed=1, impairments=PATH, bottleneck=(RATE, 500), config=config)
    client, server = simulator.connect()
    simulator.run(lambda: server.flow is not None)
    server.send(DATA)
    receive(simulator, client, len(DATA))
    return simulator.now, client, server


def test_a_long_fat_path_is_filled_as_if_buffers_were_large_from_the_start() -> None:
    took, client, server = run(TUNED)
    assert took < 1.1 * run(LARGE)[0]
    assert client.flow is not None
    assert server.flow is not None
    assert 2 * CARRIED < Tcb(client.flow).receive_size <= TUNED.receive_buffer_max
    assert CARRIED < Tcb(server.flow).send_size <= TUNED.send_buffer_max


@pytest.mark.parametrize(
    "config",
    [
        (replace(TUNED, receive_buffer=INITIAL_SIZE), TUNED),
        (TUNED, replace(TUNED, send_buffer=INITIAL_SIZE)),
    ],
)
def test_it_takes_both_buffers(config: tuple[Config, Config]) -> None:
    """And this is what they are for: what is fixed at their first size is a brake."""
    took, *_ = run(config)
    assert took > 1.8 * run(LARGE)[0]
    assert took == pytest.approx(run(SMALL)[0], rel=0.1)


def test_a_short_transfer_takes_no_large_buffers() -> None:
    simulator = Simulator(seed=1, impairments=PATH, bottleneck=(RATE, 500))
    client, server = transfer(simulator, down=DATA[:30_000], up=DATA[:20_000])
    for application in (client, server):
        assert application.flow is not None
        assert Tcb(application.flow).receive_size == INITIAL_SIZE
        assert Tcb(application.flow).send_size == INITIAL_SIZE


@pytest.mark.parametrize("seed", range(3))
def test_a_path_that_loses_is_filled_as_well(seed: int) -> None:
    simulator = Simulator(
        seed=seed, impairments=replace(PATH, loss=0.001), bottleneck=(RATE, 500), config=TUNED
    )
    client, _ = transfer(simulator, down=DATA)
    assert client.received == DATA
    assert client.flow is not None
    assert Tcb(client.flow).receive_size > CARRIED
