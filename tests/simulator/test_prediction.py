"""Header prediction changes nothing: the same runs, octet by octet, with it and without it."""

from __future__ import annotations

from random import Random

import pytest

from tests.families import each_family
from tests.simulator.soak import random_path
from tunstack.ip.family import IPV4, Family
from tunstack.simulator import Simulator
from tunstack.tcp.config import Config


def run(seed: int, *, predict: bool, offload: bool, family: Family = IPV4) -> tuple[str, int]:
    """Two connections with pauses both ways; returns the digest, and how many were predicted."""
    rng = Random(seed)
    paths = (random_path(rng), random_path(rng))
    config = Config(
        nodelay=rng.random() < 0.5,
        receive_buffer=rng.choice((8192, 65536, 1 << 20)),
        send_buffer=rng.choice((8192, 65536, 1 << 20)),
        keepalive=rng.random() < 0.3,
        keepalive_idle=5.0,
    )
    simulator = Simulator(
        seed=seed,
        impairments=paths,
        config=config,
        predict=predict,
        offload=offload,
        family=family,
    )
    pairs = [simulator.connect() for _ in range(2)]
    for pair in pairs:
        for end in pair:
            at = 0.0
            for _ in range(rng.randrange(1, 12)):
                at += rng.expovariate(2.0)
                data = rng.randbytes(rng.choice((1, 100, 1448, 20_000, 200_000)))
                simulator.at(at, lambda end=end, data=data: end.send(data))  # type: ignore[misc]
            simulator.at(at + 60.0, end.shutdown)
    simulator.run(limit=1e5)
    assert all(end.done for pair in pairs for end in pair)
    nodes = (simulator.client, simulator.server)
    return simulator.digest, sum(node.stack.statistics()["tcp_predicted"] for node in nodes)


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("seed", range(12))
@each_family
def test_the_same_octets_at_the_same_times_with_prediction_and_without(
    seed: int, offload: bool, family: Family
) -> None:
    digest, predicted = run(seed, predict=True, offload=offload, family=family)
    assert run(seed, predict=False, offload=offload, family=family) == (digest, 0)
    assert predicted
