"""The eleven states of a connection, and the permitted transitions (RFC 9293 section 3.3.2).

Rule 1: no other file changes a state but through :class:`StateMachine`, and it permits only what
stands in `TRANSITIONS`. Rule 2: this file knows neither segments nor timers. The diagram of
the documentation is generated from the table, and a test walks every row of it.

Three lines of RFC 9293's Figure 5 have no row, because nothing here can take them: LISTEN to
SYN-SENT (a SEND on a listening connection, which no sockets API offers), SYN-RECEIVED to
FIN-WAIT-1 (a CLOSE waits for ESTABLISHED, the other choice of section 3.10.4) and FIN-WAIT-1 to
TIME-WAIT (a segment with both the FIN and our ACK passes through FIN-WAIT-2 on its way).
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from tunstack.compiled import mypyc_attr


class State(Enum):
    """RFC 9293 section 3.3.2. The value is the RFC's spelling."""

    LISTEN = "LISTEN"
    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"
    CLOSED = "CLOSED"

    # Enum's own hash is Python code, and the path of every segment looks states up in sets.
    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


# The states once more, by name alone: to look a member up in its class takes Python 3.11 ten times
# as long, and each segment has several to compare with.
LISTEN: Final = State.LISTEN
SYN_SENT: Final = State.SYN_SENT
SYN_RECEIVED: Final = State.SYN_RECEIVED
ESTABLISHED: Final = State.ESTABLISHED
FIN_WAIT_1: Final = State.FIN_WAIT_1
FIN_WAIT_2: Final = State.FIN_WAIT_2
CLOSE_WAIT: Final = State.CLOSE_WAIT
CLOSING: Final = State.CLOSING
LAST_ACK: Final = State.LAST_ACK
TIME_WAIT: Final = State.TIME_WAIT
CLOSED: Final = State.CLOSED


class Transition(NamedTuple):
    """A permitted transition, its cause, and its section of RFC 9293."""

    before: State
    after: State
    cause: str
    section: str


TRANSITIONS: Final[tuple[Transition, ...]] = (
    Transition(CLOSED, LISTEN, "passive OPEN", "3.10.1"),
    Transition(CLOSED, SYN_SENT, "active OPEN / SYN", "3.10.1"),
    Transition(LISTEN, SYN_RECEIVED, "rcv SYN / SYN,ACK", "3.10.7.2"),
    Transition(LISTEN, CLOSED, "CLOSE", "3.10.4"),
    Transition(SYN_SENT, ESTABLISHED, "rcv SYN,ACK / ACK", "3.10.7.3"),
    Transition(SYN_SENT, SYN_RECEIVED, "rcv SYN / SYN,ACK", "3.10.7.3"),
    Transition(SYN_SENT, CLOSED, "rcv RST, CLOSE or timeout", "3.10.7.3"),
    Transition(SYN_RECEIVED, ESTABLISHED, "rcv ACK of SYN", "3.10.7.4"),
    Transition(SYN_RECEIVED, LISTEN, "rcv RST, after passive OPEN", "3.10.7.4"),
    Transition(SYN_RECEIVED, CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(ESTABLISHED, FIN_WAIT_1, "CLOSE / FIN", "3.10.4"),
    Transition(ESTABLISHED, CLOSE_WAIT, "rcv FIN / ACK", "3.10.7.4"),
    Transition(ESTABLISHED, CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(FIN_WAIT_1, FIN_WAIT_2, "rcv ACK of FIN", "3.10.7.4"),
    Transition(FIN_WAIT_1, CLOSING, "rcv FIN / ACK", "3.10.7.4"),
    Transition(FIN_WAIT_1, CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(FIN_WAIT_2, TIME_WAIT, "rcv FIN / ACK", "3.10.7.4"),
    Transition(FIN_WAIT_2, CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(CLOSE_WAIT, LAST_ACK, "CLOSE / FIN", "3.10.4"),
    Transition(CLOSE_WAIT, CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(CLOSING, TIME_WAIT, "rcv ACK of FIN", "3.10.7.4"),
    Transition(CLOSING, CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(LAST_ACK, CLOSED, "rcv ACK of FIN, RST, ABORT or timeout", "3.10.7.4"),
    Transition(TIME_WAIT, CLOSED, "2 MSL of quiet, rcv RST or a new SYN", "3.10.8"),
)
_PERMITTED: Final = frozenset((row.before, row.after) for row in TRANSITIONS)

SYNCHRONIZED: Final = frozenset(
    {
        ESTABLISHED,
        FIN_WAIT_1,
        FIN_WAIT_2,
        CLOSE_WAIT,
        CLOSING,
        LAST_ACK,
        TIME_WAIT,
    }
)
"""States in which both sides agree on sequence numbers (RFC 9293 section 3.5.1)."""

CAN_RECEIVE: Final = frozenset({ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2})
"""States in which the peer's half is open, so that data may arrive."""

CAN_SEND: Final = frozenset({ESTABLISHED, CLOSE_WAIT})
"""States in which our half is open, so that the application may send."""


class ForbiddenTransitionError(Exception):
    """A bug in this stack: a change of state that no row of `TRANSITIONS` permits."""


@mypyc_attr(allow_interpreted_subclasses=True)
class StateMachine:
    """The state of one connection; the base class of
    :class:`~tunstack.tcp.connection.connection.Connection`.

    Attributes:
        state: The present state; read it, and let :meth:`enter` change it.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = CLOSED

    def enter(self, state: State) -> None:
        """Change to `state`.

        Raises:
            ForbiddenTransitionError: `TRANSITIONS` has no such row.
        """
        if (self.state, state) not in _PERMITTED:
            raise ForbiddenTransitionError(f"{self.state} -> {state}")
        self.state = state
        self._state_changed()

    def restore_state(self, state: State) -> None:
        """Set the state without a transition, as a connection is restored."""
        self.state = state

    def _state_changed(self) -> None:
        """Called after each transition."""
