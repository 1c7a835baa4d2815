"""Windows that are closed by decision: how far they stay open, and how they open again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Final

import pytest

from tests.tcp.harness import CONFIG, MSS, NO_OPTIONS, WSCALE, Bench, Numbers, Offer, established
from tunstack.tcp.connection.state import State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import ACK, FIN, PSH, Segment

UNIT: Final = 1 << WSCALE
"""Octets: the window field's unit."""


def freeze(bench: Bench, after: int = 0, *, shrink: bool = False) -> None:
    bench.connection.freeze(after, shrink=shrink)
    bench.flush()


def thaw(bench: Bench) -> None:
    bench.connection.thaw()
    bench.flush()


def edge(segment: Segment) -> int:
    """The right edge that a segment offers."""
    return segment.ack + (segment.wnd << WSCALE)


def fill(bench: Bench, size: int = MSS) -> list[int]:
    """Send in segments of `size` octets until the window is closed; returns the edges offered."""
    edges = [bench.rcv_nxt + bench.rcv_wnd]
    while edges[-1] > bench.rcv_nxt:
        room = edges[-1] - bench.rcv_nxt
        bench.arrive(ACK, payload=bytes(min(size, room)))
        bench.receive()
        if not bench.pending:
            bench.wait()
        edges += [edge(sent.segment) for sent in bench.drain()]
    return edges


@pytest.mark.rfc("SHLD-14")
def test_what_was_offered_stays_offered_and_no_more_is(numbers: Numbers) -> None:
    """SHLD-14: the right edge does not move left; nor right by more than a unit of the scale."""
    bench = established(**numbers)
    offered = bench.rcv_nxt + bench.rcv_wnd
    freeze(bench)
    bench.expect_nothing()
    edges = fill(bench, 2 * MSS - 2 * MSS % UNIT)
    assert edges == sorted(edges)
    assert offered <= edges[-1] <= offered + UNIT
    assert bench.rcv_wnd == 0


@pytest.mark.parametrize("size", [1, 100, UNIT, MSS])
def test_it_closes_after_so_many_octets_more_in_pieces_of_any_size(size: int) -> None:
    bench = established()
    freeze(bench, 10 * UNIT - 5, shrink=True)
    bench.expect(ACK, seq=1, ack=1, wnd=10)
    edges = fill(bench, size)
    assert 10 * UNIT <= bench.rcv_nxt - 1 <= 11 * UNIT
    assert all(later > earlier - UNIT for earlier, later in pairwise(edges))


def test_without_a_window_scale_it_closes_after_that_many_exactly() -> None:
    bench = established(peer=NO_OPTIONS)
    freeze(bench, 1234, shrink=True)
    bench.expect(ACK, wnd=1234)
    for _ in range(2):
        bench.arrive(ACK, payload=bytes(617))
        bench.receive()
    bench.wait()
    bench.expect(ACK, ack=1 + 1234, wnd=0)


def test_more_is_offered_if_less_than_that_was() -> None:
    bench = established()
    offered = bench.rcv_wnd
    freeze(bench, offered + 1)
    bench.expect(ACK, seq=1, ack=1, wnd=(offered >> WSCALE) + 1)


@pytest.mark.rfc("MUST-34")
def test_a_window_that_shrinks_is_taken_back(numbers: Numbers) -> None:
    """It is told at once; what was on its way is dropped, and answered by the window (MUST-34)."""
    bench = established(**numbers)
    freeze(bench, shrink=True)
    bench.expect(ACK, seq=1, ack=1, wnd=0)
    assert bench.arrive(ACK, payload=bytes(MSS)) is Verdict.OUT_OF_WINDOW
    bench.expect(ACK, ack=1, wnd=0)
    assert bench.arrive(ACK, seq=1 + MSS, payload=bytes(MSS)) is Verdict.OUT_OF_WINDOW
    bench.expect(ACK, ack=1, wnd=0)
    assert bench.receive() == b""


def test_a_window_that_shrinks_drops_what_is_out_of_order(numbers: Numbers) -> None:
    """It may be beyond the edge, and is retransmitted, as SACK blocks may be revoked (RFC 2018)."""
    bench = established(**numbers)
    bench.arrive(ACK, seq=1 + MSS, payload=bytes(MSS))
    bench.expect(ACK, ack=1, sack=((1 + MSS, 1 + 2 * MSS),))
    freeze(bench, MSS, shrink=True)
    bench.expect(ACK, ack=1, wnd=-(-MSS >> WSCALE))
    bench.arrive(ACK, payload=bytes(MSS))
    bench.wait()
    assert bench.expect(ACK, ack=1 + MSS).wnd <= 1
    thaw(bench)
    bench.expect(ACK, ack=1 + MSS)
    bench.arrive(ACK, payload=bytes(2 * MSS))
    bench.expect(ACK, ack=1 + 3 * MSS)


@pytest.mark.rfc("MUST-35", "MUST-36")
def test_probes_of_a_frozen_window_are_answered_that_it_is_closed(numbers: Numbers) -> None:
    """Of new data, as RFC 9293 section 3.8.6.1 has them, and of an old number, as Linux's."""
    bench = established(**numbers)
    freeze(bench, shrink=True)
    bench.drain()
    for _ in range(3):
        bench.advance(1.0)
        bench.arrive(ACK, payload=b"x")
        bench.expect(ACK, seq=1, ack=1, wnd=0)
        bench.advance(1.0)
        bench.arrive(ACK, seq=0)
        bench.expect(ACK, seq=1, ack=1, wnd=0)


def test_thawing_sends_a_window_update() -> None:
    bench = established()
    before = bench.rcv_wnd
    freeze(bench, shrink=True)
    bench.expect(ACK, wnd=0)
    thaw(bench)
    assert bench.expect(ACK, seq=1, ack=1).wnd << WSCALE >= before
    thaw(bench)
    bench.expect_nothing()


def test_reading_does_not_open_a_frozen_window() -> None:
    bench = established()
    freeze(bench, 2 * MSS, shrink=True)
    bench.drain()
    bench.arrive(ACK, payload=bytes(2 * MSS))
    bench.expect(ACK)
    assert len(bench.receive()) == 2 * MSS
    bench.expect_nothing()
    bench.arrive(ACK, seq=0)
    assert bench.expect(ACK).wnd <= 1


def test_a_thawed_window_has_the_room_of_its_buffer() -> None:
    bench = established(config=replace(CONFIG, receive_buffer=64 * 1024))
    freeze(bench, 8 * UNIT, shrink=True)
    bench.drain()
    bench.arrive(ACK, payload=bytes(8 * UNIT))
    bench.wait()
    bench.expect(ACK, wnd=0)
    thaw(bench)
    sent = bench.expect(ACK)
    assert sent.wnd << WSCALE == 64 * 1024 - 8 * UNIT


def test_auto_tuning_does_not_open_it_and_goes_on_afterwards() -> None:
    config = replace(CONFIG, receive_buffer=None)
    bench = established(config=config, peer=Offer())
    freeze(bench)
    fill(bench)
    assert bench.rcv_wnd < UNIT
    thaw(bench)
    bench.expect(ACK)
    before = bench.connection.receiver.size
    for _ in range(20):
        bench.advance(0.01)
        bench.drain()
        bench.arrive(ACK, payload=bytes(60 * MSS))
        bench.receive()
        bench.drain()
    assert bench.connection.receiver.size > before


def test_a_buffer_size_that_is_set_meanwhile_is_used_when_it_thaws() -> None:
    bench = established()
    freeze(bench, shrink=True)
    bench.expect(ACK, wnd=0)
    bench.reconfigure(replace(CONFIG, receive_buffer=1 << 16))
    assert bench.connection.receiver.buffer_size == 1 << 16
    bench.arrive(ACK, payload=b"x")
    bench.expect(ACK, wnd=0)
    thaw(bench)
    assert bench.expect(ACK).wnd << WSCALE == 1 << 16


def test_a_window_is_frozen_anew_by_the_next_call() -> None:
    bench = established()
    freeze(bench, shrink=True)
    bench.expect(ACK, wnd=0)
    freeze(bench, 3 * UNIT)
    bench.expect(ACK, wnd=3)
    thaw(bench)
    assert bench.expect(ACK).wnd > 3


@pytest.mark.rfc("MUST-66")
def test_acks_are_processed_when_the_window_is_frozen() -> None:
    """MUST-66: what we send goes on."""
    bench = established()
    freeze(bench, shrink=True)
    bench.drain()
    bench.send(b"request")
    bench.expect(ACK | PSH, payload=b"request", wnd=0)
    bench.arrive(ACK, payload=b"data")
    bench.expect(ACK, ack=1, wnd=0)
    assert bench.connection.sender.outstanding == 0


def test_a_fin_closes_a_frozen_window_and_its_connection_ends_as_any() -> None:
    bench = established()
    freeze(bench, shrink=True)
    bench.drain()
    bench.arrive(ACK | FIN)
    bench.expect(ACK, ack=2)
    bench.expect_state(State.CLOSE_WAIT)
    freeze(bench, 100)
    bench.drain()
    assert bench.connection.receiver.frozen is None


@pytest.mark.parametrize("after", [-1, (0xFFFF << WSCALE) + 1])
def test_what_no_window_field_can_say_is_refused(after: int) -> None:
    bench = established()
    with pytest.raises(ValueError, match=f"0 to {0xFFFF << WSCALE} octets, not after {after}"):
        bench.connection.freeze(after, shrink=False)
    bench.expect_nothing()


def test_only_an_open_connection_is_frozen() -> None:
    bench = Bench()
    with pytest.raises(OSError, match="not connected"):
        bench.connection.freeze(0, shrink=False)
