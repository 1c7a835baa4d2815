"""The transmission control block as the tests see it: the only file that knows how it is built.

    tcb = Tcb(flow)
    assert (tcb.cwnd, tcb.phase) == (10 * MSS, Phase.OPEN)

Names are those of RFC 9293 section 3.3.1 and of Linux's TCP_INFO; times are in seconds, sizes in
octets. A bench (:mod:`tests.tcp.harness`) is one, of its own connection. A part that has tests of
its own (the scoreboard, RACK, a congestion control) is given as it is, to call its methods.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from tunstack.tcp.budget import Budget
from tunstack.tcp.config import Config
from tunstack.tcp.connection.connection import Connection
from tunstack.tcp.recovery.sent_by_time import SentByTime
from tunstack.tcp.sender import sizing
from tunstack.tcp.sender.mtu_probing import MtuSearch
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.tcp.congestion import CongestionControl
    from tunstack.tcp.connection.fast_open import FastOpen
    from tunstack.tcp.connection.state import State
    from tunstack.tcp.receiver.reassembly import Reassembly
    from tunstack.tcp.recovery.rack import Rack
    from tunstack.tcp.recovery.recovery_variables import Phase
    from tunstack.tcp.recovery.scoreboard import Scoreboard
    from tunstack.tcp.sender.sender import Sender

_VARIABLES: Final = attrgetter(
    *("state", "error", "soft_error", "reports", "ts_recent", "ts_recent_at", "timestamps_ok"),
    *(
        "sack_ok",
        "peer_mss",
        "idle_timers.at",
        "idle_timers.probes",
        "ecn.agreed",
        "ecn.capable",
        "ecn.echo",
    ),
)
_SEND_VARIABLES: Final = attrgetter(
    *("una", "nxt", "wnd", "wl1", "wl2", "max_wnd", "shift", "unanswered", "stalled_since"),
    *("timer", "early_timer", "congestion.cwnd", "recovery.pipe", "recovery.phase"),
)
_RECEIVE_VARIABLES: Final = attrgetter(
    *("irs", "nxt", "edge", "fin", "finished", "urgent", "buffer.size", "reassembly.size"),
)


class TracedConnection(Connection):
    """A connection that notes the states it passes through, in `states`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.states = [self.state]

    def enter(self, state: State) -> None:
        self.states.append(state)
        super().enter(state)


def state(thing: Any) -> Any:
    """All that `thing` knows, however deep, to be compared."""
    if isinstance(thing, list):
        return [state(each) for each in thing]
    if isinstance(thing, Budget):  # The stack's, which accounts for some connections later.
        return thing.limit
    if isinstance(thing, SentByTime):  # What it keeps beside the ranges is for speed.
        return sorted((sent.time, sent.start, sent.end) for sent in thing)
    slots = attributes(thing)
    if not slots or isinstance(thing, (Config, tuple)):
        return thing
    return type(thing), {name: state(getattr(thing, name)) for name in slots}


def attributes(thing: Any) -> list[str]:
    """The names of the attributes of what has slots; mypyc makes a class without, and a list."""
    return list(
        dict.fromkeys(
            name
            for kind in type(thing).__mro__
            for name in getattr(kind, "__slots__", getattr(kind, "__mypyc_attrs__", ()))
        )
    )


def assert_snd_una_is_one(sender: Sender) -> None:
    """SND.UNA stands in the sender, on the scoreboard and in the buffer: all of them agree.

    On the scoreboard it counts from ISS on. In the buffer, SYN and FIN are no data.
    """
    una = sender.una
    assert una == (sender.iss + sender.recovery.board.una) & MASK
    octets = una + (not sender.synchronized) - sender.fin_acknowledged
    assert octets & MASK == sender.buffer.start


class Tcb:
    """What a connection knows; what has a setter, a test may set.

    Sequence numbers are relative to `iss` and `irs`, so absolute where these are 0.
    """

    def __init__(self, connection: Connection, iss: int = 0, irs: int = 0) -> None:
        self.connection = connection
        self.iss = iss
        self.irs = irs

    # Send sequence variables (RFC 9293 section 3.3.1)

    @property
    def initial_seq(self) -> int:
        """ISS, absolute."""
        return self.connection.sender.iss

    @property
    def snd_una(self) -> int:
        return (self.connection.sender.una - self.iss) & MASK

    @property
    def snd_nxt(self) -> int:
        return (self.connection.sender.nxt - self.iss) & MASK

    @snd_nxt.setter
    def snd_nxt(self, seq: int) -> None:
        self.connection.sender.nxt = (seq + self.iss) & MASK

    @property
    def snd_end(self) -> int:
        """The number behind all that is queued, a FIN included."""
        return (self.connection.sender.end - self.iss) & MASK

    @property
    def snd_wnd(self) -> int:
        return self.connection.sender.wnd

    @snd_wnd.setter
    def snd_wnd(self, size: int) -> None:
        self.connection.sender.wnd = size

    @property
    def snd_wscale(self) -> int:
        return self.connection.sender.shift

    @property
    def snd_mss(self) -> int:
        return self.connection.sender.mss

    @snd_mss.setter
    def snd_mss(self, size: int) -> None:
        self.connection.sender.mss = size

    # The send buffer

    @property
    def outstanding(self) -> int:
        """Sequence numbers sent and not acknowledged."""
        return self.connection.sender.outstanding

    @property
    def unsent(self) -> int:
        """Octets queued and not sent."""
        return self.connection.sender.unsent

    @property
    def queued(self) -> int:
        """Octets that the send buffer holds, sent or not."""
        return self.connection.sender.buffer.size

    @property
    def acknowledged(self) -> int:
        """Octets of data acknowledged, in all."""
        return self.connection.sender.buffer.acknowledged

    @property
    def send_size(self) -> int:
        """The bound of what is sent or queued and not acknowledged, as it is now (SO_SNDBUF)."""
        return self.connection.sender.bound

    def set_send_size(self, size: int) -> None:
        """Set its least value; while the congestion window is larger, the bound is as well."""
        self.connection.sender.size = size

    def enqueue(self, data: bytes) -> None:
        """Put data into the send buffer without a call of the application's."""
        self.connection.sender.buffer.append(data)

    def wrap_to_iss(self) -> None:
        """Make SND.UNA and SND.NXT stand at ISS again, as after 4 GiB."""
        sender = self.connection.sender
        sender.una = sender.nxt = sender.buffer.start = sender.iss
        board = sender.recovery.board
        board.una = board.nxt = 1 << 32  # Its positions do not wrap.

    @property
    def synchronized(self) -> bool:
        """Whether our SYN is acknowledged."""
        return self.connection.sender.synchronized

    @property
    def fin_acknowledged(self) -> bool:
        return self.connection.sender.fin_acknowledged

    @property
    def nodelay(self) -> bool:
        """Whether the Nagle algorithm is off."""
        return self.connection.sender.nodelay

    @property
    def more(self) -> bool:
        """MSG_MORE."""
        return self.connection.sender.more

    @more.setter
    def more(self, value: bool) -> None:
        self.connection.sender.more = value

    @property
    def corked(self) -> bool:
        """TCP_CORK."""
        return self.connection.sender.corked

    @corked.setter
    def corked(self, value: bool) -> None:
        self.connection.sender.corked = value

    def push(self) -> None:
        """Let all go that is queued by now, small segments included."""
        self.connection.sender.push()

    @property
    def last_sent(self) -> float:
        """When something was last sent."""
        return self.connection.sender.last_sent

    @last_sent.setter
    def last_sent(self, when: float) -> None:
        self.connection.sender.last_sent = when

    # Congestion control

    @property
    def congestion(self) -> CongestionControl:
        return self.connection.sender.congestion

    @property
    def cwnd(self) -> int:
        return self.connection.sender.congestion.cwnd

    @cwnd.setter
    def cwnd(self, size: int) -> None:
        self.connection.sender.congestion.cwnd = size

    @property
    def ssthresh(self) -> int:
        return self.connection.sender.congestion.ssthresh

    @ssthresh.setter
    def ssthresh(self, size: int) -> None:
        self.connection.sender.congestion.ssthresh = size

    # Round-trip time and the retransmission timer (RFC 6298)

    @property
    def srtt(self) -> float | None:
        return self.connection.sender.rtt.srtt

    @property
    def rttvar(self) -> float:
        return self.connection.sender.rtt.rttvar

    @property
    def min_rtt(self) -> float | None:
        return self.connection.sender.rtt.min_rtt

    @property
    def rto(self) -> float:
        """Back-off included."""
        return self.connection.sender.rtt.rto

    def sample_rtt(self, rtt: float) -> None:
        """Take a measurement of the round-trip time."""
        self.connection.sender.rtt.sample(rtt)

    @property
    def retransmit_at(self) -> float | None:
        """When the retransmission or the persist timer fires, if one runs."""
        return self.connection.sender.timer

    @property
    def persisting(self) -> bool:
        """Whether that is the persist timer."""
        return self.connection.sender.persisting

    def stop_early_timer(self) -> None:
        """Neither probe for a lost tail nor look for overdue segments."""
        self.connection.sender.early_timer = None

    @property
    def unanswered(self) -> int:
        """How often in a row the timer fired for nothing (tcpi_backoff)."""
        return self.connection.sender.unanswered

    @property
    def retransmissions(self) -> int:
        """Segments sent again, in all."""
        return self.connection.sender.retransmissions

    # Loss recovery

    @property
    def phase(self) -> Phase:
        return self.connection.sender.recovery.phase

    @property
    def recovering(self) -> bool:
        return self.connection.sender.recovery.recovering

    @property
    def recover(self) -> int:
        """RFC 6582's *recover*, relative to ISS: SND.NXT when the last loss was found."""
        return self.connection.sender.recovery.recover

    @property
    def undone(self) -> int:
        """How many recoveries turned out to be spurious."""
        return self.connection.sender.recovery.undone

    @property
    def pipe(self) -> int:
        """RFC 6675's estimate of the octets in flight."""
        return self.connection.sender.recovery.pipe

    @property
    def sacked(self) -> int:
        """Octets that the peer has reported by SACK."""
        return self.connection.sender.recovery.board.sacked

    @property
    def lost(self) -> int:
        """Octets found lost and not sent again."""
        return self.connection.sender.recovery.board.lost

    @property
    def resent(self) -> int:
        """Octets sent again, and on their way."""
        return self.connection.sender.recovery.board.resent

    @property
    def board(self) -> Scoreboard:
        return self.connection.sender.recovery.board

    @property
    def rack(self) -> Rack:
        return self.connection.sender.recovery.rack

    @property
    def reordering_seen(self) -> bool:
        """RFC 8985's RACK.reordering_seen."""
        return self.connection.sender.recovery.rack.reordering_seen

    @reordering_seen.setter
    def reordering_seen(self, value: bool) -> None:
        self.connection.sender.recovery.rack.reordering_seen = value

    def lose_larger(self, size: int) -> None:
        """Take all that was sent in segments of more than `size` octets for lost."""
        self.connection.sender.recovery.mark_larger_lost(size)

    # Path MTU (RFC 1191, RFC 4821). Sizes are of segments, their options included.

    @property
    def path_size(self) -> int:
        """What the path is thought to carry."""
        return self.connection.sender.path.known

    @property
    def proven_size(self) -> int:
        """The largest that has arrived, options not counted."""
        return self.connection.sender.path.proven

    @proven_size.setter
    def proven_size(self, size: int) -> None:
        self.connection.sender.path.proven = size

    @property
    def told_size(self) -> int:
        """What routers have said, or the link's MTU."""
        return self.connection.sender.path.limit

    @property
    def path_has_changed(self) -> bool:
        """Whether others on the same path are to hear of its new size."""
        return self.connection.sender.path.pmtu_pending

    def search_anew(self, base: int) -> None:
        """Begin the search for the path's MTU again from `base`, with nothing tried."""
        path = self.connection.sender.path
        path.search = MtuSearch(base)
        path.trial = None

    def fragmentation_needed(self, seq: int, size: int, now: float) -> None:
        """A router reports that the segment at `seq` is too large, and what it carries."""
        self.connection.sender.too_large(size, (seq + self.iss) & MASK, now)

    def path_changed(self, size: int) -> None:
        """Another connection has found what the path carries."""
        sizing.path_changed(self.connection.sender, size)

    # Receive sequence variables and the receive buffer

    @property
    def rcv_nxt(self) -> int:
        return (self.connection.receiver.nxt - self.irs) & MASK

    @property
    def rcv_wnd(self) -> int:
        return self.connection.receiver.wnd

    @property
    def rcv_edge(self) -> int:
        """The right edge of the window, as the peer knows it."""
        return (self.connection.receiver.edge - self.irs) & MASK

    @property
    def rcv_wscale(self) -> int:
        return self.connection.receiver.shift

    @property
    def first_window(self) -> int:
        """The window that our SYN offers."""
        return self.connection.receiver.syn_window

    @property
    def receive_size(self) -> int:
        """The bound of what is received and not read, as it is now (SO_RCVBUF)."""
        return self.connection.receiver.size

    @property
    def receive_size_is_tuned(self) -> bool:
        """Whether it grows with what the application reads."""
        return self.connection.receiver.tuning is not None

    @property
    def budget(self) -> Budget:
        """The memory that the connection shares with others."""
        return self.connection.receiver.budget

    @budget.setter
    def budget(self, budget: Budget) -> None:
        self.connection.receiver.budget = budget

    @property
    def unread(self) -> int:
        """Octets received in order and not read."""
        return self.connection.receiver.buffer.size

    @property
    def received(self) -> int:
        """Octets received in order, in all."""
        return self.connection.receiver.buffer.total

    @property
    def reassembly(self) -> Reassembly:
        return self.connection.receiver.reassembly

    @property
    def out_of_order(self) -> int:
        """Octets received beyond a gap."""
        return self.connection.receiver.reassembly.size

    # Urgent data

    @property
    def urgent_signals(self) -> int:
        """How often the urgent mark was set, or moved on."""
        return self.connection.receiver.urgent_signals

    @property
    def urgent_remaining(self) -> int:
        """How many octets there are up to the end of the urgent data, arrived or not."""
        return self.connection.receiver.urgent_remaining

    @property
    def at_mark(self) -> bool:
        """SIOCATMARK."""
        return self.connection.receiver.at_mark

    def take_urgent(self) -> bytes:
        """Read the urgent octet (MSG_OOB)."""
        return self.connection.receiver.take_urgent()

    # What was agreed on

    @property
    def sack_ok(self) -> bool:
        return self.connection.sack_ok

    @property
    def timestamps_ok(self) -> bool:
        return self.connection.timestamps_ok

    @timestamps_ok.setter
    def timestamps_ok(self, value: bool) -> None:
        self.connection.timestamps_ok = value

    @property
    def ts_recent(self) -> int:
        """TS.Recent (RFC 7323 section 4.3)."""
        return (self.connection.ts_recent - self.irs) & MASK

    @property
    def ecn_agreed(self) -> bool:
        """Whether both sides take part in ECN."""
        return self.connection.ecn.agreed

    @property
    def ecn_capable(self) -> bool:
        """Whether what we send may be marked."""
        return self.connection.ecn.capable

    @property
    def fast_open(self) -> FastOpen | None:
        return self.connection.fast_open

    @fast_open.setter
    def fast_open(self, fast_open: FastOpen | None) -> None:
        self.connection.fast_open = fast_open

    # The whole

    @property
    def transfer_state(self) -> Any:
        """All that counts for the transfer of data: both halves, timestamps, ECN, timers."""
        connection = self.connection
        parts = (connection.sender, connection.receiver, connection.ecn, connection.idle_timers)
        stamps = (connection.ts_recent, connection.ts_recent_at, connection.last_ack_sent)
        return [state(part) for part in parts], stamps

    @property
    def on_fast_path(self) -> bool:
        """Whether the fast path may take the next segment (header prediction)."""
        return self.connection.on_fast_path

    @on_fast_path.setter
    def on_fast_path(self, value: bool) -> None:
        self.connection.on_fast_path = value

    @property
    def orphaned(self) -> bool:
        """Whether the application has gone."""
        return self.connection.orphaned

    def variables(self) -> tuple[object, ...]:
        """All that a segment could change, but for the ACKs that it draws."""
        connection = self.connection
        return (
            _VARIABLES(connection),
            _SEND_VARIABLES(connection.sender),
            _RECEIVE_VARIABLES(connection.receiver),
        )
