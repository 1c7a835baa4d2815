"""The Timestamps option: what is echoed, and what old ones protect from (RFC 7323)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.tcp.harness import (
    DELAYED_ACK,
    IN_STATE,
    MSS,
    Bench,
    Numbers,
    Offer,
    Sent,
    established,
    syn_received,
    syn_sent,
)
from tunstack.tcp.connection.state import SYNCHRONIZED, State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, Segment

if TYPE_CHECKING:
    from collections.abc import Callable

S = State
DAY: Final = 86400.0
WITHOUT_TIMESTAMPS: Final = Offer(mss=MSS, timestamps=False)


def recent(bench: Bench) -> int:
    """TS.Recent, relative."""
    return bench.ts_recent


# What is sent (section 3)


@pytest.mark.rfc("7323:5.4")
def test_clock_ticks_every_millisecond(numbers: Numbers) -> None:
    bench = established(**numbers)
    for seconds, ticks in [(0.0, 0), (0.0015, 1), (1.0, 1001)]:
        bench.advance(seconds)
        bench.send(b"x")
        bench.expect(ACK | PSH, payload=b"x", ts_val=ticks, ts_ecr=0)
        bench.arrive(ACK, ts_val=0)


def test_clock_wraps() -> None:
    bench = established(iss=0)
    bench.now = 2**32 / 1000 + 5
    bench.send(b"x")
    bench.expect(ACK | PSH, payload=b"x", ts_val=5000)


@pytest.mark.rfc("7323:3.2")
def test_every_segment_carries_timestamps() -> None:
    """A RST as well, which only should."""
    bench = established()
    bench.send(b"x")
    assert bench.expect(ACK | PSH, payload=b"x").ts_val is not None
    bench.arrive(ACK, seq=100, payload=b"y")
    assert bench.expect(ACK, sack=((100, 101),)).ts_val is not None
    bench.shutdown()
    assert bench.expect(FIN | ACK, sack=((100, 101),)).ts_val is not None
    bench.abort()
    bench.expect(RST, ts_val=0)


# TS.Recent (section 4.3)


@pytest.mark.rfc("7323:4.3")
def test_the_ack_of_two_segments_echoes_the_first(numbers: Numbers) -> None:
    """So that the peer's measurement covers our delay."""
    bench = established(**numbers)
    bench.arrive(ACK, payload=bytes(MSS), ts_val=100)
    bench.arrive(ACK, payload=bytes(MSS), ts_val=110)
    bench.expect(ACK, ack=2001, ts_ecr=100)
    bench.arrive(ACK, payload=bytes(MSS), ts_val=120)
    bench.arrive(ACK, payload=bytes(MSS), ts_val=130)
    bench.expect(ACK, ack=4001, ts_ecr=120)


@pytest.mark.rfc("7323:4.3")
def test_a_segment_beyond_a_gap_is_not_echoed(numbers: Numbers) -> None:
    """Last.ACK.sent is before it; the segment that fills the gap is echoed."""
    bench = established(**numbers)
    bench.arrive(ACK, payload=bytes(MSS), ts_val=100)
    bench.advance(DELAYED_ACK)
    bench.expect(ACK, ack=1001, ts_ecr=100)
    bench.arrive(ACK, seq=2001, payload=bytes(MSS), ts_val=120)
    bench.expect(ACK, ack=1001, ts_ecr=100, sack=((2001, 3001),))
    bench.arrive(ACK, seq=1001, payload=bytes(MSS), ts_val=110)
    bench.expect(ACK, ack=3001, ts_ecr=110)


def test_an_old_duplicate_is_not_echoed() -> None:
    bench = established()
    bench.arrive(ACK, payload=b"x", ts_val=100)
    bench.advance(DELAYED_ACK)
    bench.expect(ACK, ts_ecr=100)
    bench.arrive(ACK, seq=1, payload=b"x", ts_val=200)
    bench.expect(ACK, ts_ecr=100, sack=((1, 2),))


def test_a_pure_ack_is_remembered_and_not_answered(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(ACK, ts_val=500)
    assert recent(bench) == 500


@pytest.mark.rfc("7323:4.3")
def test_segment_beyond_a_gap_in_the_batch_of_the_handshake(numbers: Numbers) -> None:
    """Last.ACK.sent is known as soon as their SYN is, though our ACK of it is still to go out."""
    bench = syn_sent(**numbers)
    with bench.batch():
        bench.arrive_syn(SYN | ACK)
        bench.arrive(ACK, seq=1001, payload=bytes(MSS), ts_val=100)
    bench.expect(ACK, ack=1, ts_ecr=0, sack=((1001, 2001),))


@pytest.mark.rfc("7323:4.3")
def test_segment_in_order_in_the_batch_of_the_handshake(numbers: Numbers) -> None:
    bench = syn_sent(**numbers)
    with bench.batch():
        bench.arrive_syn(SYN | ACK)
        bench.arrive(ACK, seq=1, payload=bytes(MSS), ts_val=100)
    bench.expect(ACK, ack=1001, ts_ecr=100)


# PAWS (section 5)


@pytest.mark.rfc("7323:5.3")
@pytest.mark.parametrize("state", sorted(SYNCHRONIZED, key=str))
@pytest.mark.parametrize("older", [1, 2**31 - 1])
def test_older_timestamp_is_refused(state: State, older: int, numbers: Numbers) -> None:
    bench = IN_STATE[state](**numbers)
    bench.arrive(ACK, ack=1, ts_val=500)
    expected = bench.rcv_nxt
    verdict = bench.arrive(ACK, payload=b"from an earlier lap", ts_val=500 - older)
    assert verdict is Verdict.OLD_TIMESTAMP
    answer = bench.expect(ACK, ts_ecr=500)
    assert answer.ack == expected == bench.rcv_nxt


@pytest.mark.rfc("7323:5.3")
@pytest.mark.parametrize("newer", [0, 1, 2**31 - 1])
def test_timestamp_that_is_not_older_passes(newer: int, numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(ACK, ts_val=500)
    assert bench.arrive(ACK, payload=b"x", ts_val=500 + newer) is Verdict.ACCEPTED
    assert recent(bench) == 500 + newer


@pytest.mark.rfc("7323:5.3")
def test_reset_needs_no_timestamp_and_no_new_one() -> None:
    """Section 5.3: PAWS is not for them."""
    for ts_val in (None, 1):
        bench = established()
        bench.arrive(ACK, ts_val=500)
        assert bench.arrive(RST, ts_val=ts_val) is Verdict.RESET


@pytest.mark.rfc("7323:5.5")
@pytest.mark.parametrize(
    ("idle", "verdict"), [(24 * DAY, Verdict.ACCEPTED), (24 * DAY - 1, Verdict.OLD_TIMESTAMP)]
)
def test_after_24_days_ts_recent_is_invalid(idle: float, verdict: Verdict) -> None:
    """Section 5.5: half of the lap of a clock that ticks every millisecond."""
    bench = established()
    bench.advance(1000.0)
    bench.arrive(ACK, ts_val=1_000_000)
    bench.advance(idle)
    assert bench.arrive(ACK, payload=b"x", ts_val=999_999) is verdict
    bench.drain()
    assert recent(bench) == (999_999 if verdict is Verdict.ACCEPTED else 1_000_000)
    bench.advance(1.0)
    bench.drain()


@pytest.mark.parametrize("state", sorted(SYNCHRONIZED, key=str))
def test_segment_without_a_timestamp_is_taken_as_if_none_were_agreed_on(
    state: State, numbers: Numbers
) -> None:
    """As on Linux: RFC 7323 section 3.2 would have it dropped, and the connection hang."""
    bench, plain = IN_STATE[state](**numbers), IN_STATE[state](peer=WITHOUT_TIMESTAMPS, **numbers)
    for each in (bench, plain):
        each.arrive(ACK)
        each.drain()
    verdicts = [each.arrive(ACK | FIN, payload=b"x", ts_val=None) for each in (bench, plain)]
    assert verdicts[0] is verdicts[1]
    assert bench.receive() == plain.receive()
    assert bench.states == plain.states
    answers, others = bench.drain(), plain.drain()
    assert [without_timestamp(sent) for sent in answers] == [*map(without_timestamp, others)]
    assert all(sent.segment.ts_val is not None for sent in answers if sent.segment.flags & ACK)


def without_timestamp(sent: Sent) -> Segment:
    return replace(sent.segment, ts_val=None, ts_ecr=0)


def test_handshake_may_end_without_a_timestamp(numbers: Numbers) -> None:
    bench = syn_received(**numbers)
    assert bench.arrive(ACK, ts_val=None) is Verdict.ACCEPTED
    bench.expect_state(S.ESTABLISHED)
    bench.send(b"x")
    assert bench.expect(ACK, payload=b"x").ts_val is not None


def test_between_segments_without_timestamps_paws_goes_on(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(ACK, payload=b"a", ts_val=500)
    assert bench.arrive(ACK, payload=b"b", ts_val=None) is Verdict.ACCEPTED
    bench.advance(DELAYED_ACK)
    bench.expect(ACK, ack=3, ts_ecr=500)
    assert bench.arrive(ACK, payload=b"old", ts_val=499) is Verdict.OLD_TIMESTAMP
    bench.expect(ACK, ack=3, ts_ecr=500)
    assert bench.receive() == b"ab"


def test_ack_without_a_timestamp_measures_as_without_them(numbers: Numbers) -> None:
    """Karn's rule holds again: of what was sent again, nothing can be measured."""
    bench = established(**numbers)
    before = bench.srtt
    bench.send(b"x")
    bench.drain()
    bench.wait()
    bench.drain()
    bench.advance(0.1)
    assert bench.arrive(ACK, ts_val=None) is Verdict.ACCEPTED
    assert bench.srtt == before
    bench.send(b"y")
    bench.drain()
    bench.advance(0.15)
    bench.arrive(ACK, ts_val=None)
    srtt = bench.srtt
    assert srtt is not None
    assert srtt > (before or 0.0)
    bench.expect_nothing()


def test_keepalive_without_a_timestamp_is_answered(numbers: Numbers) -> None:
    """Those of some systems have none: a healthy peer would be told of a timeout."""
    bench = established(**numbers)
    bench.advance(7200.0)
    assert bench.arrive(ACK, seq=0, ts_val=None) is Verdict.DUPLICATE
    assert bench.expect(ACK, seq=1, ack=1).ts_val == 7_200_000


@pytest.mark.rfc("5961:4.2")
@pytest.mark.parametrize("make", [IN_STATE[S.ESTABLISHED], IN_STATE[S.FIN_WAIT_2]])
def test_syn_without_a_timestamp_is_challenged(make: Callable[..., Bench]) -> None:
    """A peer that has lost its memory must hear of us, to reset us (RFC 5961 section 4)."""
    bench = make()
    assert bench.arrive(SYN, seq=5000, ts_val=None) is Verdict.CHALLENGED_SYN
    bench.expect(ACK, ack=1)


@pytest.mark.rfc("7323:3.2")
def test_timestamps_that_were_not_agreed_on_are_ignored() -> None:
    bench = Bench()
    bench.connection.open_passive()
    bench.arrive(SYN, seq=0, mss=1012)
    bench.drain()
    bench.arrive(ACK)
    assert bench.arrive(ACK, payload=b"x", ts_val=500) is Verdict.ACCEPTED
    assert bench.arrive(ACK, payload=b"y", ts_val=100) is Verdict.ACCEPTED
    bench.advance(DELAYED_ACK)
    bench.expect(ACK, ack=3, ts_val=None)
