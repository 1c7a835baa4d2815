"""The table of transitions: every row is walked by real segments, and nothing else is permitted."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

import pytest

from tests.tcp.harness import IN_STATE, Bench, Numbers, crossed, reset
from tunstack.tcp.connection.state import (
    CAN_RECEIVE,
    CAN_SEND,
    SYNCHRONIZED,
    TRANSITIONS,
    ForbiddenTransitionError,
    State,
    StateMachine,
)
from tunstack.tcp.segment import ACK, FIN, SYN

if TYPE_CHECKING:
    from collections.abc import Callable

S = State
ROWS: Final = {(row.before, row.after) for row in TRANSITIONS}


def silence(bench: Bench) -> None:
    """The peer answers nothing any more; where we wait for nothing, we say something first."""
    if bench.state is S.ESTABLISHED or bench.state is S.CLOSE_WAIT:
        bench.send(b"anybody there?")
    bench.drain()
    for _ in range(40):
        bench.advance(30.0)
        bench.drain()


# What is done in the state before; the cause that the table gives, in its words.
WALKS: Final[list[tuple[State, State, str, Callable[[Bench], object]]]] = [
    (S.CLOSED, S.LISTEN, "passive OPEN", lambda bench: bench.connection.open_passive()),
    (S.CLOSED, S.SYN_SENT, "active OPEN / SYN", lambda bench: bench.open_active()),
    (S.LISTEN, S.SYN_RECEIVED, "rcv SYN / SYN,ACK", lambda bench: bench.arrive_syn()),
    (S.LISTEN, S.CLOSED, "CLOSE", lambda bench: bench.close()),
    (S.SYN_SENT, S.ESTABLISHED, "rcv SYN,ACK / ACK", lambda bench: bench.arrive_syn(SYN | ACK)),
    (S.SYN_SENT, S.SYN_RECEIVED, "rcv SYN / SYN,ACK", lambda bench: bench.arrive_syn()),
    (S.SYN_SENT, S.CLOSED, "rcv RST", reset),
    (S.SYN_SENT, S.CLOSED, "CLOSE", lambda bench: bench.close()),
    (S.SYN_SENT, S.CLOSED, "timeout", silence),
    (S.SYN_RECEIVED, S.ESTABLISHED, "rcv ACK of SYN", lambda bench: bench.arrive(ACK)),
    (S.SYN_RECEIVED, S.LISTEN, "rcv RST, after passive OPEN", reset),
    (S.ESTABLISHED, S.FIN_WAIT_1, "CLOSE / FIN", lambda bench: bench.shutdown()),
    (S.ESTABLISHED, S.CLOSE_WAIT, "rcv FIN / ACK", lambda bench: bench.arrive(FIN | ACK)),
    (S.FIN_WAIT_1, S.FIN_WAIT_2, "rcv ACK of FIN", lambda bench: bench.arrive(ACK)),
    (S.FIN_WAIT_1, S.CLOSING, "rcv FIN / ACK", lambda bench: bench.arrive(FIN | ACK, ack=1)),
    (S.FIN_WAIT_2, S.TIME_WAIT, "rcv FIN / ACK", lambda bench: bench.arrive(FIN | ACK)),
    (S.CLOSE_WAIT, S.LAST_ACK, "CLOSE / FIN", lambda bench: bench.shutdown()),
    (S.CLOSING, S.TIME_WAIT, "rcv ACK of FIN", lambda bench: bench.arrive(ACK)),
    (S.LAST_ACK, S.CLOSED, "rcv ACK of FIN", lambda bench: bench.arrive(ACK)),
    (S.TIME_WAIT, S.CLOSED, "2 MSL of quiet", silence),
    (S.TIME_WAIT, S.CLOSED, "rcv RST", reset),
    *(
        (state, S.CLOSED, cause, act)
        for state in (S.SYN_RECEIVED, *sorted(SYNCHRONIZED - {S.TIME_WAIT}, key=str))
        for cause, act in (
            ("rcv RST", reset),
            ("ABORT", lambda bench: bench.abort()),
            ("timeout", silence),
        )
        # Nothing of ours is under way in FIN-WAIT-2, so that no timer runs; and a RST takes
        # SYN-RECEIVED to CLOSED only after an active OPEN.
        if (state, cause) not in {(S.FIN_WAIT_2, "timeout"), (S.SYN_RECEIVED, "rcv RST")}
    ),
]


@pytest.mark.parametrize(("before", "after", "cause", "act"), WALKS)
def test_transition(
    before: State, after: State, cause: str, act: Callable[[Bench], object], numbers: Numbers
) -> None:
    bench = IN_STATE[before](**numbers)
    bench.expect_state(before)
    act(bench)
    bench.drain()
    bench.expect_state(after)
    assert bench.states[-2:] == [before, after]


def test_every_row_of_the_table_is_walked_and_no_other() -> None:
    assert {(before, after) for before, after, _, _ in WALKS} == ROWS
    assert len(TRANSITIONS) == len(ROWS)


def test_refused_after_an_active_open_ends_syn_received() -> None:
    bench = crossed()
    reset(bench)
    assert bench.states[-2:] == [S.SYN_RECEIVED, S.CLOSED]


def test_fin_with_our_ack_passes_through_fin_wait_2() -> None:
    bench = IN_STATE[S.FIN_WAIT_1]()
    bench.arrive(FIN | ACK)
    bench.expect(ACK, seq=2, ack=2)
    assert bench.states[-3:] == [S.FIN_WAIT_1, S.FIN_WAIT_2, S.TIME_WAIT]


@pytest.mark.parametrize(("before", "after"), sorted(product(S, S), key=str))
def test_only_what_the_table_permits(before: State, after: State) -> None:
    machine = StateMachine()
    machine.state = before
    if (before, after) in ROWS:
        machine.enter(after)
        assert machine.state is after
    else:
        with pytest.raises(ForbiddenTransitionError, match=f"^{before} -> {after}$"):
            machine.enter(after)
        assert machine.state is before


def test_connection_begins_closed() -> None:
    assert StateMachine().state is S.CLOSED


def test_every_state_is_reached_by_its_helper() -> None:
    assert {state: make().state for state, make in IN_STATE.items()} == {s: s for s in S}


def test_sets_of_states() -> None:
    """Section 3.3.2 says it in prose: which half is open where."""
    assert set(S) - SYNCHRONIZED == {S.CLOSED, S.LISTEN, S.SYN_SENT, S.SYN_RECEIVED}
    assert {S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2} == CAN_RECEIVE
    assert {S.ESTABLISHED, S.CLOSE_WAIT} == CAN_SEND
