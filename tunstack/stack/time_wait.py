"""Connections in TIME-WAIT without a socket, in little memory.

The side that closes first waits for 2 MSL (RFC 9293 section 3.6.1): a busy server has many times
more connections in TIME-WAIT than in use. So such a flow is replaced by a small object, as Linux's
inet_timewait_sock. When a segment arrives, which is rare, the flow is restored for
:mod:`tunstack.tcp.connection.arrival`, which has the rules,
and replaced again afterwards.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields, replace
from heapq import heapify, heappop, heappush
from ipaddress import ip_address
from itertools import count
from operator import attrgetter
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tunstack.ip.demux import FourTuple
from tunstack.stack.flow import Flow
from tunstack.tcp.connection.arrival import opens_anew
from tunstack.tcp.connection.challenge import ChallengeLimit
from tunstack.tcp.connection.state import State
from tunstack.tcp.info import TcpInfo
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunstack.ip.demux import Demultiplexer
    from tunstack.tcp.budget import Budget
    from tunstack.tcp.config import Config
    from tunstack.tcp.segment import Segment

WAIT_SIZE: Final = 320
"""Octets of memory of a `TimeWait`; measured with CPython 3.11, rounded."""

_REUSE_DELAY: Final = 1.0
"""Seconds: Linux's tcp_tw_reuse_delay."""

_FEW: Final = 16


class _Field(NamedTuple):
    """A field of a flow that is kept in TIME-WAIT.

    Attributes:
        name: Its name; that in `TcpInfo`, if it is there.
        format: Its format for `struct`.
        path: Its path in a flow, with dots.
    """

    name: str
    format: str
    path: str


_FIELDS: Final = (
    _Field("number", "Q", "number"),
    _Field("rcv_tos", "B", "received_tos"),
    _Field("flow_label", "I", "flow_label"),
    _Field("timestamps", "?", "timestamps_ok"),
    _Field("ts_offset", "I", "ts_offset"),
    _Field("ts_recent", "I", "ts_recent"),
    _Field("ts_recent_at", "d", "ts_recent_at"),
    _Field("last_ack_sent", "I", "last_ack_sent"),
    _Field("msl", "d", "config.msl"),
    _Field("rfc1337", "?", "config.rfc1337"),
    _Field("ttl", "B", "config.ttl"),
    _Field("tos", "B", "config.tos"),
    _Field("snd_nxt", "I", "sender.nxt"),
    _Field("snd_wnd", "I", "sender.wnd"),
    _Field("snd_wl1", "I", "sender.wl1"),
    _Field("snd_wl2", "I", "sender.wl2"),
    _Field("snd_max_wnd", "I", "sender.max_wnd"),
    _Field("snd_wscale", "B", "sender.shift"),
    _Field("sack", "?", "sender.recovery.sack"),
    _Field("rcv_nxt", "I", "receiver.nxt"),
    _Field("rcv_edge", "I", "receiver.edge"),
    _Field("rcv_size", "Q", "receiver.size"),
    _Field("rcv_mss", "I", "receiver.mss"),
    _Field("rcv_wscale", "B", "receiver.shift"),
    _Field("ecn", "?", "ecn.capable"),
    _Field("ecn_echo", "?", "ecn.echo"),
    _Field("challenges", "B", "challenges.count"),
    _Field("challenged_since", "d", "challenges.begin"),
)
_NAMES: Final = tuple(field.name for field in _FIELDS)
_LAYOUT: Final = Struct("=" + "".join(field.format for field in _FIELDS))
"""One bytes object takes an eighth of the memory of the numbers."""

_values: Final[Callable[[Flow], tuple[Any, ...]]] = eval(
    f"lambda flow: ({', '.join(f'flow.{field.path}' for field in _FIELDS)})"
)
"""Reads the fields of a flow; generated code, as in `namedtuple`, as `attrgetter` is slower."""

_CONFIG_NAMES: Final = tuple(field.name for field in _FIELDS if field.path.startswith("config."))


def _place(path: str) -> tuple[Callable[[Flow], Any], str]:
    """Return a getter of the object that has the attribute at `path`, and the attribute's name."""
    owner, _, attribute = path.rpartition(".")
    return (attrgetter(owner) if owner else lambda flow: flow), attribute


_RESTORED: Final = tuple(
    (field.name, *_place(field.path)) for field in _FIELDS if field.name not in _CONFIG_NAMES
)
_INFO_FIELDS: Final = tuple(each.name for each in fields(TcpInfo) if each.name in _NAMES)
_UNKNOWN: Final[dict[str, Any]] = {
    "rtt": None,
    "rttvar": 0.0,
    "min_rtt": None,
    "rto": 0.0,
    "snd_cwnd": 0,
    "snd_ssthresh": 0,
    "snd_mss": 0,
    "pmtu": 0,
    "unacked": 0,
    "notsent": 0,
    "unread": 0,
    "out_of_order": 0,
    "bytes_acked": 0,
    "bytes_received": 0,
    "retransmits": 0,
    "congestion": "",
    "soft_error": None,
}
"""The other fields of `TcpInfo`."""


class TimeWait:
    """A connection in TIME-WAIT without a socket (Linux's inet_timewait_sock).

    Attributes:
        name: `FourTuple.incoming`.
        ends: When it expires, in seconds.
    """

    __slots__ = ("_kept", "ends", "name")

    def __init__(self, flow: Flow) -> None:
        assert flow.idle_timers.at is not None
        self.name = flow.four_tuple.incoming
        self.ends = flow.idle_timers.at
        self._kept = _LAYOUT.pack(*_values(flow))

    @property
    def number(self) -> int:
        """Its index among all connections of the stack, in order of creation."""
        number: int = self.kept["number"]
        return number

    @property
    def kept(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(zip(_NAMES, _LAYOUT.unpack(self._kept), strict=True))

    def flow(self, config: Config, budget: Budget) -> Flow:
        """Restore the flow.

        Args:
            config: The host's; the connection's own values are restored where they matter.
            budget: The host's memory.
        """
        kept = self.kept
        flow = Flow(
            FourTuple.from_incoming(self.name),
            _with(config, {name: kept[name] for name in _CONFIG_NAMES}),
            iss=kept["snd_nxt"],
            ts_offset=kept["ts_offset"],
            budget=budget,
        )
        sender, receiver = flow.sender, flow.receiver
        flow.challenges = ChallengeLimit()
        for name, owner, attribute in _RESTORED:
            setattr(owner(flow), attribute, kept[name])
        flow.ecn.agreed = flow.ecn.capable
        sender.restore_after_fin()
        receiver.restore_after_fin(receiver.nxt, receiver.edge)
        receiver.tuning = None
        # It sends no data, but ACKs with ECE are still passed to congestion control.
        sender.congestion.set_mss(sender.mss, flow.config.initial_window)
        flow.idle_timers.resume_time_wait(self.ends)
        flow.restore_state(State.TIME_WAIT)
        flow.observed = State.TIME_WAIT
        return flow

    def info(self) -> TcpInfo:
        """Return the `TcpInfo`, with the fields that are kept."""
        kept = self.kept
        name = FourTuple.from_incoming(self.name)
        return TcpInfo(
            state=State.TIME_WAIT.value,
            local=(ip_address(name.local), name.local_port),
            remote=(ip_address(name.remote), name.remote_port),
            rcv_wnd=(kept["rcv_edge"] - kept["rcv_nxt"]) & MASK,
            **{name: kept[name] for name in _INFO_FIELDS},
            **_UNKNOWN,
        )


def _with(config: Config, fields: dict[str, Any]) -> Config:
    """Return `config` with `fields`; usually it has them already."""
    if all(getattr(config, name) == value for name, value in fields.items()):
        return config
    return replace(config, **fields)


class TimeWaits:
    """All connections of a stack in TIME-WAIT without a socket.

    They are sorted by expiry. As nearly all wait equally long, a new one is appended to
    the queue; others, such as one restored for a segment, are in a heap.

    Attributes:
        by_name: All of them, by `FourTuple.incoming`.
    """

    def __init__(self, demux: Demultiplexer[Flow, Any], config: Config, budget: Budget) -> None:
        self._demux = demux
        self._config = config
        self._budget = budget
        self.by_name: dict[bytes, TimeWait] = {}
        self._queue: deque[TimeWait] = deque()
        """Those in `by_name`, and stale ones, but the first is not stale."""
        self._others: list[tuple[float, int, TimeWait]] = []
        """A heap of those that expire before the last of the queue."""
        self._order = count()
        demux.time_waits = self.by_name

    def __len__(self) -> int:
        return len(self.by_name)

    def __iter__(self) -> Iterator[TimeWait]:
        return iter(self.by_name.values())

    def get(self, incoming: bytes) -> TimeWait | None:
        """Return that of a four-tuple, or None."""
        return self.by_name.get(incoming)

    def take(self, flow: Flow) -> bool:
        """Replace a flow that `only_waits`; returns False if it was removed before."""
        wait = TimeWait(flow)
        if not self._demux.detach(flow.four_tuple, flow):
            return False
        flow.close_coroutines()  # They are a reference cycle, which delays freeing.
        queue = self._queue
        self.by_name[wait.name] = wait
        if not queue or queue[-1].ends <= wait.ends:
            queue.append(wait)
        else:
            heappush(self._others, (wait.ends, next(self._order), wait))
        self._budget.add(WAIT_SIZE)
        return True

    def wake(self, incoming: bytes) -> Flow:
        """Remove and return the restored flow of a four-tuple."""
        wait = self.by_name[incoming]
        self._drop(wait)
        flow = wait.flow(self._config, self._budget)
        flow.demux = self._demux
        self._demux.reattach(flow.four_tuple, flow)
        return flow

    def replace(self, incoming: bytes, syn: Segment) -> int | None:
        """End the TIME-WAIT of a four-tuple if `syn` may open a new incarnation (RFC 6191).

        Returns the SND.NXT of the old connection; None if `syn` may not.
        """
        wait = self.by_name[incoming]
        kept = wait.kept
        ts_recent = kept["ts_recent"] if kept["timestamps"] else None
        if not opens_anew(syn, ts_recent, kept["rcv_nxt"]):
            return None
        self._end(wait)
        snd_nxt: int = kept["snd_nxt"]
        return snd_nxt

    def reuse(self, incoming: bytes) -> int | None:
        """End the TIME-WAIT of that four-tuple for an active open, if it used timestamps.

        PAWS rejects old segments in the new connection, at both ends. Linux allows it at once,
        too, for a port that the application has chosen.

        Returns the SND.NXT of the old connection; None if there is no such TIME-WAIT.
        """
        wait = self.by_name.get(incoming)
        if wait is None or not (kept := wait.kept)["timestamps"]:
            return None
        self._end(wait)
        snd_nxt: int = kept["snd_nxt"]
        return snd_nxt

    def is_reusable(self, incoming: bytes, now: float) -> bool:
        """Whether an ephemeral port may :meth:`reuse` the four-tuple (Linux's tcp_tw_reuse).

        Not in the first second, as on Linux.
        """
        wait = self.by_name[incoming]
        kept = wait.kept
        is_old_enough: bool = now >= wait.ends - 2 * kept["msl"] + _REUSE_DELAY
        return is_old_enough and kept["timestamps"]

    def evict_oldest(self) -> bool:
        """Evict the TIME-WAIT that expires first; returns whether there was one."""
        first = self._first
        if first is None:
            return False
        self._end(first)
        return True

    @property
    def _first(self) -> TimeWait | None:
        """The TIME-WAIT that expires first."""
        queue, others = self._queue, self._others
        if others and (not queue or others[0][0] < queue[0].ends):
            return others[0][2]
        return queue[0] if queue else None

    def clear(self) -> None:
        """Remove all."""
        while self.evict_oldest():
            pass

    def deadline(self) -> float | None:
        """When to call :meth:`expire`, in seconds; None if never."""
        if not self._others:
            return self._queue[0].ends if self._queue else None
        first = self._first
        return None if first is None else first.ends

    def expire(self, now: float) -> None:
        """Remove all that have expired."""
        while (first := self._first) is not None and first.ends <= now:
            self._end(first)

    def _end(self, wait: TimeWait) -> None:
        self._drop(wait)
        self._demux.release_port(wait.name)

    def _drop(self, wait: TimeWait) -> None:
        del self.by_name[wait.name]
        self._budget.add(-WAIT_SIZE)
        queue, by_name = self._queue, self.by_name
        while queue and by_name.get(queue[0].name) is not queue[0]:
            queue.popleft()
        others = self._others
        while others and by_name.get(others[0][2].name) is not others[0][2]:
            heappop(others)
        # Each segment replaces an object and leaves a stale one, so bound those.
        if len(queue) > 2 * len(by_name) + _FEW:
            self._queue = deque([each for each in queue if by_name.get(each.name) is each])
        if len(others) > 2 * len(by_name) + _FEW:
            self._others = [each for each in others if by_name.get(each[2].name) is each[2]]
            heapify(self._others)
