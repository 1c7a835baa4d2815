"""Finding out by trying how large a segment arrives (RFC 4821): falling back, searching upwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tcp.harness import Bench, Numbers, Offer, established
from tunstack.tcp.config import Config
from tunstack.tcp.segment import ACK, Segment
from tunstack.tcp.sender.mtu_probing import (
    AFTER_BLACK_HOLE,
    ALWAYS,
    BASE,
    CLOSE_ENOUGH,
    OFF,
    SMALLEST,
    MtuSearch,
    below,
)

if TYPE_CHECKING:
    from collections.abc import Collection

MTU_MSS: Final = 1460
FULL: Final = MTU_MSS - 12
"""Octets of data in a full segment."""
SMALL: Final = BASE - 12
PROBING: Final = Config(
    mss=MTU_MSS, mtu_probing=AFTER_BLACK_HOLE, receive_buffer=1 << 20, send_buffer=1 << 22
)
PEER: Final = Offer(mss=MTU_MSS, wscale=7)


# The search


@given(limit=st.integers(BASE, MTU_MSS))
@pytest.mark.rfc("4821:7.3")
def test_it_comes_as_close_as_a_probe_is_worth(limit: int) -> None:
    """Whatever the path takes; the largest is tried first, and then the middle of what is left."""
    search = MtuSearch(BASE)
    tried = []
    while (size := search.next_size(MTU_MSS, 0.0)) is not None:
        tried.append(size)
        if size <= limit:
            search.arrived(size)
        else:
            search.was_lost(size, 0.0)
    assert limit - CLOSE_ENOUGH < search.low <= limit
    assert tried[0] == MTU_MSS
    assert len(tried) <= 8


@pytest.mark.rfc("4821:7.3")
def test_after_ten_minutes_all_is_tried_again() -> None:
    search = MtuSearch(BASE)
    search.was_lost(MTU_MSS, 5.0)
    search.was_lost(BASE + 2, 5.0)
    assert search.next_size(MTU_MSS, 604.9) is None
    assert search.next_size(MTU_MSS, 605.0) == MTU_MSS
    search.arrived(MTU_MSS)
    assert search.next_size(MTU_MSS, 10_000.0) is None


def test_no_probe_is_larger_than_routers_say() -> None:
    search = MtuSearch(BASE)
    assert search.next_size(1200, 0.0) == 1200
    assert search.next_size(BASE + 7, 0.0) is None


@pytest.mark.rfc("4821:7.7")
def test_where_it_falls_back_to() -> None:
    steps = [MTU_MSS]
    while steps[-1] > SMALLEST:
        steps.append(below(steps[-1]))
    assert steps == [MTU_MSS, *(BASE >> times for times in range(5)), SMALLEST]
    assert below(SMALLEST) == SMALLEST


# Black holes


def bulk(config: Config = PROBING, size: int = 300_000, **setup: Any) -> Bench:
    """A bench with much to send, and ten full segments on their way."""
    bench = established(config=config, **{"peer": PEER, **setup})
    bench.send(bytes(size))
    return bench


def timeouts(bench: Bench, count: int) -> list[Segment]:
    """What the next `count` timeouts send again."""
    again: list[Segment] = []
    while len(again) < count:
        again += [
            each.segment for each in bench.drain() if each.segment.note == "retransmission: timeout"
        ]
        if len(again) < count:
            bench.wait()
    return again


@pytest.mark.rfc("4821:7.7", "8899:4.3")
def test_the_third_timeout_of_a_full_segment_makes_it_smaller(numbers: Numbers) -> None:
    bench = bulk(**numbers)
    again = timeouts(bench, 3)
    assert {segment.seq for segment in again} == {1}
    assert [len(segment.payload) for segment in again] == [FULL, FULL, SMALL]
    assert bench.snd_mss == SMALL


@pytest.mark.rfc("4821:7.7")
def test_more_timeouts_halve_it_down_to_the_least() -> None:
    bench = bulk()
    sizes = [len(segment.payload) for segment in timeouts(bench, 14)]
    assert sizes == [
        *(FULL, FULL),
        *(SMALL, SMALL),
        *(500, 500),
        *(244, 244),
        *(116, 116),
        *(52, 52),
        *(36, 36),
    ]


def test_a_small_segment_is_not_suspected() -> None:
    bench = established(config=PROBING, peer=PEER)
    bench.send(bytes(SMALL))
    timeouts(bench, 5)
    assert bench.snd_mss == FULL


def test_timeouts_of_different_segments_are_not_added() -> None:
    bench = bulk()
    for number in range(1, 6):
        timeouts(bench, 2)
        bench.arrive(ACK, ack=1 + number * FULL)
        bench.drain()
    assert bench.snd_mss == FULL


def test_it_can_be_off() -> None:
    bench = bulk(replace(PROBING, mtu_probing=OFF))
    assert {len(segment.payload) for segment in timeouts(bench, 8)} == {FULL}


def test_what_is_sent_after_it_is_small_as_well(numbers: Numbers) -> None:
    """And what was on its way is sent again at once when the first arrives: it was too large."""
    bench = bulk(**numbers)
    timeouts(bench, 3)
    bench.arrive(ACK, ack=1 + SMALL)
    sent = [each.segment for each in bench.drain()]
    assert sent
    assert {len(segment.payload) for segment in sent} <= {SMALL, FULL - SMALL}


# Probes


def acknowledge(bench: Bench, lost: Collection[int] = ()) -> list[Segment]:
    """The peer takes everything that is sent, some round trips long, but segments of some sizes."""
    probes: list[Segment] = []
    held: set[tuple[int, int]] = set()
    nxt = bench.snd_una
    for _ in range(1000):
        sent = [each.segment for each in bench.drain()]
        if not sent:
            if nxt == bench.snd_nxt:
                break
            bench.wait()
            continue
        for segment in sent:
            size = len(segment.payload)
            if segment.note == "size probe":
                probes.append(segment)
            if size in lost:
                continue
            held.add((segment.seq, segment.seq + size))
        while more := [end for start, end in held if start <= nxt < end]:
            nxt = max(more)
        blocks = merged([edges for edges in held if edges[0] > nxt])
        with bench.batch():
            for _ in sent:
                bench.arrive(ACK, ack=nxt, sack=blocks[-3:])
    return probes


def merged(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined)


def fallen_back(**setup: Any) -> Bench:
    """A bench that has found a black hole, and sends small segments."""
    bench = bulk(size=2_000_000, **setup)
    timeouts(bench, 3)
    bench.arrive(ACK, ack=1 + SMALL)
    return bench


@pytest.mark.rfc("4821:7.6.1", "8899:4.2")
def test_a_probe_that_arrives_makes_segments_larger(numbers: Numbers) -> None:
    """It was no black hole: one probe brings everything back."""
    bench = fallen_back(**numbers)
    probes = acknowledge(bench)
    assert [len(segment.payload) for segment in probes] == [FULL]
    assert bench.snd_mss == FULL
    assert bench.path_size == MTU_MSS


@pytest.mark.rfc("5927:7.2", "8899:4.6.1")
@pytest.mark.parametrize("about", ["segment", "probe"])
def test_after_a_black_hole_a_report_is_accepted_at_once(about: str) -> None:
    """Full segments had arrived; but the path has changed since, and that proves nothing now."""
    bench = bulk(size=2_000_000)
    bench.drain()
    bench.arrive(ACK)
    assert bench.proven_size == FULL
    assert len(timeouts(bench, 3)[-1].payload) == SMALL
    seq, size = bench.snd_una, SMALL - 100
    if about == "probe":
        while "size probe" not in (notes := {each.segment.note: each for each in bench.drain()}):
            bench.arrive(ACK)
        seq, size = notes["size probe"].segment.seq, SMALL + 100
    bench.fragmentation_needed(seq, size + 12, bench.now)
    assert bench.told_size == size + 12
    assert bench.path_has_changed


@pytest.mark.rfc("4821:7.6.2", "8899:3")
def test_a_probe_that_is_lost_is_no_congestion(numbers: Numbers) -> None:
    bench = fallen_back(**numbers)
    bench.ssthresh = 100 * SMALL
    lost = set(range(1201, FULL + 1))
    probes = acknowledge(bench, lost=lost)
    sizes = [len(segment.payload) for segment in probes]
    assert sizes[0] == FULL
    assert len(lost & {*sizes}) >= 2
    assert 1200 - CLOSE_ENOUGH < bench.snd_mss <= 1200
    assert bench.ssthresh == 100 * SMALL
    assert bench.cwnd >= 100 * SMALL


@pytest.mark.rfc("4821:7.4")
def test_nothing_is_probed_where_a_loss_would_take_a_timeout() -> None:
    """Behind the probe must follow what draws duplicate ACKs."""
    bench = fallen_back()
    acknowledge(bench, lost={FULL})
    bench.search_anew(BASE)
    bench.send(bytes(FULL + 3 * bench.snd_mss))
    assert "size probe" not in {each.segment.note for each in bench.drain()}
    bench.arrive(ACK)
    bench.send(bytes(FULL + 4 * bench.snd_mss))
    assert "size probe" in {each.segment.note for each in bench.drain()}


def test_nothing_is_probed_before_there_was_a_black_hole() -> None:
    bench = bulk()
    assert acknowledge(bench) == []


@pytest.mark.rfc("4821:7.2")
def test_always_begins_with_the_base_and_probes_at_once() -> None:
    bench = bulk(replace(PROBING, mtu_probing=ALWAYS))
    assert bench.snd_mss == SMALL
    assert [len(segment.payload) for segment in acknowledge(bench)] == [FULL]
    assert bench.snd_mss == FULL


@pytest.mark.rfc("4821:7.6.4")
def test_a_probe_lost_beside_others_proves_nothing() -> None:
    """That is congestion; and its size may be tried again."""
    bench = bulk(replace(PROBING, mtu_probing=ALWAYS), size=100_000)
    sent = [each.segment for each in bench.drain()]
    (probe,) = (segment for segment in sent if segment.note)
    before = bench.cwnd
    edge = sent[sent.index(probe) + 2].seq  # The probe, and the segment behind it.
    end = sent[-1].seq + len(sent[-1].payload)
    bench.arrive(ACK, ack=probe.seq, sack=((edge, end),))
    again = [each.segment.note for each in bench.drain()]
    assert again[0] == "retransmission: fast"
    assert bench.ssthresh < before
    bench.arrive(ACK)
    assert [len(segment.payload) for segment in acknowledge(bench)] == [FULL]


@pytest.mark.rfc("4821:7.6.3")
def test_a_probe_that_times_out_has_failed() -> None:
    peer = replace(PEER, sack_permitted=False)
    bench = bulk(replace(PROBING, mtu_probing=ALWAYS), size=400_000, peer=peer)
    sent = [each.segment for each in bench.drain()]
    (probe,) = (segment for segment in sent if segment.note)
    bench.arrive(ACK, ack=probe.seq)
    timeouts(bench, 1)
    bench.arrive(ACK)
    sizes = [len(segment.payload) for segment in acknowledge(bench)]
    assert sizes
    assert max(sizes) < FULL


@pytest.mark.rfc("4821:7.6.2")
def test_without_sack_a_lost_probe_shows_by_duplicate_acks() -> None:
    """All of it goes again, though none but its first octets are known to be lost."""
    peer = replace(PEER, sack_permitted=False)
    bench = bulk(replace(PROBING, mtu_probing=ALWAYS), size=400_000, peer=peer)
    before = bench.cwnd, bench.ssthresh
    sent = [each.segment for each in bench.drain()]
    (probe,) = (segment for segment in sent if segment.note)
    bench.arrive(ACK, ack=probe.seq)
    bench.drain()
    with bench.batch():
        for _ in range(3):
            bench.arrive(ACK, ack=probe.seq)
    again = [each.segment for each in bench.drain() if each.segment.note]
    assert [len(segment.payload) for segment in again] == [SMALL, FULL - SMALL]
    assert {segment.note for segment in again} == {"retransmission: too large"}
    assert bench.ssthresh == before[1]
    assert bench.cwnd >= before[0]
