"""What a busy connection costs does not grow with how many others there are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.compiled import is_compiled
from tests.tcp.crowd import Crowd
from tunstack.stack.limits import Limits
from tunstack.stack.stack import Stack
from tunstack.tcp.config import Config
from tunstack.tcp.segment import ACK, FIN
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tcp.crowd import Peer
    from tunstack.stack.flow import Flow

FEW, MANY = 10, 2000
ROUNDS = 20


class Steps:
    """Counts the lines that tunstack goes through, each time: no clock is as exact."""

    def __init__(self) -> None:
        self.count = 0
        self._before: Any = None

    def __enter__(self) -> Steps:
        if is_compiled(Stack):
            pytest.skip("compiled code has no lines to count")
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: Any, event: str, _: object) -> Callable[..., Any] | None:
        if not frame.f_globals["__name__"].startswith("tunstack."):
            return None
        return self._step

    def _step(self, frame: Any, event: str, _: object) -> Callable[..., Any]:
        self.count += 1
        return self._step


def crowded(idle: int, *, keepalive: bool) -> Crowd:
    """A stack with so many connections on which nothing happens."""
    crowd = Crowd(Config(keepalive=keepalive), limits=Limits(connections=2 * MANY))
    crowd.stack.set_tap(None)
    for _ in range(idle):
        crowd.connected()
    crowd.advance(10.0)  # What the handshakes have left to do is done.
    return crowd


def request(crowd: Crowd, peer: Peer, flow: Flow) -> None:
    """A peer asks, is answered, and says that it has the answer."""
    peer.send(bytes(100))
    flow.receive(1000)
    crowd.stack.send(flow, bytes(100), crowd.now)
    [answer] = crowd.flush()
    peer.expected = (peer.expected + 100) & MASK
    peer.offer["ts_val"] += 10
    peer.ack(ts_ecr=answer.segment.ts_val)
    crowd.advance(0.01)


def connection(crowd: Crowd) -> None:
    """A peer connects, asks, and leaves."""
    peer, flow = crowd.connected()
    request(crowd, peer, flow)
    peer.ack(ACK | FIN)
    peer.nxt = (peer.nxt + 1) & MASK
    flow.close()
    crowd.act(flow)
    peer.expected = (peer.expected + 1) & MASK
    peer.ack()
    assert crowd.flow(peer) is None


def steps_of_requests(idle: int, *, keepalive: bool) -> int:
    crowd = crowded(idle, keepalive=keepalive)
    peer, flow = crowd.connected()
    request(crowd, peer, flow)
    with Steps() as steps:
        for _ in range(ROUNDS):
            request(crowd, peer, flow)
    return steps.count


def steps_of_connections(idle: int, *, keepalive: bool) -> int:
    crowd = crowded(idle, keepalive=keepalive)
    connection(crowd)
    with Steps() as steps:
        for _ in range(ROUNDS):
            connection(crowd)
    return steps.count


@pytest.mark.parametrize("keepalive", [False, True])
def test_a_request_takes_as_many_steps_in_a_crowd(keepalive: bool) -> None:
    few = steps_of_requests(FEW, keepalive=keepalive)
    assert few > ROUNDS * 100
    assert steps_of_requests(MANY, keepalive=keepalive) == few


@pytest.mark.parametrize("keepalive", [False, True])
def test_so_does_a_new_connection(keepalive: bool) -> None:
    few = steps_of_connections(FEW, keepalive=keepalive)
    assert few > ROUNDS * 100
    # Timers of what is over go at their time, or before, when they are more than what is left.
    assert steps_of_connections(MANY, keepalive=keepalive) == pytest.approx(few, rel=0.01)


def steps_of_timers(paths: int) -> int:
    crowd = Crowd()
    for number in range(paths):
        remote = bytes((10, 0, number >> 8, number & 0xFF))
        assert crowd.stack.paths.mtus.lower(remote, 1400, crowd.now)
    with Steps() as steps:
        for _ in range(ROUNDS):
            assert crowd.stack.deadline() is not None
            crowd.stack.handle_timers(crowd.now)
    return steps.count


def test_a_timer_takes_as_many_steps_however_many_paths_are_narrow() -> None:
    few = steps_of_timers(FEW)
    assert few > ROUNDS
    assert steps_of_timers(MANY) == few
