"""A path as wide as it is, and no wider: serialisation, a queue, and what has no room in it."""

from __future__ import annotations

from tests.tcp.inspection import Tcb
from tunstack.path.impair import Impairments
from tunstack.simulator import Bottleneck, Simulator

TEXT = bytes(n % 251 for n in range(100_000))


def test_a_bottleneck_takes_its_time_for_each_octet() -> None:
    slow = Bottleneck(8000.0, 10)
    assert slow.enqueue(0.0, 500) == 0.5
    assert slow.enqueue(0.25, 250) == 0.75  # Behind the first.
    assert slow.enqueue(2.0, 1000) == 3.0


def test_a_bottleneck_drops_what_its_queue_has_no_room_for() -> None:
    slow = Bottleneck(8000.0, 2)
    assert [slow.enqueue(0.0, 1000) for _ in range(3)] == [1.0, 2.0, None]
    assert slow.enqueue(1.0, 1000) == 3.0
    assert slow.enqueue(1.5, 1000) is None


def test_a_bottleneck_bounds_the_goodput() -> None:
    simulator = Simulator(seed=1, impairments=Impairments(delay=0.001), bottleneck=(1e6, 100))
    _, server = simulator.connect()
    server.send(TEXT)
    server.shutdown()
    simulator.run(lambda: server.flow is not None and Tcb(server.flow).fin_acknowledged)
    packets = len(TEXT) / 1448
    at_least = (len(TEXT) + 52 * packets) * 8 / 1e6
    assert at_least < simulator.now < 1.2 * at_least
