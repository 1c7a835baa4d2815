"""UDP in the simulator: it follows from the seed, and goes by the path as TCP does."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.families import each_family
from tests.path.middlebox import Fragmenter
from tunstack.path.impair import Impairments
from tunstack.simulator import DatagramApplication, Simulator
from tunstack.wire import Reason

if TYPE_CHECKING:
    from tunstack.ip.family import Family

PATH = Impairments(loss=0.1, delay=0.01, jitter=0.01, reorder=0.1, duplicate=0.1, corrupt=0.05)
DATA = b"a datagram"


def exchanged(seed: int, family: Family) -> tuple[str, list[tuple[bytes, float]]]:
    """A hundred datagrams, some in fragments, beside a connection: the digest, and what came."""
    simulator = Simulator(seed=seed, impairments=PATH, family=family)
    client, server = simulator.connect()
    near = DatagramApplication(simulator.client)
    DatagramApplication(simulator.server, 53, echo=True)
    for number in range(100):
        data = bytes((number,)) * (1 + 37 * number)
        simulator.at(
            number * 0.01,
            lambda data=data: near.send(data, simulator.server.address, 53),  # type: ignore[misc]
        )
    client.send(bytes(50_000))
    client.shutdown()
    server.shutdown()
    simulator.run()
    assert len(server.received) == 50_000
    return simulator.digest, [(arrival.data, arrival.at) for arrival in near.received]


@each_family
def test_equal_seeds_give_equal_datagrams_at_equal_times(family: Family) -> None:
    once, again, other = (exchanged(seed, family) for seed in (1, 1, 2))
    assert once == again
    assert once[0] != other[0]
    assert 30 < len(once[1]) < 100


@each_family
def test_datagrams_arrive_from_where_they_were_sent(family: Family) -> None:
    simulator = Simulator(seed=1, family=family, impairments=Impairments(delay=0.5))
    near, far = DatagramApplication(simulator.client), DatagramApplication(simulator.server, 53)
    for data in (DATA, b""):
        near.send(data, simulator.server.address, 53)
    simulator.run()
    source = simulator.client.address, near.port, 0.5
    assert far.received == [(DATA, *source), (b"", *source)]


@each_family
def test_a_closed_port_is_told(family: Family) -> None:
    simulator = Simulator(seed=1, family=family)
    near, far = DatagramApplication(simulator.client), DatagramApplication(simulator.server, 53)
    simulator.client.stack.datagrams.connect(near.sock, simulator.server.address, 53)
    far.close()
    near.send(DATA, simulator.server.address, 53)
    simulator.run()
    assert (near.errors, far.received) == ([errno.ECONNREFUSED], [])


@each_family
@pytest.mark.parametrize("offload", [False, True])
def test_a_middlebox_may_forward_fragments(family: Family, offload: bool) -> None:
    """Of TCP and of UDP, which arrive whole."""
    box = Fragmenter(300)
    simulator = Simulator(seed=1, family=family, middlebox=box, offload=offload)
    client, server = simulator.connect()
    far = DatagramApplication(simulator.server, 53)
    DatagramApplication(simulator.client).send(bytes(1000), simulator.server.address, 53)
    client.send(bytes(50_000))
    client.shutdown()
    server.shutdown()
    simulator.run()
    assert len(server.received) == 50_000
    assert [len(arrival.data) for arrival in far.received] == [1000]
    statistics = simulator.server.stack.statistics()
    assert statistics["datagrams_reassembled"] == box.cut > 30
    assert not any(statistics[reason] for reason in Reason)
