"""The rules for an arriving segment, in the order of RFC 9293 section 3.10.7.4."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    IN_STATE,
    MSS,
    WITHOUT_SACK,
    Bench,
    Numbers,
    Offer,
    established,
    fin_wait_2,
)
from tunstack.tcp.connection.arrival import reset_for
from tunstack.tcp.connection.state import SYNCHRONIZED, State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, URG, Segment
from tunstack.tcp.sequence import MASK

S = State
ALL_SYNCHRONIZED: Final = sorted(SYNCHRONIZED, key=str)
SMALL: Final = replace(CONFIG, receive_buffer=4096)
"""With this the window ends before 4097, and that is where the peer believes it to end."""

# No connection (section 3.10.7.1)


def test_segment_without_a_connection_draws_a_reset() -> None:
    with_ack = Segment(100, 2000, ACK | PSH, payload=b"hello")
    assert reset_for(with_ack) == Segment(2000, 0, RST)
    without = Segment(2**32 - 1, flags=SYN | FIN, payload=b"hello")
    assert reset_for(without) == Segment(0, 6, RST | ACK)


@pytest.mark.parametrize("flags", [RST, RST | ACK])
def test_reset_without_a_connection_draws_nothing(flags: int) -> None:
    assert reset_for(Segment(100, 2000, flags)) is None


# First: the sequence number


@pytest.mark.parametrize(
    ("seq", "size", "verdict"),
    [
        (1, 0, Verdict.ACCEPTED),
        (0, 0, Verdict.DUPLICATE),
        (-5000, 0, Verdict.DUPLICATE),
        (4096, 0, Verdict.ACCEPTED),
        (4097, 0, Verdict.ACCEPTED),  # At the edge: as Linux does.
        (4098, 0, Verdict.OUT_OF_WINDOW),
        (1, 1, Verdict.ACCEPTED),
        (0, 1, Verdict.DUPLICATE),
        (-9, 10, Verdict.DUPLICATE),
        (-9, 11, Verdict.ACCEPTED),
        (4096, 1, Verdict.ACCEPTED),
        (4096, 100, Verdict.ACCEPTED),
        (4097, 1, Verdict.OUT_OF_WINDOW),
        (9000, 10, Verdict.OUT_OF_WINDOW),
    ],
)
def test_acceptable(seq: int, size: int, verdict: Verdict, numbers: Numbers) -> None:
    bench = established(config=SMALL, **numbers)
    assert bench.arrive(ACK, seq=seq, payload=bytes(size)) is verdict
    answers = bench.drain()
    if verdict is not Verdict.ACCEPTED:
        assert [(sent.segment.flags, sent.segment.ack) for sent in answers] == [(ACK, 1)]


@pytest.mark.parametrize(
    ("seq", "size", "verdict"),
    [
        (4097, 0, Verdict.ACCEPTED),
        (4098, 0, Verdict.OUT_OF_WINDOW),
        (4096, 0, Verdict.DUPLICATE),
        (4097, 1, Verdict.OUT_OF_WINDOW),
        (4097, 1000, Verdict.OUT_OF_WINDOW),
        (4096, 1, Verdict.DUPLICATE),
        (4098, 1, Verdict.OUT_OF_WINDOW),
    ],
)
def test_acceptable_when_the_window_is_zero(
    seq: int, size: int, verdict: Verdict, numbers: Numbers
) -> None:
    bench = full(**numbers)
    assert bench.arrive(ACK, seq=seq, payload=bytes(size)) is verdict
    if verdict is not Verdict.ACCEPTED:
        twice = seq < 4097 and size > 0  # RFC 2883: we say so.
        bench.expect(ACK, ack=4097, wnd=0, sack=((seq, seq + size),) if twice else ())
    assert len(bench.receive()) == 4096
    bench.drain()


def full(**numbers: int) -> Bench:
    """A bench whose window is zero: nothing was read."""
    bench = established(config=SMALL, **numbers)
    bench.arrive(ACK, payload=bytes(4096))
    bench.expect(ACK, ack=4097, wnd=0)
    return bench


def test_ack_of_a_segment_that_does_not_fit_counts() -> None:
    """MUST-66 in spirit: the window is zero, but valid ACKs are taken."""
    bench = full()
    bench.send(b"x")
    bench.drain()
    bench.arrive(ACK, seq=4097, ack=2, payload=b"y", wnd=333)
    bench.drain()
    assert bench.outstanding == 0
    assert bench.snd_wnd == 333


def test_ack_of_an_unacceptable_segment_does_not_count() -> None:
    bench = established()
    bench.send(b"x")
    bench.drain()
    bench.arrive(ACK, seq=0, ack=2, wnd=333)
    bench.drain()
    assert bench.outstanding == 1
    assert bench.snd_wnd == 65535


# Second: RST, with RFC 5961 section 3

QUIET_ENDS: Final = {S.CLOSING, S.LAST_ACK, S.TIME_WAIT}


@pytest.mark.rfc("5961:3.2")
@pytest.mark.parametrize("state", ALL_SYNCHRONIZED)
def test_reset_at_the_left_edge(state: State, numbers: Numbers) -> None:
    bench = IN_STATE[state](**numbers)
    assert bench.arrive(RST) is Verdict.RESET
    bench.expect_state(S.CLOSED)
    assert bench.errno == (None if state in QUIET_ENDS else errno.ECONNRESET)
    assert bench.connection.deadline() is None


@pytest.mark.rfc("5961:3.2")
@pytest.mark.parametrize("state", [S.SYN_RECEIVED, *ALL_SYNCHRONIZED])
@pytest.mark.parametrize("ahead", [1, 60000])
def test_reset_elsewhere_in_the_window_is_challenged(
    state: State, ahead: int, numbers: Numbers
) -> None:
    bench = IN_STATE[state](**numbers)
    nxt = bench.rcv_nxt
    assert bench.arrive(RST, seq=nxt + ahead) is Verdict.CHALLENGED_RESET
    bench.expect(ACK, ack=nxt % 2**32)
    bench.expect_state(state)


@pytest.mark.rfc("5961:3.2")
@pytest.mark.parametrize("state", [S.SYN_RECEIVED, *ALL_SYNCHRONIZED])
@pytest.mark.parametrize("ahead", [-1, -70000, 2 << 20])
def test_reset_outside_the_window_is_ignored(state: State, ahead: int) -> None:
    bench = IN_STATE[state]()
    seq = bench.rcv_nxt + ahead
    assert bench.arrive(RST, seq=seq) is Verdict.RESET_IGNORED
    bench.expect_nothing()
    bench.expect_state(state)


@pytest.mark.rfc("SHLD-2")
def test_reset_may_carry_data_and_an_ack() -> None:
    """SHLD-2."""
    bench = established()
    assert bench.arrive(RST | ACK, payload=b"out of order") is Verdict.RESET
    assert bench.errno == errno.ECONNRESET


@pytest.mark.rfc("MUST-66")
def test_reset_counts_when_the_window_is_zero() -> None:
    """MUST-66. What had come is still there to read."""
    bench = full()
    assert bench.arrive(RST) is Verdict.RESET
    assert len(bench.receive()) == 4096
    with pytest.raises(ConnectionResetError):
        bench.receive()


# Fourth: SYN, with RFC 5961 section 4


@pytest.mark.rfc("5961:4.2")
@pytest.mark.parametrize("flags", [SYN, SYN | ACK])
@pytest.mark.parametrize("ahead", [-1, 0, 1000, 2 << 20])
@pytest.mark.parametrize("state", sorted(SYNCHRONIZED - {S.TIME_WAIT}, key=str))
def test_syn_is_challenged(state: State, ahead: int, flags: int) -> None:
    bench = IN_STATE[state]()
    nxt = bench.rcv_nxt
    sent = bench.snd_nxt
    bench.arrive(flags, seq=nxt + ahead)
    bench.expect(ACK, seq=sent, ack=nxt)
    bench.expect_state(state)


@pytest.mark.rfc("5961:4.2")
def test_syn_is_challenged_after_an_active_open_that_crossed() -> None:
    bench = established()
    assert bench.arrive(SYN, seq=500) is Verdict.CHALLENGED_SYN
    bench.expect(ACK, ack=1)


# Fifth: ACK


@pytest.mark.parametrize("state", ALL_SYNCHRONIZED)
@pytest.mark.parametrize("flags", [0, FIN, PSH])
def test_segment_without_ack_is_dropped(state: State, flags: int) -> None:
    bench = IN_STATE[state]()
    assert bench.arrive(flags, payload=b"x" if flags == PSH else b"") is Verdict.NO_ACK
    bench.expect_state(state)


def test_old_ack_changes_nothing(numbers: Numbers) -> None:
    bench = established(peer=WITHOUT_SACK, **numbers)
    bench.send(b"x" * 4 * MSS)
    bench.drain()
    bench.arrive(ACK, ack=1001)
    for _ in range(3):
        assert bench.arrive(ACK, ack=501, wnd=7) is Verdict.ACCEPTED
    assert bench.outstanding == 3 * MSS
    assert bench.snd_wnd == 65535
    # It tells of no segment beyond a gap either: nothing has left the network.
    assert bench.pipe == 3 * MSS
    assert not bench.recovering


@pytest.mark.rfc("MAY-12", "5961:5.2")
def test_ack_older_than_the_largest_window_is_challenged(numbers: Numbers) -> None:
    """RFC 5961 section 5: SND.UNA - MAX.SND.WND =< SEG.ACK."""
    bench = established(peer=Offer(wnd=2000), **numbers)
    for _ in range(3):
        bench.send(bytes(1000))
        bench.drain()
        bench.arrive(ACK, wnd=1000)  # The largest window remains 2000.
    assert bench.arrive(ACK, ack=1001, payload=b"good") is Verdict.ACCEPTED
    assert bench.arrive(ACK, ack=1000, payload=b"blind") is Verdict.OLD_ACK
    bench.expect(ACK, ack=5)
    assert bench.receive() == b"good"


@pytest.mark.rfc("5961:5.2")
@pytest.mark.parametrize("ahead", [1, 5000, 2**31 - 1])
def test_ack_of_what_was_never_sent_is_challenged(ahead: int, numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.send(b"x")
    bench.drain()
    assert bench.arrive(ACK, ack=2 + ahead, payload=b"blind") is Verdict.UNACCEPTABLE_ACK
    bench.expect(ACK, seq=2, ack=1)
    assert bench.outstanding == 1
    assert bench.receive() == b""


def test_window_update_by_a_later_segment(numbers: Numbers) -> None:
    """SND.WL1 and SND.WL2: not from a segment that left before the last that told."""
    bench = established(**numbers)
    bench.arrive(ACK, seq=11, wnd=500)
    assert bench.snd_wnd == 500
    bench.arrive(ACK, seq=1, wnd=9999)
    assert bench.snd_wnd == 500
    bench.arrive(ACK, seq=11, wnd=400)  # The same numbers say the same, or are newer.
    assert bench.snd_wnd == 400


def test_window_update_by_a_later_ack(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.send(bytes(2000))
    bench.drain()
    bench.arrive(ACK, ack=2001, wnd=500)
    assert bench.snd_wnd == 500
    bench.arrive(ACK, ack=1001, wnd=9999)
    assert bench.snd_wnd == 500


def test_window_update_by_a_later_ack_of_a_retransmission(numbers: Numbers) -> None:
    """As on Linux. By SND.WL1 it would be passed over, and the old window would be too large."""
    bench = established(**numbers)
    bench.send(bytes(2000))
    bench.drain()
    bench.arrive(ACK, seq=11, ack=1001, payload=b"later", wnd=5000)
    bench.drain()
    bench.arrive(ACK, seq=1, ack=2001, payload=bytes(10), wnd=500)
    bench.drain()
    assert bench.snd_wnd == 500


@pytest.mark.rfc("MUST-1", "REC-1")
def test_window_is_unsigned() -> None:
    """MUST-1."""
    bench = established(peer=Offer(wscale=14))
    bench.arrive(ACK, wnd=0xFFFF)
    assert bench.snd_wnd == 0xFFFF << 14


@pytest.mark.parametrize(
    ("state", "after"),
    [(S.FIN_WAIT_1, S.FIN_WAIT_2), (S.CLOSING, S.TIME_WAIT), (S.LAST_ACK, S.CLOSED)],
)
def test_only_the_ack_of_our_fin_moves_on(state: State, after: State, numbers: Numbers) -> None:
    bench = IN_STATE[state](**numbers)
    bench.arrive(ACK, ack=1)
    bench.expect_state(state)
    bench.arrive(ACK, ack=2)
    bench.expect_state(after)


# Sixth: URG


def test_urgent_data_is_delivered_in_line() -> None:
    """RFC 6093."""
    bench = established()
    bench.arrive(ACK | URG, payload=b"plain and urgent")
    assert bench.receive() == b"plain and urgent"


# Seventh: the text


def test_text_is_trimmed_at_the_left_edge(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(ACK, payload=b"hello")
    bench.arrive(ACK, seq=3, payload=b"llo, world")
    bench.expect(ACK, ack=13, sack=((3, 6),))  # At once: part of it had come before.
    assert bench.receive() == b"hello, world"


def test_text_is_trimmed_at_the_right_edge(numbers: Numbers) -> None:
    bench = established(config=SMALL, **numbers)
    bench.arrive(ACK, payload=bytes(2048))
    bench.expect(ACK, ack=2049)
    assert bench.arrive(ACK, payload=bytes(2049)) is Verdict.ACCEPTED
    bench.expect(ACK, ack=4097, wnd=0)
    assert len(bench.receive()) == 4096
    bench.drain()


def test_text_is_trimmed_at_both_edges(numbers: Numbers) -> None:
    bench = established(config=SMALL, **numbers)
    bench.arrive(ACK, seq=-99, payload=bytes(100) + b"a" + bytes(4094) + b"z" + b"beyond")
    bench.expect(ACK, ack=4097, wnd=0, sack=((-99 & MASK, 1),))
    data = bench.receive()
    assert (data[0:1], data[-1:], len(data)) == (b"a", b"z", 4096)
    bench.drain()


def test_text_out_of_order_is_trimmed_at_the_right_edge() -> None:
    bench = established(config=SMALL)
    bench.arrive(ACK, seq=4001, payload=bytes(1000))
    bench.expect(ACK, ack=1, sack=((4001, 4097),))


@pytest.mark.parametrize("state", [S.FIN_WAIT_1, S.FIN_WAIT_2])
def test_text_is_taken_after_our_fin(state: State) -> None:
    bench = IN_STATE[state]()
    assert bench.arrive(ACK | PSH, payload=b"still here") is Verdict.ACCEPTED
    assert bench.receive() == b"still here"


@pytest.mark.parametrize("state", [S.CLOSE_WAIT, S.CLOSING, S.LAST_ACK, S.TIME_WAIT])
def test_text_after_their_fin_is_ignored(state: State, numbers: Numbers) -> None:
    bench = IN_STATE[state](**numbers)
    assert bench.arrive(ACK, ack=1, payload=b"nonsense") is Verdict.DUPLICATE
    bench.expect(ACK, ack=2)
    bench.expect_state(state)
    assert bench.receive() == b""


@pytest.mark.rfc("SHLD-3", "MAY-1")
@pytest.mark.parametrize("seq", [1, 1000])
def test_text_after_close_draws_a_reset(seq: int, numbers: Numbers) -> None:
    """SHLD-3; what is beyond a gap as well."""
    bench = established(**numbers)
    bench.close()
    bench.expect(FIN | ACK, seq=1)
    bench.arrive(ACK, ack=2)
    assert bench.arrive(ACK, seq=seq, payload=b"anybody there?") is Verdict.AFTER_CLOSE
    bench.expect(RST, seq=2)
    bench.expect_state(S.CLOSED)
    assert bench.errno == errno.ECONNABORTED


def test_old_text_after_close_draws_an_ack() -> None:
    bench = established()
    bench.arrive(ACK, payload=b"hello")
    bench.receive()
    bench.close()
    bench.expect(FIN | ACK, seq=1, ack=6)
    bench.arrive(ACK)
    assert bench.arrive(ACK | FIN, seq=1, payload=b"hello") is Verdict.DUPLICATE
    bench.expect(ACK, ack=7, sack=((1, 6),))  # With it came their FIN, which is welcome.
    bench.expect_state(S.TIME_WAIT)


# Eighth: FIN


def test_fin_with_text(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(FIN | ACK, payload=b"the end")
    bench.expect(ACK, ack=9)
    bench.expect_state(S.CLOSE_WAIT)
    assert bench.receive() == b"the end"
    assert bench.receive() == b""


@pytest.mark.rfc("SHLD-31")
def test_fin_out_of_order_waits_for_the_text_before_it(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(FIN | ACK, seq=6, payload=b" world")
    bench.expect(ACK, ack=1, sack=((6, 12),))
    bench.expect_state(S.ESTABLISHED)
    bench.arrive(ACK, seq=1, payload=b"hello")
    bench.expect(ACK, ack=13)
    bench.expect_state(S.CLOSE_WAIT)
    assert bench.receive() == b"hello world"


def test_fin_alone_out_of_order_waits_as_well(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(FIN | ACK, seq=6)
    bench.expect(ACK, ack=1)
    bench.expect_state(S.ESTABLISHED)
    bench.arrive(ACK, seq=1, payload=b"hello")
    bench.expect(ACK, ack=7)
    bench.expect_state(S.CLOSE_WAIT)


def test_what_waits_beyond_the_fin_is_dropped(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(FIN | ACK, seq=6)
    bench.expect(ACK, ack=1)
    bench.arrive(ACK, seq=20, payload=b"nonsense")
    bench.expect(ACK, ack=1, sack=((20, 28),))
    bench.arrive(ACK, seq=1, payload=b"hello")
    bench.expect(ACK, ack=7, sack=())
    assert bench.receive() == b"hello"
    assert bench.receive() == b""


def test_fin_beyond_the_window_is_cut_off() -> None:
    bench = established(config=SMALL)
    bench.arrive(FIN | ACK, payload=bytes(4097))
    bench.expect(ACK, ack=4097)
    bench.receive()
    bench.expect(ACK, ack=4097)
    bench.arrive(ACK, payload=b"x")
    bench.expect_state(S.ESTABLISHED)
    bench.arrive(FIN | ACK)
    bench.expect(ACK, ack=4099)
    bench.expect_state(S.CLOSE_WAIT)


@pytest.mark.parametrize("make", [established, fin_wait_2])
def test_bare_fin_passes_a_window_of_zero(make: type[Bench], numbers: Numbers) -> None:
    """As on Linux: it takes no room."""
    bench = make(config=SMALL, **numbers)
    bench.arrive(ACK, payload=bytes(4096))
    bench.expect(ACK, ack=4097, wnd=0)
    bench.arrive(FIN | ACK)
    bench.expect(ACK, ack=4098, wnd=0)
    assert len(bench.receive()) == 4096
    assert bench.receive() == b""


@pytest.mark.parametrize("state", [S.CLOSE_WAIT, S.CLOSING, S.LAST_ACK, S.TIME_WAIT])
def test_fin_again_is_acknowledged_again(state: State, numbers: Numbers) -> None:
    bench = IN_STATE[state](**numbers)
    assert bench.arrive(FIN | ACK, seq=1, ack=1) is Verdict.DUPLICATE
    bench.expect(ACK, ack=2)
    bench.expect_state(state)


@pytest.mark.parametrize("state", [S.CLOSING, S.LAST_ACK, S.CLOSE_WAIT])
def test_fin_after_fin_is_ignored(state: State) -> None:
    bench = IN_STATE[state]()
    assert bench.arrive(FIN | ACK, seq=2, ack=1) is Verdict.DUPLICATE
    bench.expect(ACK, ack=2)
    bench.expect_state(state)
