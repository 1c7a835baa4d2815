"""What an application gives goes out at once, and is what would have gone out by all the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .crowd import Crowd, Packet

if TYPE_CHECKING:
    from tunstack.flow import Flow


def exchange(*, at_once: bool, **fields: Any) -> tuple[Crowd, Flow]:
    """A connection of which nothing is to be said but that data comes and goes."""
    crowd = Crowd()
    peer = crowd.peer()
    peer.syn()
    peer.ack(**fields)
    flow = crowd.accept()
    assert flow.ordinary
    if not at_once:
        flow.ordinary = False
    return crowd, flow


def given(crowd: Crowd, flow: Flow, size: int) -> list[Packet]:
    flow.send(bytes(size), crowd.now)
    crowd.stack.gave(flow, crowd.now)
    return crowd.flush()


@pytest.mark.parametrize("size", [1, 1448, 1449, 10_000, 40_000])
def test_the_same_goes_out_as_by_all_the_rules(size: int) -> None:
    """All that the windows let go, be it less than what was given."""
    sent = given(*exchange(at_once=True), size)
    assert sent == given(*exchange(at_once=False), size)
    assert sent


def test_it_goes_out_without_a_flush() -> None:
    crowd, flow = exchange(at_once=True)
    flow.send(b"hello", crowd.now)
    crowd.stack.gave(flow, crowd.now)
    assert len(crowd.stack.outgoing) == 1
    assert not flow.touched
    assert crowd.stack.deadline() is not None  # The timers know of it.


def test_where_not_all_is_ordinary_it_waits_for_the_flush() -> None:
    crowd, flow = exchange(at_once=False)
    flow.send(b"hello", crowd.now)
    crowd.stack.gave(flow, crowd.now)
    assert not crowd.stack.outgoing
    assert flow.touched


def test_a_window_that_is_closed_is_probed_all_the_same() -> None:
    crowd, flow = exchange(at_once=True, wnd=0)
    assert given(crowd, flow, 100) == []
    assert not flow.ordinary
    assert flow.sender.persisting
    assert crowd.advance(1.0)
