"""However a connection ends: if the peer has not acknowledged all data, the end is an error."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.tcp.crowd import CONFIG as CROWD_CONFIG
from tests.tcp.crowd import Crowd
from tests.tcp.harness import CONFIG, Bench, Offer, close_wait, established
from tunstack.stack.limits import Limits
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, RST

if TYPE_CHECKING:
    from collections.abc import Callable

S = State
DATA: Final = bytes(1000)
NARROW: Final = Offer(wnd=100)
"""The window of a peer that takes 100 octets, and then no more."""
DONE: Final = 0
"""In place of an error: it ended well."""


class Setup(NamedTuple):
    """What the peer has of our data."""

    sent: bytes
    acknowledged: int | None
    """The peer's ACK; None if nothing was acknowledged."""
    offer: Offer


LEFT: Final = {
    "nothing": Setup(b"", None, Offer()),
    "unacknowledged": Setup(DATA, None, Offer()),
    "partly acknowledged": Setup(DATA, 501, Offer()),
    "unsent": Setup(DATA, 101, NARROW),
}


def in_state(state: State, left: Setup, **setup: object) -> Bench:
    """A bench in a state in which our data may be missing, with what is `left` of it."""
    make = close_wait if state in (S.CLOSE_WAIT, S.LAST_ACK) else established
    bench = make(peer=left.offer, **setup)
    if left.sent:
        bench.send(left.sent)
        bench.drain()
    if left.acknowledged is not None:
        bench.arrive(ACK, ack=left.acknowledged, wnd=0 if left.offer is NARROW else None)
        bench.drain()
    if state in (S.FIN_WAIT_1, S.CLOSING, S.LAST_ACK):
        bench.shutdown()
        bench.drain()
    if state is S.CLOSING:
        bench.arrive(FIN | ACK, ack=left.acknowledged or 1)
        bench.drain()
    bench.expect_state(state)
    return bench


def silence(bench: Bench) -> None:
    """Nothing comes any more, whatever we send."""
    while bench.connection.deadline() is not None:
        bench.run_until(max(bench.now, bench.connection.deadline() or 0.0))
        bench.drain()


def icmp_and_silence(bench: Bench) -> None:
    bench.connection.icmp_error(OSError(errno.EHOSTUNREACH, "no route"))
    silence(bench)


def reset_with_data(bench: Bench) -> None:
    bench.arrive(RST | ACK, payload=b"why")


def abort(bench: Bench) -> None:
    bench.abort()
    bench.expect(RST)


def link_gone(bench: Bench) -> None:
    bench.connection.end(OSError(errno.ENETDOWN, "gone"))


WAYS: Final[dict[str, tuple[Callable[[Bench], object], int]]] = {
    "RST": (lambda bench: bench.arrive(RST), errno.ECONNRESET),
    "RST with data": (reset_with_data, errno.ECONNRESET),
    "silence": (silence, errno.ETIMEDOUT),
    "ICMP, then silence": (icmp_and_silence, errno.EHOSTUNREACH),
    "abort": (abort, errno.ECONNABORTED),
    "link gone": (link_gone, errno.ENETDOWN),
}
STATES: Final = (S.ESTABLISHED, S.FIN_WAIT_1, S.CLOSE_WAIT, S.CLOSING, S.LAST_ACK)


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("user_timeout", [None, 30.0])
def test_whoever_sent_hears_of_it(
    state: State, way: str, left: str, user_timeout: float | None
) -> None:
    end, expected = WAYS[way]
    bench = in_state(state, LEFT[left], config=replace(CONFIG, user_timeout=user_timeout))
    if left == "nothing":
        if "silence" in way and state in (S.ESTABLISHED, S.CLOSE_WAIT):
            return  # Nobody waits for anything.
        if "RST" in way and state in (S.CLOSING, S.LAST_ACK):
            expected = DONE  # RFC 9293 section 3.10.7.4, second.
    end(bench)
    bench.expect_state(S.CLOSED)
    assert (bench.errno or DONE) == expected
    assert bool(bench.queued) is (left != "nothing")


def test_an_unanswered_keep_alive_is_an_error() -> None:
    bench = established(config=replace(CONFIG, keepalive=True, keepalive_idle=100.0))
    silence(bench)
    bench.expect_state(S.CLOSED)
    assert bench.errno == errno.ETIMEDOUT


@pytest.mark.parametrize("state", [S.FIN_WAIT_2, S.TIME_WAIT])
def test_where_all_was_acknowledged_nothing_is_lost(state: State) -> None:
    bench = established()
    bench.send(DATA)
    bench.drain()
    bench.shutdown()
    bench.drain()
    bench.arrive(ACK)
    if state is S.TIME_WAIT:
        bench.arrive(FIN | ACK)
        bench.drain()
    bench.arrive(RST)
    bench.expect_state(S.CLOSED)
    assert bench.errno == (None if state is S.TIME_WAIT else errno.ECONNRESET)


def test_what_gives_way_when_memory_is_short_has_no_owner_or_nothing_to_lose() -> None:
    crowd = Crowd(CROWD_CONFIG, limits=Limits(connections=3))
    peers, flows = zip(*(crowd.connected() for _ in range(3)), strict=True)
    for flow in flows:
        flow.send(DATA, crowd.now)
        crowd.act(flow)
    flows[1].shutdown()  # It has an owner, who waits for the ACK.
    flows[2].close()
    for flow in flows:
        crowd.act(flow)
    assert crowd.peer().syn() is not None
    assert [flow.state is S.CLOSED for flow in flows] == [False, False, True]
    assert peers[0].ack() == []
    assert crowd.peer().syn() is None  # And nobody else gives way.
