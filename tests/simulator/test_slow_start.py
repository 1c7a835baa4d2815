"""Slow start ends between what a path holds and what its queue holds as well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tcp.inspection import Tcb
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.congestion import Cubic

CONFIG = Config(receive_buffer=8 << 20, send_buffer=8 << 20)


@pytest.mark.parametrize(("rate", "rtt"), [(10e6, 0.03), (20e6, 0.05), (100e6, 0.02)])
@pytest.mark.parametrize("offload", [False, True])
def test_where_the_queue_holds_as_much_as_the_path_hardly_anything_is_lost(
    rate: float, rtt: float, offload: bool
) -> None:
    """By the RTT alone one and a half times what the path holds would be."""
    holds = rate * rtt / 8 / 1500
    simulator = Simulator(
        seed=1,
        impairments=Impairments(delay=rtt / 2),
        bottleneck=(rate, round(holds)),
        config=replace(CONFIG, congestion=Cubic),
        offload=offload,
    )
    client, server = simulator.connect()
    size = round(16 * holds) * 1448
    server.send(bytes(size))
    simulator.run(lambda: len(client.received) == size)
    assert server.flow is not None
    tcb = Tcb(server.flow)
    assert tcb.ssthresh <= tcb.cwnd
    assert tcb.cwnd > holds * 1448
    assert tcb.retransmissions < holds / 6
