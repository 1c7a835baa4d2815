"""1 MiB each way at 10 % loss with reordering and duplication, for each of 100 seeds."""

from __future__ import annotations

from typing import Final

import pytest

from tests.simulator.transfers import exchange, finish, for_each_seed
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator

PATH: Final = Impairments(loss=0.1, delay=0.01, jitter=0.002, reorder=0.05, duplicate=0.02)
SIZE: Final = 1 << 20
GROUP: Final = 20


def run(seed: int) -> str:
    simulator = Simulator(seed=seed, impairments=PATH)
    exchange(simulator, SIZE)
    finish(simulator)
    return simulator.digest


# In groups, so that pytest-xdist can spread them.
@pytest.mark.parametrize("first", range(0, 100, GROUP))
def test_a_megabyte_each_way(first: int) -> None:
    digests: dict[int, str] = {}

    def remember(seed: int) -> None:
        digests[seed] = run(seed)

    for_each_seed(range(first, first + GROUP), remember)
    assert len(set(digests.values())) == GROUP
    assert run(first) == digests[first], "the same seed, the same octets on the wire"
