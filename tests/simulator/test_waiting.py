"""Nothing that may go waits for a better moment without end: the path is used while there is data.

On a path that loses nothing but what its queue has no room for, no octet that the windows and
Nagle's algorithm let go waits longer than a quarter of the round trip, however it was written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.tcp.inspection import Tcb
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from tunstack.simulator import Application

LARGE: Final = 45 * 1448
"""Octets of the largest segment that a link cuts into full ones, with timestamps."""
STREAM_LOWAT: Final = 16384
"""What trio's streams set."""
ALL_AT_ONCE: Final = None

SIZES: Final = (
    1,
    1449,
    LARGE + 1,
    2 * LARGE + 1,
    135_000,
    3 * LARGE,
    3 * LARGE + 20_000,
    1_000_003,
)
"""Of answers: what is left beside full large segments is nothing, little, or much."""


class Watch:
    """How long, at most, an application's data stood still that could have gone."""

    def __init__(self, simulator: Simulator, application: Application, rtt: float) -> None:
        self.longest = 0.0
        self._simulator = simulator
        self._application = application
        self._every = rtt / 64
        self._ready_since: float | None = None
        self._look()

    def _look(self) -> None:
        now, flow = self._simulator.now, self._application.flow
        if flow is None or not self._may_go():
            self._ready_since = None
        else:
            if self._ready_since is None:
                self._ready_since = now
            since = max(self._ready_since, Tcb(flow).last_sent)
            self.longest = max(self.longest, now - since)
        self._simulator.at(now + self._every, self._look)

    def _may_go(self) -> bool:
        flow = self._application.flow
        assert flow is not None
        tcb = Tcb(flow)
        waiting = tcb.unsent + self._application.left
        if not waiting or not tcb.synchronized:
            return False
        if waiting < tcb.snd_mss and not tcb.nodelay and tcb.outstanding:
            return False  # Nagle's algorithm may hold it.
        # While a loss is repaired, what the peer holds beyond the gap is not on its way.
        usable = min(tcb.snd_wnd - tcb.outstanding, tcb.cwnd - tcb.pipe)
        return usable >= min(tcb.snd_mss, waiting)


def longest_wait(
    rtt: float,
    sizes: tuple[int, ...],
    *,
    lowat: int | None,
    offload: bool,
    config: Config,
    rate: float | None = None,
    queue: int = 1_000_000,
) -> float:
    """The longest wait of a server that sends answers of these sizes, one after the other."""
    simulator = Simulator(
        seed=1,
        impairments=Impairments(delay=rtt / 2),
        bottleneck=None if rate is None else (rate, queue),
        offload=offload,
        config=config,
    )
    client, server = simulator.connect()
    server.lowat = lowat
    watch = Watch(simulator, server, rtt)
    total = 0
    for size in sizes:
        server.send(bytes(size))
        total += size
        simulator.run(lambda total=total: len(client.received) == total)  # type: ignore[misc]
        simulator.run(lambda until=simulator.now + 2 * rtt: simulator.now >= until)  # type: ignore[misc]
    assert server.sent == total
    return watch.longest


@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
@pytest.mark.parametrize("rtt", [0.004, 0.02, 0.066, 0.2])
@pytest.mark.parametrize("lowat", [STREAM_LOWAT, 1, ALL_AT_ONCE], ids=["stream", "least", "all"])
def test_nothing_waits_longer_than_a_quarter_of_the_round_trip(
    rtt: float, lowat: int | None, offload: bool
) -> None:
    config = Config(nodelay=lowat is not ALL_AT_ONCE)
    assert longest_wait(rtt, SIZES, lowat=lowat, offload=offload, config=config) <= rtt / 4


@pytest.mark.parametrize("rate", [100e6, 1e9])
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
def test_nor_does_it_behind_a_bottleneck(rate: float, offload: bool) -> None:
    """Where ACKs come one by one, and not all at once."""
    config = Config(nodelay=True)
    assert (
        longest_wait(
            0.066, (5_000_001,), lowat=STREAM_LOWAT, offload=offload, config=config, rate=rate
        )
        <= 0.066 / 4
    )


@pytest.mark.parametrize("rtt", [0.02, 0.066])
@pytest.mark.parametrize("lowat", [STREAM_LOWAT, ALL_AT_ONCE], ids=["stream", "all"])
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
def test_nor_while_losses_are_repaired(rtt: float, lowat: int | None, offload: bool) -> None:
    """Slow start fills a bottleneck's queue: an application goes on while the holes are filled.

    Or nothing is on its way any more once they are, and a whole window leaves at once, for which
    the queue has no room again.
    """
    rate = 100e6
    queue = round(rate * rtt / 8 / 1500)
    wait = longest_wait(
        rtt,
        (5_000_001,),
        lowat=lowat,
        offload=offload,
        config=Config(nodelay=True),
        rate=rate,
        queue=queue,
    )
    assert wait <= rtt / 4


@pytest.mark.parametrize(
    "config",
    [
        Config(nodelay=True, initial_window=1),
        Config(nodelay=True, mtu_probing=2, mss=1000),
        Config(nodelay=True, delayed_ack=0.2),
        Config(nodelay=True, timestamps=False, sack=False),
        Config(nodelay=True, window_scaling=False),
    ],
    ids=["small window", "size probes", "late ACKs", "no options", "no scaling"],
)
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
def test_nor_by_another_configuration(config: Config, offload: bool) -> None:
    wait = longest_wait(0.066, SIZES, lowat=STREAM_LOWAT, offload=offload, config=config)
    assert wait <= 0.066 / 4


def test_nor_where_the_peer_reads_slowly() -> None:
    """A window that opens by little."""
    config = replace(Config(nodelay=True), receive_buffer=100_000)
    wait = longest_wait(0.02, SIZES, lowat=STREAM_LOWAT, offload=True, config=config)
    assert wait <= 0.005
