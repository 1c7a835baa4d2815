"""Connections in TIME-WAIT that nobody owns: what is left of them, and when it goes.

Whoever closes first waits for 2 MSL (RFC 9293 section 3.6.1): a busy server has many times more
connections in TIME-WAIT than in use. All that may happen to one of them is that a segment comes,
which is rare. So a flow there is replaced by a small object;
:mod:`tunstack.tcp.connection.arrival`, which has the rules, gets a flow again when a segment comes,
and that is replaced again after it.
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
from tunstack.stack.flow import Flow, TcpInfo
from tunstack.tcp.connection.arrival import opens_anew
from tunstack.tcp.connection.challenge import ChallengeLimit
from tunstack.tcp.connection.state import State
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunstack.ip.demux import Demultiplexer
    from tunstack.tcp.budget import Budget
    from tunstack.tcp.config import Config
    from tunstack.tcp.segment import Segment

WAIT_SIZE: Final = 320
"""Octets that a connection takes then: measured with CPython 3.11, rounded."""

_REUSE_DELAY: Final = 1.0
"""Seconds: Linux's tcp_tw_reuse_delay."""

_FEW: Final = 16


class _Field(NamedTuple):
    """What a flow in TIME-WAIT must know.

    Attributes:
        name: What it is called here; as in `TcpInfo`, if that tells it.
        format: As `struct` has it.
        path: Where a flow has it.
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
"""As one bytes object it takes an eighth of what it would as numbers."""

_values: Final[Callable[[Flow], tuple[Any, ...]]] = eval(
    f"lambda flow: ({', '.join(f'flow.{field.path}' for field in _FIELDS)})"
)
"""Takes them from a flow; made as `namedtuple` makes its code: `attrgetter` takes three times as
long."""

_CONFIG_NAMES: Final = tuple(field.name for field in _FIELDS if field.path.startswith("config."))


def _place(path: str) -> tuple[Callable[[Flow], Any], str]:
    """What finds the object whose attribute is at `path` of a flow, and the attribute's name."""
    owner, _, attribute = path.rpartition(".")
    return (attrgetter(owner) if owner else lambda flow: flow), attribute


_RESTORED: Final = tuple(
    (field.name, *_place(field.path)) for field in _FIELDS if field.name not in _CONFIG_NAMES
)
_TOLD: Final = tuple(each.name for each in fields(TcpInfo) if each.name in _NAMES)
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
"""What `TcpInfo` says of everything else."""


class TimeWait:
    """What is left of a connection in TIME-WAIT.

    Attributes:
        name: `FourTuple.incoming`.
        ends: When 2 MSL are over, in seconds.
    """

    __slots__ = ("_kept", "ends", "name")

    def __init__(self, flow: Flow) -> None:
        assert flow.idle_timers.at is not None
        self.name = flow.four_tuple.incoming
        self.ends = flow.idle_timers.at
        self._kept = _LAYOUT.pack(*_values(flow))

    @property
    def number(self) -> int:
        """Which of the stack's connections it is, in the order in which they began."""
        number: int = self.kept["number"]
        return number

    @property
    def kept(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(zip(_NAMES, _LAYOUT.unpack(self._kept), strict=True))

    def flow(self, config: Config, budget: Budget) -> Flow:
        """A flow like the one that it is left of.

        Args:
            config: The host's; what the connection had otherwise, and still matters, is kept.
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
        # It sends no data any more, but what it hears, of marks for one, is passed on.
        sender.congestion.set_mss(sender.mss, flow.config.initial_window)
        flow.idle_timers.resume_time_wait(self.ends)
        flow.restore_state(State.TIME_WAIT)
        flow.observed = State.TIME_WAIT
        return flow

    def info(self) -> TcpInfo:
        """What is known of it."""
        kept = self.kept
        name = FourTuple.from_incoming(self.name)
        return TcpInfo(
            state=State.TIME_WAIT.value,
            local=(ip_address(name.local), name.local_port),
            remote=(ip_address(name.remote), name.remote_port),
            rcv_wnd=(kept["rcv_edge"] - kept["rcv_nxt"]) & MASK,
            **{name: kept[name] for name in _TOLD},
            **_UNKNOWN,
        )


def _with(config: Config, fields: dict[str, Any]) -> Config:
    """`config` with other `fields`; mostly it has them already."""
    if all(getattr(config, name) == value for name, value in fields.items()):
        return config
    return replace(config, **fields)


class TimeWaits:
    """All connections of a stack in TIME-WAIT that nobody owns.

    They stand in the order in which they end. As nearly all wait equally long, the next one goes to
    the end of it; those that do not, such as one that a segment has woken, have a heap beside it.
    """

    def __init__(self, demux: Demultiplexer[Flow, Any], config: Config, budget: Budget) -> None:
        self._demux = demux
        self._config = config
        self._budget = budget
        self._by_name: dict[bytes, TimeWait] = {}
        self._queue: deque[TimeWait] = deque()
        """Beside those in `_by_name`, some that are over; but the first is not."""
        self._others: list[tuple[float, int, TimeWait]] = []
        """The same, as a heap, of those that end before the last of the queue."""
        self._order = count()
        demux.time_waits = self._by_name

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[TimeWait]:
        return iter(self._by_name.values())

    def take(self, flow: Flow) -> bool:
        """Put a small object in place of a flow that only waits; False if it is gone already."""
        wait = TimeWait(flow)
        if not self._demux.detach(flow.four_tuple, flow):
            return False
        flow.close_coroutines()  # They refer to it: it would take a garbage collection to free it.
        queue = self._queue
        self._by_name[wait.name] = wait
        if not queue or queue[-1].ends <= wait.ends:
            queue.append(wait)
        else:
            heappush(self._others, (wait.ends, next(self._order), wait))
        self._budget.add(WAIT_SIZE)
        return True

    def wake(self, incoming: bytes) -> Flow:
        """The flow of a name that is here, and then no more."""
        wait = self._by_name[incoming]
        self._drop(wait)
        flow = wait.flow(self._config, self._budget)
        self._demux.reattach(flow.four_tuple, flow)
        return flow

    def replace(self, incoming: bytes, syn: Segment) -> int | None:
        """If `syn` may open a new connection in place of the one of that name, forget that.

        Returns its SND.NXT then; else None.
        """
        wait = self._by_name[incoming]
        kept = wait.kept
        ts_recent = kept["ts_recent"] if kept["timestamps"] else None
        if not opens_anew(syn, ts_recent, kept["rcv_nxt"]):
            return None
        self._end(wait)
        snd_nxt: int = kept["snd_nxt"]
        return snd_nxt

    def give_way(self, incoming: bytes) -> int | None:
        """Forget the one of that name, if there is one and we may open a new one in its place.

        So it is with timestamps: PAWS keeps what is left of the old one out of the new, at the peer
        and here. Linux allows it at once, too, for a port that the application has chosen.

        Returns its SND.NXT then; else None.
        """
        wait = self._by_name.get(incoming)
        if wait is None or not (kept := wait.kept)["timestamps"]:
            return None
        self._end(wait)
        snd_nxt: int = kept["snd_nxt"]
        return snd_nxt

    def is_reusable(self, incoming: bytes, now: float) -> bool:
        """Whether :meth:`give_way` is an option for a port that nobody has asked for.

        As by Linux's tcp_tw_reuse, not in the first second.
        """
        wait = self._by_name[incoming]
        kept = wait.kept
        is_old_enough: bool = now >= wait.ends - 2 * kept["msl"] + _REUSE_DELAY
        return is_old_enough and kept["timestamps"]

    def give_up_oldest(self) -> bool:
        """Forget the one whose wait ends first; returns whether there was one."""
        first = self._first
        if first is None:
            return False
        self._end(first)
        return True

    @property
    def _first(self) -> TimeWait | None:
        """The one whose wait ends first."""
        queue, others = self._queue, self._others
        if others and (not queue or others[0][0] < queue[0].ends):
            return others[0][2]
        return queue[0] if queue else None

    def clear(self) -> None:
        """Forget them all."""
        while self.give_up_oldest():
            pass

    def deadline(self) -> float | None:
        """When to call :meth:`expire`, in seconds; None if never."""
        if not self._others:
            return self._queue[0].ends if self._queue else None
        first = self._first
        return None if first is None else first.ends

    def expire(self, now: float) -> None:
        """Forget those whose wait is over."""
        while (first := self._first) is not None and first.ends <= now:
            self._end(first)

    def _end(self, wait: TimeWait) -> None:
        self._drop(wait)
        self._demux.release_port(wait.name)

    def _drop(self, wait: TimeWait) -> None:
        del self._by_name[wait.name]
        self._budget.add(-WAIT_SIZE)
        queue, by_name = self._queue, self._by_name
        while queue and by_name.get(queue[0].name) is not queue[0]:
            queue.popleft()
        others = self._others
        while others and by_name.get(others[0][2].name) is not others[0][2]:
            heappop(others)
        # Segments may come without end, and each makes a new object of an old one.
        if len(queue) > 2 * len(by_name) + _FEW:
            self._queue = deque(each for each in queue if by_name.get(each.name) is each)
        if len(others) > 2 * len(by_name) + _FEW:
            self._others = [each for each in others if by_name.get(each[2].name) is each[2]]
            heapify(self._others)
