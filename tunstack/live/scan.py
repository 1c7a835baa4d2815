"""A pass over all connections of a host: sums, and which of them are shown.

It is the part of a sample whose work grows with the number of connections: of each it reads its
number, its state and its octets, and what it is sorted by.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.host.ss import state_name
from tunstack.ip.demux import FourTuple
from tunstack.tcp.connection.state import TIME_WAIT, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from tunstack.live.sample import Order
    from tunstack.stack.flow import Flow
    from tunstack.stack.time_wait import TimeWait

_PLACES: Final = {state: place for place, state in enumerate(State)}
_RANKS: Final[dict[Order, Callable[[Flow, int], int] | None]] = {
    "rate": None,
    "state": lambda flow, octets: -_PLACES[flow.state],
    "retransmissions": lambda flow, octets: flow.sender.retransmissions,
    "age": lambda flow, octets: 0,
}
"""By what connections are sorted, the largest first; those that are equal by age. None: octets."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which connections a sample shows.

    Attributes:
        order: ``"rate"``: those first that have carried most octets since the last sample;
            ``"retransmissions"``: those with most segments sent again; ``"state"``: in the order
            of a connection's life; ``"age"``: the oldest. Connections in TIME-WAIT without a
            socket are last, the latest of them first.
        most: How many, at most.
        port: Only those with this port, on either side; None for all.
        state: Only those in this state, by ss's name or RFC 9293's, in any case of letters; None
            for all.
        without: A local port whose connections are not there at all: neither as rows nor in the
            sums of connections and octets. It is for a page that the host itself serves; give the
            same to each sample of a view.
    """

    order: Order = "rate"
    most: int = 100
    port: int | None = None
    state: str | None = None
    without: int | None = None

    def has(self, state: State, name: FourTuple) -> bool:
        """Whether a connection is wanted."""
        if self.port is not None and self.port not in (name.local_port, name.remote_port):
            return False
        return self._has_state(state)

    def _has_state(self, state: State) -> bool:
        if self.state is None:
            return True
        return self.state.upper() in (state.value, state_name(state.value))

    def waiting(self, waits: Iterable[TimeWait]) -> list[TimeWait]:
        """Those of `waits` that are wanted, the latest first."""
        if not self._has_state(TIME_WAIT):
            return []
        found = [*waits]
        if self.port is not None:
            found = [each for each in found if self.has(TIME_WAIT, _name(each))]
        found.reverse()
        return found

    def there(self, waits: Collection[TimeWait]) -> Collection[TimeWait]:
        """Those in TIME-WAIT without a socket, but for those of the port `without`."""
        if self.without is None:
            return waits
        port = self.without.to_bytes(2, "big")
        return [each for each in waits if not each.name.endswith(port)]

    @property
    def everything(self) -> bool:
        """Whether all connections that are there are wanted."""
        return self.port is None and self.state is None


def _name(wait: TimeWait) -> FourTuple:
    return FourTuple.from_incoming(wait.name)


class Known(NamedTuple):
    """What is remembered of a connection from one sample to the next.

    Attributes:
        since: When it was first seen, by trio's clock; None if it was there before the first
            sample.
        received: Octets received in order.
        acked: Octets acknowledged by the peer.
    """

    since: float | None
    received: int
    acked: int


class Scan:
    """The pass, and what it has found.

    Args:
        flows: All connections, but those in TIME-WAIT without a socket.
        before: What the last pass has known.
        wanted: Which are shown.
        since: Of connections that were not known before.

    Attributes:
        known: What is to be remembered.
        left_out: What is to be remembered of those of the port `without`.
        received: Octets received by all of them.
        acked: Octets acknowledged by their peers.
        matching: How many are wanted.
        best: Those that are shown, in order.
    """

    def __init__(
        self,
        flows: Iterable[Flow],
        before: Mapping[int, Known],
        wanted: Wanted,
        since: float | None,
    ) -> None:
        self.left_out: dict[int, Known] = {}
        self.known = known = dict[int, Known]()
        self._states = states = list[State]()
        self.received = self.acked = 0
        unknown = Known(since, 0, 0)
        ranked: list[tuple[int, int, Flow]] = []
        rank, everything, without = _RANKS[wanted.order], wanted.everything, wanted.without
        for flow in flows:
            number, state = flow.number, flow.state
            received, acked = flow.receiver.buffer.total, flow.sender.buffer.acknowledged
            if without is not None and flow.four_tuple.local_port == without:
                self.left_out[number] = Known(None, received, acked)
                continue
            was = before.get(number, unknown)
            octets = received - was.received + acked - was.acked
            known[number] = Known(was.since, received, acked) if octets else was
            self.received += received
            self.acked += acked
            states.append(state)
            if everything or wanted.has(state, flow.four_tuple):
                ranked.append((rank(flow, octets) if rank else octets, -number, flow))
        self.matching = len(ranked)
        self.best = [flow for _, _, flow in nlargest(wanted.most, ranked, key=itemgetter(0, 1))]

    def states(self, waiting: int) -> dict[str, int]:
        """How many there are in each state, by ss's names, with `waiting` more in TIME-WAIT."""
        counts = Counter(self._states)
        counts[TIME_WAIT] += waiting
        return {state_name(state.value): counts[state] for state in State if counts[state]}
