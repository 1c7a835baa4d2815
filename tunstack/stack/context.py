"""The state that the parts of a stack share."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from tunstack.ip.demux import Demultiplexer
from tunstack.stack.closed import ClosedConnections
from tunstack.stack.memory import Memory
from tunstack.stack.output import Output
from tunstack.stack.time_wait import TimeWaits
from tunstack.tcp.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tunstack.ip.flow_label import FlowLabels
    from tunstack.stack.addresses import Addresses
    from tunstack.stack.configs import Configs
    from tunstack.stack.flow import Flow
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.tcp.config import Config
    from tunstack.tcp.listen.listener import Listener


class Context:
    """The tables, accounts and queues that opening, eviction and ICMP work on.

    Attributes:
        limits: The limits of the host.
        configs: Fits the configuration of a connection to its family.
        addresses: Its addresses.
        counters: How often what happened.
        closed: Sums over the connections that `demux` no longer has.
        demux: All connections and listeners, by four-tuple.
        output: Packets out.
        time_waits: Connections in TIME-WAIT without a socket, which `demux` has not.
        memory: What each connection holds.
        pending: The flows that the next flush asks what they send.
    """

    def __init__(
        self,
        addresses: Addresses,
        configs: Configs,
        config: Config,
        limits: Limits,
        *,
        rng: Random,
        tap: Callable[[Observation], None] | None,
        labels: FlowLabels,
        offload: bool,
    ) -> None:
        """Create all of them, empty, for a host with `addresses`."""
        self.limits = limits
        self.configs = configs
        self.addresses = addresses
        self.counters: Counter[str] = Counter()
        self.closed = ClosedConnections()
        self.demux: Demultiplexer[Flow, Listener] = Demultiplexer(rng, self.closed.add)
        self.output = Output(
            self.addresses.local,
            self.counters,
            tap,
            mtu=configs.mtu,
            rng=rng,
            labels=labels,
            offload=offload,
        )
        budget = Budget(limits.memory)
        self.time_waits = TimeWaits(self.demux, config, budget)
        self.memory = Memory(budget, self.time_waits, self.counters, orphans=limits.orphans)
        self.pending: deque[Flow] = deque()

    def mark_pending(self, flow: Flow) -> None:
        """Make the next flush transmit for `flow`, off the fast path."""
        flow.on_fast_path = False
        if not flow.pending:
            flow.pending = True
            self.pending.append(flow)


__all__ = ["Context"]
