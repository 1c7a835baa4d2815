"""Explicit congestion notification: who agrees on it, what is marked, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from tests.tcp.harness import CONFIG, MSS, Bench, Numbers, accepted, crossed, listening, syn_sent
from tunstack.tcp.congestion import Cubic, Reno
from tunstack.tcp.connection.ecn import ACCEPT, CE, ECT_0, ECT_1, NOT_ECT, OFF, REQUEST
from tunstack.tcp.connection.state import State
from tunstack.tcp.recovery.recovery_variables import Phase
from tunstack.tcp.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN

S = State
ASKING: Final = replace(CONFIG, ecn=REQUEST)
TEXT: Final = bytes(n % 251 for n in range(60_000))
WINDOW: Final = 10
"""Segments that go out at first."""


def willing(**setup: Any) -> Bench:
    """ESTABLISHED by an active OPEN that asked for ECN, with a peer that agreed."""
    bench = syn_sent(config=setup.pop("config", ASKING), **setup)
    bench.arrive_syn(SYN | ACK | ECE)
    bench.drain()
    return bench


def in_flight(**setup: Any) -> Bench:
    """A bench with ten segments on their way, and more queued."""
    bench = willing(**setup)
    bench.send(TEXT)
    for number in range(WINDOW):
        bench.expect(ACK, seq=1 + number * MSS, size=MSS, ecn=ECT_0)
    return bench


def cwnd(bench: Bench) -> int:
    return bench.cwnd


def capable(bench: Bench) -> bool:
    return bench.ecn_capable


# Agreement (section 6.1.1)


@pytest.mark.rfc("3168:6.1.1", "SHLD-8")
def test_an_active_open_asks_if_it_is_to() -> None:
    bench = Bench(ASKING)
    bench.open_active()
    syn = bench.pending.popleft().segment
    assert (syn.flags, syn.ecn) == (SYN | ECE | CWR, NOT_ECT)


@pytest.mark.rfc("3168:6.1.1")
@pytest.mark.parametrize("mode", [OFF, ACCEPT])
def test_an_active_open_does_not_ask_otherwise(mode: int) -> None:
    """2 is the default, as on Linux."""
    bench = Bench(replace(CONFIG, ecn=mode))
    bench.open_active()
    assert bench.pending.popleft().segment.flags == SYN
    assert CONFIG.ecn == ACCEPT


@pytest.mark.rfc("3168:6.1.1", "SHLD-8")
@pytest.mark.parametrize("mode", [REQUEST, ACCEPT])
def test_a_passive_open_agrees_when_asked(mode: int, numbers: Numbers) -> None:
    bench = listening(config=replace(CONFIG, ecn=mode), **numbers)
    bench.arrive_syn(SYN | ECE | CWR)
    syn = bench.pending.popleft().segment
    assert (syn.flags, syn.ecn) == (SYN | ACK | ECE, NOT_ECT)
    bench.arrive(ACK)
    assert capable(bench)


@pytest.mark.rfc("3168:6.1.1")
def test_a_passive_open_does_not_agree_when_it_is_off() -> None:
    bench = listening(config=replace(CONFIG, ecn=OFF))
    bench.arrive_syn(SYN | ECE | CWR)
    assert bench.pending.popleft().segment.flags == SYN | ACK
    bench.arrive(ACK)
    assert not capable(bench)


@pytest.mark.rfc("3168:6.1.1")
@pytest.mark.parametrize("flags", [0, ECE, CWR])
def test_a_syn_that_does_not_ask_is_answered_plainly(flags: int) -> None:
    bench = listening(config=ASKING)
    bench.arrive_syn(SYN | flags)
    assert bench.pending.popleft().segment.flags == SYN | ACK
    bench.arrive(ACK)
    assert not capable(bench)


@pytest.mark.parametrize("codepoint", [ECT_0, ECT_1, CE])
def test_a_syn_that_claims_ect_is_not_trusted(codepoint: int) -> None:
    """A host MUST NOT send one (section 6.1.1): the octet means something else, or was mangled."""
    bench = listening(config=ASKING)
    bench.arrive(SYN | ECE | CWR, seq=0, ecn=codepoint)
    assert bench.pending.popleft().segment.flags == SYN | ACK


@pytest.mark.rfc("3168:6.1.1")
def test_an_ece_in_the_answer_agrees(numbers: Numbers) -> None:
    assert capable(willing(**numbers))


@pytest.mark.rfc("3168:6.1.1.2")
@pytest.mark.parametrize("flags", [0, ECE | CWR, CWR])
def test_reflected_flags_agree_to_nothing(flags: int) -> None:
    bench = syn_sent(config=ASKING)
    bench.arrive_syn(SYN | ACK | flags)
    bench.drain()
    assert not capable(bench)
    bench.send(TEXT)
    assert {sent.segment.ecn for sent in bench.drain()} == {NOT_ECT}


def test_ecn_is_not_accepted_unless_requested() -> None:
    bench = syn_sent()
    bench.arrive_syn(SYN | ACK | ECE)
    bench.drain()
    assert not capable(bench)


@pytest.mark.rfc("3168:6.1.1.1")
def test_a_syn_that_is_not_answered_goes_again_without(numbers: Numbers) -> None:
    bench = syn_sent(config=ASKING, **numbers)
    bench.advance(3.0)
    assert [sent.segment.flags for sent in bench.drain()] == [SYN, SYN]


@pytest.mark.rfc("3168:6.1.1")
def test_whoever_sent_a_syn_without_sends_no_ect_but_hears_marks(numbers: Numbers) -> None:
    """The answer may be to the first, which asked."""
    bench = syn_sent(config=ASKING, **numbers)
    bench.advance(1.0)
    bench.drain()
    bench.arrive_syn(SYN | ACK | ECE)
    bench.drain()
    bench.send(b"x")
    bench.expect(ACK | PSH, payload=b"x", ecn=NOT_ECT)
    bench.arrive(ACK | PSH, payload=b"y", ecn=CE)
    bench.expect(ACK | ECE, ack=2)


@pytest.mark.rfc("3168:6.1.1")
def test_a_retransmitted_syn_without_ecn_disables_ect(numbers: Numbers) -> None:
    """It went on without: a middlebox may have swallowed what asked."""
    bench = listening(config=ASKING, **numbers)
    bench.arrive_syn(SYN | ECE | CWR)
    bench.drain()
    bench.arrive_syn(SYN)
    assert bench.pending.popleft().segment.flags == SYN | ACK
    bench.arrive(ACK)
    assert not capable(bench)


def test_two_that_ask_each_other_agree(numbers: Numbers) -> None:
    bench = syn_sent(config=ASKING, **numbers)
    bench.arrive_syn(SYN | ECE | CWR)
    assert bench.pending.popleft().segment.flags == SYN | ACK | ECE
    bench.arrive_syn(SYN | ACK | ECE)
    bench.drain()
    bench.expect_state(S.ESTABLISHED)
    assert capable(bench)


def test_one_that_did_not_ask_does_not_agree_to_a_crossing_syn() -> None:
    """It has sent a SYN without, after which it MUST NOT send ECT."""
    bench = crossed()
    assert not capable(bench)
    bench = syn_sent()
    bench.arrive_syn(SYN | ECE | CWR)
    assert bench.pending.popleft().segment.flags == SYN | ACK


# What is ECT


@pytest.mark.rfc("3168:6.1.2", "SHLD-8")
def test_new_data_is_ect_0(numbers: Numbers) -> None:
    bench = willing(**numbers)
    bench.send(b"hello")
    bench.expect(ACK | PSH, payload=b"hello", ecn=ECT_0)


@pytest.mark.rfc("3168:6.1.5", "8311:4.3")
def test_a_retransmission_is_not(numbers: Numbers) -> None:
    bench = willing(**numbers)
    bench.send(b"hello")
    bench.drain()
    bench.wait()
    bench.expect(ACK | PSH, payload=b"hello", ecn=NOT_ECT)


@pytest.mark.rfc("3168:6.1.4", "8311:4.3")
def test_an_ack_is_not(numbers: Numbers) -> None:
    bench = willing(**numbers)
    bench.arrive(ACK | PSH, payload=b"hello")
    bench.advance(1.0)
    bench.expect(ACK, ecn=NOT_ECT)


@pytest.mark.rfc("3168:6.1.6", "8311:4.3")
def test_a_window_probe_is_not() -> None:
    bench = willing()
    bench.arrive(ACK, wnd=0)
    bench.send(b"waiting")
    bench.wait()
    bench.expect(ACK, note="window probe", ecn=NOT_ECT)


@pytest.mark.rfc("8311:4.3")
def test_neither_is_a_fin_or_a_reset() -> None:
    bench = willing()
    bench.shutdown()
    bench.expect(ACK | FIN, ecn=NOT_ECT)
    bench.abort()
    bench.expect(RST, ecn=NOT_ECT)


# The receiver (section 6.1.3)


@pytest.mark.rfc("3168:6.1.3", "SHLD-8")
def test_a_mark_is_echoed_at_once_and_until_cwr(numbers: Numbers) -> None:
    bench = accepted_and_capable(**numbers)
    bench.arrive(ACK | PSH, payload=b"a", ecn=CE)
    bench.expect(ACK | ECE, at=0.0, ack=2)
    bench.arrive(ACK | PSH, payload=b"b", ecn=ECT_0)
    bench.advance(0.1)
    bench.expect(ACK | ECE, ack=3)
    bench.send(b"data")
    bench.expect(ACK | PSH | ECE, payload=b"data")
    bench.arrive(ACK | PSH | CWR, payload=b"c", ecn=ECT_0)
    bench.expect(ACK, ack=4)
    bench.arrive(ACK | PSH, payload=b"d", ecn=ECT_0)
    bench.advance(0.1)
    bench.expect(ACK, ack=5)


def accepted_and_capable(**setup: Any) -> Bench:
    bench = listening(**setup)
    bench.arrive_syn(SYN | ECE | CWR)
    bench.drain()
    bench.arrive(ACK)
    return bench


@pytest.mark.rfc("3168:6.1.3", "SHLD-8")
def test_a_cwr_that_is_marked_itself_ends_nothing() -> None:
    bench = accepted_and_capable()
    bench.arrive(ACK | PSH, payload=b"a", ecn=CE)
    bench.drain()
    bench.arrive(ACK | PSH | CWR, payload=b"b", ecn=CE)
    bench.advance(0.1)
    bench.expect(ACK | ECE, ack=3)


@pytest.mark.rfc("3168:6.1.3", "SHLD-8")
def test_a_mark_out_of_order_counts() -> None:
    bench = accepted_and_capable()
    bench.arrive(ACK | PSH, seq=101, payload=b"a", ecn=CE)
    bench.expect(ACK | ECE, ack=1, sack=((101, 102),))


@pytest.mark.rfc("3168:6.1.5")
@pytest.mark.parametrize("seq", [0, 1 << 21])
def test_a_mark_outside_of_the_window_is_ignored(seq: int) -> None:
    bench = accepted_and_capable()
    bench.arrive(ACK | PSH, payload=b"a")
    bench.advance(0.1)
    bench.expect(ACK, ack=2)
    bench.arrive(ACK | PSH, seq=seq, payload=b"a", ecn=CE)
    answer = bench.pending.popleft().segment
    assert answer.flags == ACK


def test_a_mark_without_data_is_ignored() -> None:
    bench = accepted_and_capable()
    bench.arrive(ACK, ecn=CE)
    bench.arrive(ACK | PSH, payload=b"a")
    bench.advance(0.1)
    bench.expect(ACK, ack=2)


def test_without_an_agreement_marks_mean_nothing() -> None:
    bench = accepted()
    bench.arrive(ACK | PSH, payload=b"a", ecn=CE)
    bench.advance(0.1)
    bench.expect(ACK, ack=2)


def test_a_reset_carries_no_echo() -> None:
    bench = accepted_and_capable()
    bench.arrive(ACK | PSH, payload=b"a", ecn=CE)
    bench.drain()
    bench.abort()
    bench.expect(RST)


# The sender (section 6.1.2)


@pytest.mark.rfc("3168:6.1.2", "SHLD-8")
def test_an_echo_brings_the_window_down_and_cwr_goes_out_once(numbers: Numbers) -> None:
    """In slow start by as much as for a loss. Nothing is sent again."""
    bench = in_flight(**numbers)
    bench.arrive(ACK | ECE, ack=1 + MSS)
    sent = 0
    for number in range(2, WINDOW + 1):
        bench.arrive(ACK | ECE, ack=1 + number * MSS)
        for data in bench.drain():
            assert data.segment.ecn == ECT_0
            assert data.segment.flags & CWR == (0 if sent else CWR)
            assert data.segment.seq == 1 + (WINDOW + sent) * MSS
            sent += 1
    assert bench.ssthresh == cwnd(bench) == int(WINDOW * MSS * 0.7)
    bench.arrive(ACK, ack=1 + (WINDOW + 1) * MSS)
    bench.drain()
    assert bench.retransmissions == 0


@pytest.mark.rfc("3168:6.1.2", "SHLD-8")
def test_once_for_a_window_of_data(numbers: Numbers) -> None:
    """The echo goes on until the peer sees our CWR: not before that is it news."""
    bench = in_flight(**numbers)
    thresholds = []
    for number in range(1, WINDOW + 3):
        bench.arrive(ACK | ECE, ack=1 + number * MSS)
        bench.drain()
        thresholds.append(bench.ssthresh)
    assert thresholds[:WINDOW] == [7 * MSS] * WINDOW
    assert thresholds[WINDOW] == thresholds[WINDOW + 1] == int(7 * MSS * 0.85)


@pytest.mark.rfc("3168:6.1.2", "SHLD-8")
def test_the_window_does_not_grow_by_an_ack_that_echoes() -> None:
    bench = in_flight()
    before = cwnd(bench)
    for number in range(1, WINDOW):
        bench.arrive(ACK | ECE, ack=1 + number * MSS)
        bench.drain()
        assert cwnd(bench) <= before


def test_an_echo_means_nothing_to_who_sends_no_ect() -> None:
    bench = accepted()
    bench.send(TEXT)
    bench.drain()
    bench.arrive(ACK | ECE, ack=1 + MSS)
    bench.drain()
    assert cwnd(bench) > WINDOW * MSS


@pytest.mark.rfc("3168:6.1.2", "SHLD-8")
def test_cwr_is_sent_after_a_loss_as_well(numbers: Numbers) -> None:
    """On new data: never on what is sent again."""
    bench = in_flight(**numbers)
    lose_first(bench)
    sent = [each.segment for each in bench.drain()]
    assert sent[0].note == "retransmission: fast"
    bench.arrive(ACK, ack=1 + WINDOW * MSS)
    sent += [each.segment for each in bench.drain()]
    again = [each for each in sent if each.note]
    new = [each for each in sent if not each.note]
    assert {(each.ecn, each.flags & CWR) for each in again} == {(NOT_ECT, 0)}
    assert [each.flags & CWR for each in new] == [CWR] + [0] * (len(new) - 1)


@pytest.mark.rfc("3168:6.1.2", "SHLD-8")
def test_cwr_is_sent_after_a_timeout_as_well(numbers: Numbers) -> None:
    bench = willing(**numbers)
    bench.send(TEXT[:MSS])
    while "retransmission: timeout" not in [each.segment.note for each in bench.drain()]:
        bench.wait()
    bench.arrive(ACK)
    bench.send(b"a")
    bench.expect(ACK | PSH | CWR, payload=b"a", ecn=ECT_0)
    bench.arrive(ACK)
    bench.send(b"b")
    bench.expect(ACK | PSH, payload=b"b", ecn=ECT_0)


def lose_first(bench: Bench, *, flags: int = ACK) -> None:
    """SACKs say that all but the first segment of the flight arrived."""
    for number in range(2, 6):
        with bench.batch():
            bench.arrive(flags, ack=1, sack=((1 + MSS, 1 + number * MSS),))
        if bench.pending:
            break


@pytest.mark.rfc("3168:6.1.2", "SHLD-8")
def test_a_loss_in_the_window_of_a_mark_does_not_count_twice(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    bench.arrive(ACK | ECE, ack=1 + MSS)
    bench.drain()
    threshold = bench.ssthresh
    bench.arrive(ACK | ECE, ack=1 + MSS, sack=((1 + 2 * MSS, 1 + 6 * MSS),))
    assert bench.drain()[0].segment.note == "retransmission: fast"
    assert bench.phase is Phase.RECOVERY
    assert bench.ssthresh == threshold


@pytest.mark.rfc("3168:6.1.2", "SHLD-8")
def test_a_mark_in_the_window_of_a_loss_does_not_count_twice(numbers: Numbers) -> None:
    bench = in_flight(**numbers)
    bench.arrive(ACK, ack=1, sack=((1 + MSS, 1 + 5 * MSS),))
    assert bench.drain()[0].segment.note == "retransmission: fast"
    threshold = bench.ssthresh
    bench.arrive(ACK | ECE, ack=1 + WINDOW * MSS)
    bench.drain()
    assert bench.ssthresh == threshold


# Undoing


def spurious(bench: Bench, *, flags: int) -> None:
    """The first segment was only late: it arrives, and so does what was sent again for it."""
    bench.arrive(ACK, ack=1, sack=((1 + MSS, 1 + 5 * MSS),))
    assert bench.drain()[0].segment.note == "retransmission: fast"
    bench.arrive(flags, ack=1 + 5 * MSS)
    bench.drain()
    bench.arrive(flags, ack=1 + 5 * MSS, sack=((1, 1 + MSS),))
    bench.drain()


def test_a_spurious_reduction_is_undone() -> None:
    bench = in_flight()
    spurious(bench, flags=ACK)
    assert bench.undone == 1
    assert cwnd(bench) >= WINDOW * MSS


@pytest.mark.rfc("3168:6.1.2", "SHLD-8")
def test_but_not_if_something_was_marked_meanwhile() -> None:
    """It stays at what the reduction came to: the mark calls for one."""
    bench = in_flight()
    spurious(bench, flags=ACK | ECE)
    assert bench.undone == 1
    assert cwnd(bench) <= 7 * MSS


def test_undoing_a_loss_does_not_undo_the_mark_before_it() -> None:
    bench = in_flight()
    bench.arrive(ACK | ECE, ack=1 + MSS)
    bench.drain()
    threshold = bench.ssthresh
    bench.arrive(ACK | ECE, ack=1 + MSS, sack=((1 + 2 * MSS, 1 + 6 * MSS),))
    assert bench.drain()[0].segment.note == "retransmission: fast"
    bench.arrive(ACK | ECE, ack=1 + 6 * MSS)
    bench.drain()
    bench.arrive(ACK | ECE, ack=1 + 6 * MSS, sack=((1 + MSS, 1 + 2 * MSS),))
    bench.drain()
    assert bench.undone == 1
    assert cwnd(bench) <= bench.ssthresh == threshold


# How much (RFC 8511)


@pytest.mark.rfc("8511:3", "8311:4.1")
@pytest.mark.parametrize(("kind", "beta"), [(Cubic, 0.85), (Reno, 0.8)])
def test_a_mark_takes_less_than_a_loss(kind: type[Cubic | Reno], beta: float) -> None:
    """In congestion avoidance."""
    congestion = kind()
    congestion.set_mss(MSS, 100)
    congestion.ssthresh = congestion.cwnd
    congestion.marked(100 * MSS, 1.0)
    assert congestion.ssthresh == 100 * MSS * beta


@pytest.mark.rfc("8511:3", "8311:4.1")
@pytest.mark.parametrize(("kind", "beta"), [(Cubic, 0.7), (Reno, 0.5)])
def test_in_slow_start_it_takes_as_much(kind: type[Cubic | Reno], beta: float) -> None:
    congestion = kind()
    congestion.set_mss(MSS, 100)
    congestion.marked(100 * MSS, 1.0)
    assert congestion.ssthresh == 100 * MSS * beta


@pytest.mark.rfc("8511:3")
@pytest.mark.parametrize("kind", [Cubic, Reno])
def test_two_segments_are_left_at_the_least(kind: type[Cubic | Reno]) -> None:
    congestion = kind()
    congestion.set_mss(MSS, 1)
    congestion.marked(MSS, 1.0)
    assert congestion.ssthresh == 2 * MSS
