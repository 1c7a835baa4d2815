"""Connections in TIME-WAIT that nobody owns: what is left of them, and when it goes.

Whoever closes first waits for 2 MSL (RFC 9293 section 3.6.1): a busy server has many times more
connections in TIME-WAIT than in use. All that may happen to one of them is that a segment comes,
which is rare. So a flow there is replaced by a small object;
:mod:`tunstack.tcp.connection.arrival`, which has the rules, gets a flow again when a segment comes,
and that is replaced again after it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from heapq import heapify, heappop, heappush
from ipaddress import ip_address
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tunstack.ip.demux import FourTuple
from tunstack.stack.flow import Flow, TcpInfo
from tunstack.tcp.connection.arrival import opens_anew
from tunstack.tcp.connection.challenge import ChallengeLimit
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.ip.demux import Demultiplexer
    from tunstack.tcp.budget import Budget
    from tunstack.tcp.config import Config
    from tunstack.tcp.segment import Segment

WAIT_SIZE: Final = 320
"""Octets that a connection takes then: measured with CPython 3.11, rounded."""

_REUSE_DELAY: Final = 1.0
"""Seconds: Linux's tcp_tw_reuse_delay."""

_FEW: Final = 16


class _Kept(NamedTuple):
    """What a flow in TIME-WAIT must know: of its config, and of what came and went."""

    number: int
    msl: float
    ts_recent_at: float
    challenged_since: float
    receive_size: int
    snd_nxt: int
    snd_wnd: int
    snd_wl1: int
    snd_wl2: int
    max_wnd: int
    rcv_nxt: int
    rcv_edge: int
    rcv_mss: int
    ts_offset: int
    ts_recent: int
    last_ack_sent: int
    ttl: int
    tos: int
    received_tos: int
    snd_shift: int
    rcv_shift: int
    challenges: int
    sack: bool
    timestamps: bool
    ecn: bool
    ecn_echo: bool
    rfc1337: bool


_LAYOUT: Final = Struct("=Q3dQ11I6B5?")
"""Of `_Kept`: as one bytes object it takes an eighth of what it would as numbers."""


def _kept(flow: Flow) -> bytes:
    sender, receiver, config, challenges = flow.sender, flow.receiver, flow.config, flow.challenges
    return _LAYOUT.pack(
        flow.number,
        config.msl,
        flow.ts_recent_at,
        float("-inf") if challenges is None else challenges.begin,
        receiver.size,
        sender.nxt,
        sender.wnd,
        sender.wl1,
        sender.wl2,
        sender.max_wnd,
        receiver.nxt,
        receiver.edge,
        receiver.mss,
        flow.ts_offset,
        flow.ts_recent,
        flow.last_ack_sent,
        config.ttl,
        config.tos,
        flow.received_tos,
        sender.shift,
        receiver.shift,
        0 if challenges is None else min(challenges.count, 0xFF),
        sender.recovery.sack,
        flow.timestamps_ok,
        flow.ecn.capable,
        flow.ecn.echo,
        config.rfc1337,
    )


class TimeWait:
    """What is left of a connection in TIME-WAIT.

    Attributes:
        name: `FourTuple.incoming`.
        ends: When 2 MSL are over, in seconds.
    """

    __slots__ = ("_kept", "ends", "name")

    def __init__(self, flow: Flow) -> None:
        assert flow.quiet.at is not None
        self.name = flow.four_tuple.incoming
        self.ends = flow.quiet.at
        self._kept = _kept(flow)

    @property
    def number(self) -> int:
        """Which of the stack's connections it is, in the order in which they began."""
        return self.kept.number

    @property
    def kept(self) -> _Kept:
        """What it keeps, in readable form."""
        return _Kept._make(_LAYOUT.unpack(self._kept))

    def flow(self, config: Config, budget: Budget) -> Flow:
        """A flow like the one that it is left of.

        Args:
            config: The host's; what the connection had otherwise, and still matters, is kept.
            budget: The host's memory.
        """
        kept = self.kept
        config = _with(config, msl=kept.msl, rfc1337=kept.rfc1337, ttl=kept.ttl, tos=kept.tos)
        flow = Flow(
            FourTuple.from_incoming(self.name),
            config,
            iss=kept.snd_nxt,
            ts_offset=kept.ts_offset,
            budget=budget,
        )
        flow.number = kept.number
        flow.sender.recovery.sack = kept.sack
        flow.timestamps_ok = kept.timestamps
        flow.ts_recent, flow.ts_recent_at = kept.ts_recent, kept.ts_recent_at
        flow.last_ack_sent = kept.last_ack_sent
        flow.received_tos = kept.received_tos
        flow.ecn.agreed = flow.ecn.capable = kept.ecn
        flow.ecn.echo = kept.ecn_echo
        if kept.challenges:
            flow.challenges = ChallengeLimit()
            flow.challenges.begin = kept.challenged_since
            flow.challenges.count = kept.challenges
        _restore_halves(flow, kept)
        # It sends no data any more, but what it hears, of marks for one, is passed on.
        flow.sender.congestion.set_mss(flow.sender.mss, config.initial_window)
        flow.quiet.resume_time_wait(self.ends)
        flow.be_again(State.TIME_WAIT)
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
            rtt=None,
            rttvar=0.0,
            min_rtt=None,
            rto=0.0,
            snd_cwnd=0,
            snd_ssthresh=0,
            snd_wnd=kept.snd_wnd,
            rcv_wnd=(kept.rcv_edge - kept.rcv_nxt) & 0xFFFFFFFF,
            snd_mss=0,
            pmtu=0,
            rcv_mss=kept.rcv_mss,
            unacked=0,
            notsent=0,
            unread=0,
            out_of_order=0,
            bytes_acked=0,
            bytes_received=0,
            retransmits=0,
            timestamps=kept.timestamps,
            sack=kept.sack,
            ecn=kept.ecn,
            congestion="",
            rcv_tos=kept.received_tos,
            snd_wscale=kept.snd_shift,
            rcv_wscale=kept.rcv_shift,
            soft_error=None,
        )


def _with(config: Config, **fields: Any) -> Config:
    """`config` with other `fields`; mostly it has them already."""
    if all(getattr(config, name) == value for name, value in fields.items()):
        return config
    return replace(config, **fields)


def _restore_halves(flow: Flow, kept: _Kept) -> None:
    sender, receiver = flow.sender, flow.receiver
    sender.all_was_said()
    sender.wnd, sender.max_wnd, sender.shift = kept.snd_wnd, kept.max_wnd, kept.snd_shift
    sender.wl1, sender.wl2 = kept.snd_wl1, kept.snd_wl2
    receiver.all_was_heard(kept.rcv_nxt, kept.rcv_edge)
    receiver.size, receiver.mss, receiver.shift = kept.receive_size, kept.rcv_mss, kept.rcv_shift
    receiver.tuning = None


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
        demux.waiting = self._by_name

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[TimeWait]:
        return iter(self._by_name.values())

    def take(self, flow: Flow) -> bool:
        """Put a small object in place of a flow that only waits; False if it is gone already."""
        wait = TimeWait(flow)
        if not self._demux.leave(flow.four_tuple, flow):
            return False
        flow.end_stories()  # They refer to it: it would take a garbage collection to free it.
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
        self._demux.come_back(flow.four_tuple, flow)
        return flow

    def replace(self, incoming: bytes, syn: Segment) -> int | None:
        """If `syn` may open a new connection in place of the one of that name, forget that.

        Returns its SND.NXT then; else None.
        """
        wait = self._by_name[incoming]
        kept = wait.kept
        ts_recent = kept.ts_recent if kept.timestamps else None
        if not opens_anew(syn, ts_recent, kept.rcv_nxt):
            return None
        self._end(wait)
        return kept.snd_nxt

    def give_way(self, incoming: bytes) -> int | None:
        """Forget the one of that name, if there is one and we may open a new one in its place.

        So it is with timestamps: PAWS keeps what is left of the old one out of the new, at the peer
        and here. Linux allows it at once, too, for a port that the application has chosen.

        Returns its SND.NXT then; else None.
        """
        wait = self._by_name.get(incoming)
        if wait is None or not wait.kept.timestamps:
            return None
        self._end(wait)
        return wait.kept.snd_nxt

    def is_reusable(self, incoming: bytes, now: float) -> bool:
        """Whether :meth:`give_way` is an option for a port that nobody has asked for.

        As by Linux's tcp_tw_reuse, not in the first second.
        """
        wait = self._by_name[incoming]
        kept = wait.kept
        return kept.timestamps and now >= wait.ends - 2 * kept.msl + _REUSE_DELAY

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
        self._demux.free(int.from_bytes(wait.name[-2:], "big"))

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
