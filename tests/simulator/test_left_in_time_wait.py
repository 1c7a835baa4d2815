"""Little is left of a connection in TIME-WAIT, and the other side cannot tell."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.simulator.soak import random_path
from tunstack.simulator import Simulator
from tunstack.stack.time_wait import TimeWaits

if TYPE_CHECKING:
    from tests.compiled import PatchMethod
    from tunstack.stack.flow import Flow


def run(seed: int) -> str:
    """Connections over a bad path that both sides close, at random; returns the digest."""
    rng = Random(seed)
    simulator = Simulator(seed=seed, impairments=(random_path(rng), random_path(rng)))
    for _ in range(4):
        for end in simulator.connect():
            data = rng.randbytes(rng.choice((1, 100, 1448, 20_000)))
            simulator.at(0.0, lambda end=end, data=data: end.send(data))  # type: ignore[misc]
            at = rng.uniform(60.0, 62.0)
            simulator.at(at, rng.choice((end.shutdown, end.close)))
            simulator.at(at + rng.uniform(0.0, 2.0), end.close)
    simulator.run(limit=1e5)
    for node in simulator.nodes:
        assert not node.stack.connections()
        assert node.stack.statistics()["memory_held"] == 0
    return simulator.digest


@pytest.mark.parametrize("seed", range(30))
def test_the_same_octets_at_the_same_times_with_it_and_without(
    seed: int, patch_method: PatchMethod
) -> None:
    right, taken = TimeWaits.take, []

    def take(self: TimeWaits, flow: Flow) -> bool:
        taken.append(flow)
        return right(self, flow)

    patch_method(TimeWaits, "take", take)
    small = run(seed)
    assert taken
    patch_method(TimeWaits, "take", lambda *_: False)
    assert run(seed) == small
