"""A bench for one connection, on which a test reads like a packet trace.

    bench = established()
    bench.send(b"hello")
    bench.expect(ACK | PSH, seq=1, payload=b"hello")
    bench.advance(0.2)
    bench.expect(ACK | PSH, seq=1, payload=b"hello", note="retransmission: timeout")

The peer is the test: what the connection sends must be expected, in order, before the peer sends
more; what is left over at the end of a test fails it (`conftest.py`). Timers fire exactly at their
deadlines. Sequence numbers and timestamps are relative: ours to `iss`, the peer's to `irs`; the
tests that matter run with both near the wrap as well.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypedDict, Unpack

from tests.tcp.inspection import Tcb, TracedConnection, assert_snd_una_is_one
from tunstack.tcp.config import Config
from tunstack.tcp.connection.state import State
from tunstack.tcp.receiver.receiver import window_shift
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, Segment
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunstack.tcp.connection.connection import Connection
    from tunstack.tcp.connection.verdict import Verdict
    from tunstack.tcp.segment import Buffer

Numbers: TypeAlias = dict[str, Any]
"""Initial sequence numbers, as arguments for a bench."""

MSS: Final = 1000
"""Octets of data in a full segment, either way: the announced MSS less the timestamps."""
CONFIG: Final = Config(mss=MSS + 12, mtu_probing=0, receive_buffer=1 << 20, send_buffer=1 << 20)
DELAYED_ACK: Final = CONFIG.delayed_ack
"""Seconds that an ACK may wait."""
WSCALE: Final = window_shift(CONFIG.receive_buffer or 0)
"""The window scale that our SYN offers."""
AUTO: Final = -1
"""The peer's own clock, and the echo of our latest: what a peer's timestamps say by themselves."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the peer's SYN offers."""

    mss: int | None = MSS + 12
    wscale: int | None = 0
    sack_permitted: bool = True
    timestamps: bool = True
    wnd: int = 65535


WITHOUT_SACK: Final = Offer(sack_permitted=False)
NO_OPTIONS: Final = Offer(mss=MSS, wscale=None, sack_permitted=False, timestamps=False)
"""A peer of the old school, but for its MSS."""


class Sent(NamedTuple):
    """A segment with relative numbers, and when it was sent."""

    at: float
    segment: Segment


class Fields(TypedDict, total=False):
    """What :meth:`Trace.expect` can look at."""

    seq: int
    ack: int
    wnd: int
    up: int
    payload: bytes
    mss: int | None
    wscale: int | None
    sack_permitted: bool
    sack: tuple[tuple[int, int], ...]
    ts_val: int | None
    ts_ecr: int
    ecn: int
    fast_open: bytes | None
    note: str


_ABSENT_UNLESS_NAMED: Final = Fields(
    up=0, payload=b"", mss=None, wscale=None, sack_permitted=False, sack=(), fast_open=None
)


class Trace:
    """What was sent, until it is expected."""

    unfinished: Final[list[Trace]] = []
    """All that the present test made."""

    def __init__(self) -> None:
        self.pending: deque[Sent] = deque()
        self.unfinished.append(self)

    def expect(
        self,
        flags: int,
        *,
        at: float | None = None,
        size: int | None = None,
        **fields: Unpack[Fields],
    ) -> Segment:
        """The next segment sent has exactly these flags and fields; `size` stands for a payload.

        Data and options are there only if they are named; other fields may be anything. Data may
        have a PSH that is not named: test_push.py tells when.
        """
        assert self.pending, "nothing was sent"
        sent, segment = self.pending.popleft()
        if segment.payload:
            flags |= segment.flags & PSH
        wanted = {**_ABSENT_UNLESS_NAMED, **fields}
        if size is not None:
            wanted["payload"] = segment.payload
            assert len(segment.payload) == size
        assert segment == replace(segment, flags=flags, **wanted)  # type: ignore[arg-type]
        if at is not None:
            assert round(sent - at, 9) == 0
        return segment

    def expect_nothing(self) -> None:
        """All that was sent has been expected."""
        assert not self.pending, f"not expected: {[*self.pending]}"

    def drain(self) -> list[Sent]:
        """Take all that was sent, whatever it is."""
        sent = [*self.pending]
        self.pending.clear()
        return sent


class Bench(Trace, Tcb):
    """One connection, its clock, its peer, its application, and the owner who hears of its fate.

    What the connection knows is read as of any :class:`~tests.tcp.inspection.Tcb`: `bench.cwnd`.

    Attributes:
        states: Those that it has passed through.
    """

    def __init__(
        self,
        config: Config = CONFIG,
        *,
        iss: int = 0,
        irs: int = 0,
        peer: Offer | None = None,
    ) -> None:
        connection = TracedConnection(config, iss=iss, ts_offset=iss, owner=self)
        Trace.__init__(self)
        Tcb.__init__(self, connection, iss, irs)
        self.states = connection.states
        self.now = 0.0
        self.peer = peer or Offer()
        self.peer_wnd = self.peer.wnd
        self.told: list[str] = []
        self._batching = False
        self._ts_seen = 0

    # What the owner is asked and told

    def may_open(self) -> bool:
        return True

    def opened(self, connection: Connection) -> None:
        self.told.append("opened")

    def opened_early(self, connection: Connection) -> None:
        self.told.append("opened early")

    def failed_to_open(self, connection: Connection) -> None:
        self.told.append("failed")

    # What the peer does

    def arrive(
        self,
        flags: int,
        *,
        seq: int | None = None,
        ack: int | None = None,
        payload: Buffer = b"",
        wnd: int | None = None,
        up: int = 0,
        ts_val: int | None = AUTO,
        ts_ecr: int = AUTO,
        mss: int | None = None,
        wscale: int | None = None,
        sack_permitted: bool = False,
        sack: tuple[tuple[int, int], ...] = (),
        ecn: int = 0,
        fast_open: bytes | None = None,
    ) -> Verdict:
        """A segment of the peer's arrives; what it does not say follows from what went before.

        That is: the next number that we expect, an ACK of all that we sent, the window that the
        peer offered last, and timestamps if both sides use them.
        """
        self.expect_nothing()
        if wnd is not None:
            self.peer_wnd = wnd
        segment = Segment(
            ((self.rcv_nxt if seq is None else seq) + self.irs) & MASK,
            flags=flags,
            wnd=self.peer_wnd,
            up=up,
            payload=payload,
            mss=mss,
            wscale=wscale,
            sack_permitted=sack_permitted,
            sack=tuple((_plus(left, self.iss), _plus(right, self.iss)) for left, right in sack),
            ecn=ecn,
            fast_open=fast_open,
        )
        if flags & ACK:
            segment.ack = ((self.snd_nxt if ack is None else ack) + self.iss) & MASK
        if ts_val == AUTO:
            ts_val = int(self.now * 1000) if self.timestamps_ok else None
        if ts_val is not None:
            segment.ts_val = (self.irs + ts_val) & MASK
            segment.ts_ecr = self._ts_seen if ts_ecr == AUTO else (self.iss + ts_ecr) & MASK
        verdict = self.connection.segment_arrives(segment, self.now)
        self.flush()
        return verdict

    def arrive_syn(
        self, flags: int = SYN, *, ack: int = 1, fast_open: bytes | None = None
    ) -> Verdict:
        """The peer's SYN, with all that it offers."""
        peer = self.peer
        return self.arrive(
            flags,
            seq=0,
            ack=ack,
            mss=peer.mss,
            wscale=peer.wscale,
            sack_permitted=peer.sack_permitted,
            ts_val=int(self.now * 1000) if peer.timestamps else None,
            fast_open=fast_open,
        )

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What arrives, or is called, within is one batch: we send after all of it."""
        self._batching = True
        yield
        self._batching = False
        self.flush()

    # What the application does

    @property
    def state(self) -> State:
        return self.connection.state

    def expect_state(self, state: State) -> None:
        assert self.connection.state is state

    @property
    def errno(self) -> int | None:
        """Of what ended the connection, if something did."""
        return None if self.connection.error is None else self.connection.error.errno

    def open_active(self) -> None:
        self.connection.open_active()
        self.flush()

    def send(self, data: Buffer, *, urgent: bool = False) -> int:
        taken = self.connection.send(data, self.now, urgent=urgent)
        self.flush()
        return taken

    def receive(self, limit: int = 1 << 20) -> bytes:
        data = self.connection.receive(limit)
        self.flush()
        return data

    def reconfigure(self, config: Config) -> None:
        self.connection.reconfigure(config)
        self.flush()

    def shutdown(self) -> None:
        self.connection.shutdown()
        self.flush()

    def close(self) -> None:
        self.connection.close()
        self.flush()

    def abort(self) -> None:
        self.connection.abort()
        self.flush()

    # Time

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.run_until(self.now + seconds)

    def wait(self) -> None:
        """Let time pass until a timer makes the connection send something."""
        self.expect_nothing()
        while not self.pending:
            deadline = self.connection.deadline()
            assert deadline is not None, "no timer runs"
            self.run_until(max(self.now, deadline))

    def run_until(self, when: float) -> None:
        """Let time pass until `when`; each timer fires at its deadline."""
        self.expect_nothing()
        for _ in range(10_000):
            deadline = self.connection.deadline()
            if deadline is None or deadline > when:
                self.now = when
                return
            self.now = max(self.now, deadline)
            self.connection.handle_timer(self.now)
            self.flush()
        raise AssertionError(f"the timer fires again and again at {self.now}")

    def flush(self) -> None:
        """Collect what the connection sends, if that is not to wait for the end of a batch."""
        if self._batching:
            return
        for segment in self.connection.transmit(self.now):
            if segment.ts_val is not None:
                self._ts_seen = segment.ts_val
            self.pending.append(Sent(self.now, self._relative(segment)))
        assert_snd_una_is_one(self.connection.sender)

    def _relative(self, segment: Segment) -> Segment:
        ts_val, answered = segment.ts_val, segment.flags & (SYN | ACK) != SYN
        return replace(
            segment,
            seq=(segment.seq - self.iss) & MASK,
            ack=(segment.ack - self.irs) & MASK if segment.flags & ACK else segment.ack,
            payload=bytes(segment.payload),
            sack=tuple(
                (_less(start, self.irs), _less(end, self.irs)) for start, end in segment.sack
            ),
            ts_val=None if ts_val is None else _less(ts_val, self.iss),
            ts_ecr=_less(segment.ts_ecr, self.irs) if ts_val is not None and answered else 0,
        )


def _less(number: int, origin: int) -> int:
    return (number - origin) & MASK


def _plus(number: int, origin: int) -> int:
    return (number + origin) & MASK


# How a bench gets into each of the eleven states, by real segments. The arguments are `Bench`'s.


def closed(**setup: Any) -> Bench:
    return Bench(**setup)


def listening(**setup: Any) -> Bench:
    bench = Bench(**setup)
    bench.connection.open_passive()
    return bench


def syn_sent(**setup: Any) -> Bench:
    bench = Bench(**setup)
    bench.open_active()
    bench.drain()
    return bench


def syn_received(**setup: Any) -> Bench:
    """By a passive OPEN."""
    bench = listening(**setup)
    bench.arrive_syn()
    bench.drain()
    return bench


def crossed(**setup: Any) -> Bench:
    """SYN-RECEIVED by a simultaneous OPEN."""
    bench = syn_sent(**setup)
    bench.arrive_syn()
    bench.drain()
    return bench


def established(**setup: Any) -> Bench:
    bench = syn_sent(**setup)
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    return bench


def accepted(**setup: Any) -> Bench:
    """ESTABLISHED by a passive OPEN."""
    bench = syn_received(**setup)
    bench.arrive(ACK)
    bench.drain()
    return bench


def fin_wait_1(**setup: Any) -> Bench:
    bench = established(**setup)
    bench.shutdown()
    bench.drain()
    return bench


def fin_wait_2(**setup: Any) -> Bench:
    bench = fin_wait_1(**setup)
    bench.arrive(ACK)
    return bench


def closing(**setup: Any) -> Bench:
    bench = fin_wait_1(**setup)
    bench.arrive(FIN | ACK, ack=1)
    bench.drain()
    return bench


def time_wait(**setup: Any) -> Bench:
    bench = fin_wait_2(**setup)
    bench.arrive(FIN | ACK)
    bench.drain()
    return bench


def close_wait(**setup: Any) -> Bench:
    bench = established(**setup)
    bench.arrive(FIN | ACK)
    bench.drain()
    return bench


def last_ack(**setup: Any) -> Bench:
    bench = close_wait(**setup)
    bench.shutdown()
    bench.drain()
    return bench


IN_STATE: Final[dict[State, Callable[..., Bench]]] = {
    State.CLOSED: closed,
    State.LISTEN: listening,
    State.SYN_SENT: syn_sent,
    State.SYN_RECEIVED: syn_received,
    State.ESTABLISHED: established,
    State.FIN_WAIT_1: fin_wait_1,
    State.FIN_WAIT_2: fin_wait_2,
    State.CLOSE_WAIT: close_wait,
    State.CLOSING: closing,
    State.LAST_ACK: last_ack,
    State.TIME_WAIT: time_wait,
}


def reset(bench: Bench) -> None:
    """A RST that no rule can doubt."""
    flags = RST | ACK if bench.state is State.SYN_SENT else RST
    bench.arrive(flags)
