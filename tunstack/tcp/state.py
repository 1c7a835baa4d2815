"""The eleven states of a connection, and the only way from one to another (RFC 9293 section 3.3.2).

Rule 1: no other file changes a state but through :class:`StateMachine`, and it permits only what
stands in `TRANSITIONS`. Rule 2: this file knows neither segments nor timers. The diagram in README
is generated from the table (:mod:`tunstack.tcp.diagram`), and a test walks every row of it.

Three lines of RFC 9293's Figure 5 have no row, because nothing here can take them: LISTEN to
SYN-SENT (a SEND on a listening connection, which no sockets API offers), SYN-RECEIVED to
FIN-WAIT-1 (a CLOSE waits for ESTABLISHED, the other choice of section 3.10.4) and FIN-WAIT-1 to
TIME-WAIT (a segment with both the FIN and our ACK passes through FIN-WAIT-2 on its way).
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


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


class Transition(NamedTuple):
    """One permitted change of state, what causes it, and where the RFC says so."""

    before: State
    after: State
    cause: str
    section: str


S = State
TRANSITIONS: Final[tuple[Transition, ...]] = (
    Transition(S.CLOSED, S.LISTEN, "passive OPEN", "3.10.1"),
    Transition(S.CLOSED, S.SYN_SENT, "active OPEN / SYN", "3.10.1"),
    Transition(S.LISTEN, S.SYN_RECEIVED, "rcv SYN / SYN,ACK", "3.10.7.2"),
    Transition(S.LISTEN, S.CLOSED, "CLOSE", "3.10.4"),
    Transition(S.SYN_SENT, S.ESTABLISHED, "rcv SYN,ACK / ACK", "3.10.7.3"),
    Transition(S.SYN_SENT, S.SYN_RECEIVED, "rcv SYN / SYN,ACK", "3.10.7.3"),
    Transition(S.SYN_SENT, S.CLOSED, "rcv RST, CLOSE or timeout", "3.10.7.3"),
    Transition(S.SYN_RECEIVED, S.ESTABLISHED, "rcv ACK of SYN", "3.10.7.4"),
    Transition(S.SYN_RECEIVED, S.LISTEN, "rcv RST, after passive OPEN", "3.10.7.4"),
    Transition(S.SYN_RECEIVED, S.CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(S.ESTABLISHED, S.FIN_WAIT_1, "CLOSE / FIN", "3.10.4"),
    Transition(S.ESTABLISHED, S.CLOSE_WAIT, "rcv FIN / ACK", "3.10.7.4"),
    Transition(S.ESTABLISHED, S.CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(S.FIN_WAIT_1, S.FIN_WAIT_2, "rcv ACK of FIN", "3.10.7.4"),
    Transition(S.FIN_WAIT_1, S.CLOSING, "rcv FIN / ACK", "3.10.7.4"),
    Transition(S.FIN_WAIT_1, S.CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(S.FIN_WAIT_2, S.TIME_WAIT, "rcv FIN / ACK", "3.10.7.4"),
    Transition(S.FIN_WAIT_2, S.CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(S.CLOSE_WAIT, S.LAST_ACK, "CLOSE / FIN", "3.10.4"),
    Transition(S.CLOSE_WAIT, S.CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(S.CLOSING, S.TIME_WAIT, "rcv ACK of FIN", "3.10.7.4"),
    Transition(S.CLOSING, S.CLOSED, "rcv RST, ABORT or timeout", "3.10.7.4"),
    Transition(S.LAST_ACK, S.CLOSED, "rcv ACK of FIN, RST, ABORT or timeout", "3.10.7.4"),
    Transition(S.TIME_WAIT, S.CLOSED, "2 MSL of quiet, rcv RST or a new SYN", "3.10.8"),
)
del S

_PERMITTED: Final = frozenset((row.before, row.after) for row in TRANSITIONS)

SYNCHRONIZED: Final = frozenset(
    {
        State.ESTABLISHED,
        State.FIN_WAIT_1,
        State.FIN_WAIT_2,
        State.CLOSE_WAIT,
        State.CLOSING,
        State.LAST_ACK,
        State.TIME_WAIT,
    }
)
"""States in which both sides agree on sequence numbers (RFC 9293 section 3.5.1)."""

CAN_RECEIVE: Final = frozenset({State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2})
"""States in which the peer's half is open, so that data may arrive."""

CAN_SEND: Final = frozenset({State.ESTABLISHED, State.CLOSE_WAIT})
"""States in which our half is open, so that the application may send."""

FIN_SENT: Final = frozenset(
    {State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING, State.LAST_ACK, State.TIME_WAIT}
)
"""States in which our half is closed: the FIN is sent, or waits behind the data."""


class ForbiddenTransitionError(Exception):
    """A bug in this stack: a change of state that no row of `TRANSITIONS` permits."""


class StateMachine:
    """The state of one connection; the base class of :class:`~tunstack.tcp.connection.Connection`.

    Attributes:
        state: The present state; read it, and let :meth:`enter` change it.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State.CLOSED

    def enter(self, state: State) -> None:
        """Change to `state`.

        Raises:
            ForbiddenTransitionError: `TRANSITIONS` has no such row.
        """
        if (self.state, state) not in _PERMITTED:
            raise ForbiddenTransitionError(f"{self.state} -> {state}")
        self.state = state
        self._state_changed()

    def be_again(self, state: State) -> None:
        """Be in the state in which an earlier object for the same connection was; no change."""
        self.state = state

    def _state_changed(self) -> None:
        """Called after each change; the connection resumes the coroutine that waits for it."""
