"""What an application may ask of the sender and the receiver: cork, haste, another congestion."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.tcp.harness import CONFIG, DELAYED_ACK, MSS, WITHOUT_SACK, Bench, Numbers, established
from tunstack.tcp.congestion import Acknowledgement, Cubic, Reno, congestion_control, name_of
from tunstack.tcp.segment import ACK, FIN, PSH
from tunstack.tcp.sender.sender import DEFERRAL

if TYPE_CHECKING:
    from tunstack.tcp.config import Config

CORKED: Final = replace(CONFIG, cork=True)
HASTY: Final = replace(CONFIG, delayed_ack=0.0)


# TCP_CORK and MSG_MORE


def test_corked_only_full_segments_go(numbers: Numbers) -> None:
    bench = established(config=CORKED, **numbers)
    bench.send(bytes(600))
    bench.expect_nothing()
    bench.send(bytes(600))
    bench.expect(ACK, size=MSS)
    bench.arrive(ACK)  # Nor does an ACK let the rest go, as it would with Nagle's algorithm.
    bench.expect_nothing()
    bench.reconfigure(CONFIG)
    bench.expect(ACK | PSH, size=200)


def test_a_cork_is_stronger_than_nodelay() -> None:
    bench = established(config=replace(CORKED, nodelay=True))
    bench.send(b"x")
    bench.expect_nothing()


def test_a_cork_holds_for_200_ms() -> None:
    bench = established(config=CORKED)
    bench.advance(5.0)
    bench.send(b"x")
    bench.advance(0.2)
    bench.expect(ACK | PSH, at=5.2, payload=b"x")
    assert bench.connection.reports == 0


def test_a_cork_does_not_hold_the_end() -> None:
    bench = established(config=CORKED)
    bench.send(b"x")
    bench.shutdown()
    bench.expect(FIN | ACK | PSH, payload=b"x")


@pytest.mark.parametrize("how", ["cork", "more"])
def test_large_segments_are_cut_to_full_ones_of_the_link(how: str) -> None:
    """Where the link cuts, the rest of a large segment would be a small one on the wire."""
    config = replace(CORKED if how == "cork" else CONFIG, max_payload=65536)
    bench = established(config=config)
    bench.more = how == "more"
    bench.send(bytes(2500))
    bench.expect(ACK, size=2 * MSS)
    bench.expect_nothing()


def test_more_to_come_holds_a_small_segment_until_it_came(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.more = True
    bench.send(b"head")
    bench.expect_nothing()
    bench.more = False
    bench.send(b"body")
    bench.expect(ACK | PSH, payload=b"headbody")


@pytest.mark.parametrize("max_payload", [MSS, 65536])
def test_what_is_let_go_are_all_segments_queued_by_then(max_payload: int) -> None:
    """Those that a closed window holds follow when it opens; what is sent for later is held."""
    bench = established(config=replace(CORKED, max_payload=max_payload))
    bench.arrive(ACK, wnd=MSS)
    bench.send(bytes(2500))
    bench.expect(ACK, size=MSS)
    bench.push()
    bench.arrive(ACK, wnd=65535)
    assert sum(len(sent.segment.payload) for sent in bench.drain()) == 1500
    bench.send(b"x")
    bench.expect_nothing()


# TCP_QUICKACK


def test_in_haste_every_batch_is_acknowledged_at_once(numbers: Numbers) -> None:
    bench = established(config=HASTY, **numbers)
    bench.arrive(ACK | PSH, payload=b"x")
    bench.expect(ACK, at=0.0, ack=2)
    with bench.batch():
        bench.arrive(ACK, payload=b"x")
        bench.arrive(ACK, payload=b"x")
    bench.expect(ACK, ack=4)
    bench.expect_nothing()


def test_haste_lets_an_ack_go_that_waits() -> None:
    bench = established()
    bench.arrive(ACK | PSH, payload=b"x")
    bench.expect_nothing()
    bench.reconfigure(HASTY)
    bench.expect(ACK, ack=2)
    bench.reconfigure(CONFIG)
    bench.arrive(ACK | PSH, payload=b"x")
    bench.expect_nothing()
    bench.advance(DELAYED_ACK)
    bench.expect(ACK, ack=3)


# Congestion control


class OneSegment:
    """A congestion control of one's own: a segment at a time, and never more."""

    def __init__(self) -> None:
        self.cwnd = self.ssthresh = 0
        self.heard: list[str] = []

    def set_mss(self, mss: int, initial_segments: int) -> None:
        self.cwnd = self.ssthresh = mss

    def change_mss(self, mss: int) -> None:
        self.cwnd = self.ssthresh = mss

    def acknowledged(self, ack: Acknowledgement) -> None:
        self.heard.append("acknowledged")

    def loss(self, flight_size: int, now: float) -> None:
        self.heard.append("loss")

    def marked(self, flight_size: int, now: float) -> None:
        self.heard.append("marked")

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        self.heard.append("timeout")

    def undo(self, cwnd: int, ssthresh: int) -> None:
        self.heard.append("undo")

    def idle(self) -> None:
        self.heard.append("idle")


def with_congestion(factory: type[OneSegment | Cubic | Reno]) -> Config:
    return replace(CONFIG, congestion=factory)


@pytest.mark.rfc("MAY-18")
def test_ones_own_congestion_control_decides(numbers: Numbers) -> None:
    bench = established(peer=WITHOUT_SACK, config=with_congestion(OneSegment), **numbers)
    bench.send(bytes(3 * MSS))
    for _ in range(2):
        bench.expect(ACK, size=MSS)
        bench.expect_nothing()
        bench.arrive(ACK)
    bench.expect(ACK | PSH, size=MSS)
    bench.advance(0.2)
    bench.expect(ACK | PSH, size=MSS, note="retransmission: timeout")
    control = bench.congestion
    assert isinstance(control, OneSegment)
    assert control.heard == ["acknowledged", "acknowledged", "timeout"]


@pytest.mark.rfc("MAY-18")
def test_another_one_goes_on_from_where_the_first_was(numbers: Numbers) -> None:
    bench = established(config=with_congestion(Cubic), **numbers)
    bench.send(bytes(10 * MSS))
    bench.drain()
    bench.arrive(ACK)
    before = bench.congestion
    assert before.cwnd == 20 * MSS
    bench.reconfigure(with_congestion(Reno))
    after = bench.congestion
    assert isinstance(after, Reno)
    assert (after.cwnd, after.ssthresh) == (before.cwnd, before.ssthresh)
    bench.send(bytes(30 * MSS))
    assert len(bench.drain()) == 20
    bench.arrive(ACK)  # It is asked from now on: by the sender,
    assert after.cwnd == 40 * MSS
    bench.drain()
    bench.advance(3.0)
    bench.drain()
    assert after.cwnd == MSS  # and by the recovery.
    assert before.cwnd == 20 * MSS


def test_it_is_chosen_before_there_is_a_connection_to_speak_of() -> None:
    bench = Bench(CONFIG)
    bench.open_active()
    bench.drain()
    bench.reconfigure(with_congestion(Reno))
    bench.drain()
    bench.arrive_syn(0x12)
    bench.drain()
    assert isinstance(bench.congestion, Reno)
    assert bench.cwnd == 10 * MSS


def test_an_unchanged_congestion_control_is_kept() -> None:
    bench = established()
    before = bench.congestion
    bench.reconfigure(replace(CONFIG, nodelay=True))
    assert bench.congestion is before


def test_names() -> None:
    assert congestion_control("cubic") is Cubic
    assert congestion_control("reno") is Reno
    assert congestion_control(OneSegment) is OneSegment
    assert [name_of(each) for each in (Cubic, Reno, OneSegment)] == ["cubic", "reno", "onesegment"]
    with pytest.raises(ValueError, match="cubic, reno"):
        congestion_control("vegas")


# Deferral: the rest of a large segment waits for more of it


LARGE: Final = replace(CONFIG, max_payload=3 * MSS, nodelay=True, send_buffer=100_000)
"""Segments of three, and room for many."""


def with_a_rest_deferred(rtt: float = 0.0, **numbers: int) -> Bench:
    """Two large segments are on their way; a rest of 700 octets is not."""
    bench = established(config=LARGE, **numbers)
    if rtt:
        bench.send(b"x")
        bench.expect(ACK | PSH, payload=b"x")
        bench.advance(rtt)
        bench.arrive(ACK)
    bench.send(bytes(6 * MSS + 700))
    bench.expect(ACK, size=3 * MSS)
    bench.expect(ACK | PSH, size=3 * MSS)
    bench.expect_nothing()
    assert bench.connection.wants_data(1)
    return bench


def test_a_rest_goes_with_what_fills_it() -> None:
    bench = with_a_rest_deferred(0.1)
    deadline = bench.connection.deadline()
    bench.arrive(ACK, ack=2)  # Nothing new.
    bench.expect_nothing()
    bench.send(bytes(2 * MSS + 300))
    bench.expect(ACK | PSH, size=3 * MSS)
    bench.expect_nothing()
    later = bench.connection.deadline()
    assert deadline is not None
    assert later is not None
    assert later > deadline, "nothing waits any more"


def test_a_rest_waits_no_longer_than_the_deferral(numbers: Numbers) -> None:
    bench = with_a_rest_deferred(0.1, **numbers)
    begin = bench.now
    bench.advance(DEFERRAL / 2)
    bench.send(bytes(100))  # What comes meanwhile makes it wait no longer,
    bench.expect_nothing()
    bench.advance(DEFERRAL / 2)
    bench.expect(ACK | PSH, at=begin + DEFERRAL, size=800)
    assert bench.connection.wants_data(1)
    bench.send(bytes(100))  # and begins a time of its own.
    bench.expect_nothing()
    bench.advance(DEFERRAL)
    bench.expect(ACK | PSH, at=begin + 2 * DEFERRAL, size=100)


def test_where_a_round_trip_takes_no_longer_a_rest_waits_for_an_ack_or_the_probe() -> None:
    """Which sends what is new, if there is something."""
    bench = with_a_rest_deferred()
    bench.advance(DEFERRAL)
    bench.expect_nothing()
    bench.advance(0.2)
    bench.expect(ACK | PSH, size=700)


def test_a_rest_goes_with_the_next_ack(numbers: Numbers) -> None:
    bench = with_a_rest_deferred(**numbers)
    bench.arrive(ACK, ack=1 + MSS)
    bench.expect(ACK | PSH, at=0.0, size=700)


@pytest.mark.parametrize("how", ["end", "less is on its way", "a window that closes"])
def test_what_else_ends_a_deferral(how: str) -> None:
    bench = with_a_rest_deferred()
    if how == "end":
        bench.shutdown()
        bench.expect(FIN | ACK | PSH, at=0.0, size=700)
    elif how == "less is on its way":
        bench.arrive(ACK, ack=1 + 6 * MSS)
        bench.expect(ACK | PSH, at=0.0, size=700)
    else:
        bench.arrive(ACK, ack=1, wnd=6 * MSS)  # Then it is that which it waits for.
        bench.advance(DEFERRAL)
        bench.expect_nothing()
        deadline = bench.connection.deadline()
        assert deadline is not None
        assert deadline > 10 * DEFERRAL, "and nothing is asked for again and again"


def test_no_writer_is_woken_without_room() -> None:
    """Not even when the window has shrunk to nothing while a loss is repaired."""
    bench = established(config=replace(CONFIG, send_buffer=2 * MSS))
    bench.send(bytes(2 * MSS))
    bench.expect(ACK, size=MSS)
    bench.expect(ACK | PSH, size=MSS)
    connection = bench.connection
    bench.cwnd = 0
    assert connection.writable_size == 0
    assert not connection.wants_data(1)
