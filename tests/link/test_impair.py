"""A bad path, decided packet by packet."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunstack.path.impair import Impairer, Impairments, PacketPath

if TYPE_CHECKING:
    from tunstack.link.base import Buffer


def impairer(seed: int = 1, **impairments: Any) -> Impairer:
    return Impairer(Impairments(**impairments), random.Random(seed))


def test_a_perfect_path_delivers_at_once() -> None:
    path = impairer()
    assert [path.admit(now) for now in (0.0, 1.5, 1.5)] == [[0.0], [1.5], [1.5]]


def test_delay_is_added_to_every_packet() -> None:
    path = impairer(delay=0.25)
    assert [path.admit(now) for now in (0.0, 1.0)] == [[0.25], [1.25]]


def test_loss_drops_its_share_of_packets() -> None:
    path = impairer(loss=0.25)
    lost = sum(not path.admit(0.0) for _ in range(2000))
    assert 430 < lost < 570  # four standard deviations either side; the seed is fixed


def test_total_loss_delivers_nothing() -> None:
    path = impairer(loss=1.0, duplicate=1.0, reorder=1.0)
    assert not any(path.admit(0.0) for _ in range(100))


def test_duplicates_arrive_as_two_copies() -> None:
    path = impairer(duplicate=0.25, delay=0.5)
    copies = [path.admit(0.0) for _ in range(2000)]
    assert all(arrivals in ([0.5], [0.5, 0.5]) for arrivals in copies)
    assert 430 < sum(len(arrivals) == 2 for arrivals in copies) < 570


@given(
    seed=st.integers(0, 2**32),
    jitter=st.floats(0, 10),
    gaps=st.lists(st.floats(0, 1), min_size=2, max_size=50),
)
def test_jitter_alone_never_reorders(seed: int, jitter: float, gaps: list[float]) -> None:
    path = impairer(seed, delay=0.1, jitter=jitter, duplicate=0.2)
    now, arrivals = 0.0, []
    for gap in gaps:
        now += gap
        arrivals += path.admit(now)
        assert arrivals[-1] >= now + 0.1
    assert arrivals == sorted(arrivals)


def test_jitter_spreads_packets_over_its_width() -> None:
    path = impairer(jitter=0.5)
    delays = [path.admit(now)[0] - now for now in map(float, range(500))]
    assert 0.0 <= min(delays) < 0.02
    assert 0.48 < max(delays) <= 0.5


@pytest.mark.parametrize("timing", [{}, {"delay": 0.05}, {"delay": 0.05, "jitter": 0.01}])
def test_a_reordered_packet_is_passed_by_later_ones(timing: dict[str, Any]) -> None:
    path = Impairer(Impairments(reorder=0.1, **timing), random.Random(1))
    arrivals = [path.admit(0.0)[0] for _ in range(200)]
    passed = sum(
        any(later < arrival for later in arrivals[index + 1 :])
        for index, arrival in enumerate(arrivals)
    )
    assert 5 < passed < 40


def test_packets_do_not_wait_for_a_reordered_one() -> None:
    path = impairer(reorder=1.0, delay=1.0)
    (held,) = path.admit(0.0)
    path.impairments = Impairments(delay=1.0)
    assert held > 1.0
    assert path.admit(0.0) == [1.0]


def test_the_same_seed_gives_the_same_path() -> None:
    wishes = dict.fromkeys(("loss", "delay", "jitter", "reorder", "duplicate"), 0.1)

    def trace(seed: int) -> list[tuple[list[float], Buffer]]:
        path = impairer(seed, corrupt=0.1, rate=1e5, **wishes)
        return [(path.admit(now, 99), path.corrupt(bytes(9))) for now in map(float, range(100))]

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


@pytest.mark.parametrize("name", ["loss", "reorder", "duplicate", "corrupt"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_probability_outside_0_to_1_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a probability"):
        impairer(1, **{name: value})


@pytest.mark.parametrize("name", ["delay", "jitter"])
@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_a_time_that_is_negative_or_not_finite_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 0 or more seconds"):
        impairer(1, **{name: value})


class TestBottleneck:
    """A rate, and the queue before it."""

    def test_packets_leave_one_after_the_other_at_the_rate(self) -> None:
        path = impairer(rate=8000.0)  # a byte takes a millisecond
        assert [path.admit(0.0, 100), path.admit(0.0, 50)] == [[0.1], [pytest.approx(0.15)]]
        assert path.admit(1.0, 100) == [1.1]

    def test_the_delay_begins_behind_it(self) -> None:
        path = impairer(rate=8000.0, delay=2.0)
        assert [path.admit(0.0, 100), path.admit(0.0, 100)] == [[2.1], [2.2]]

    def test_a_full_queue_drops_what_comes_and_takes_more_once_there_is_room(self) -> None:
        path = Impairer(Impairments(rate=8000.0, limit=3), random.Random(1))
        assert [len(path.admit(0.0, 100)) for _ in range(5)] == [1, 1, 1, 0, 0]
        assert path.admit(0.05, 100) == []  # the first is still on its way through
        assert path.admit(0.11, 100) == [pytest.approx(0.4)]
        assert path.counts["overflowed"] == 3

    def test_the_queue_holds_1000_packets_by_default(self) -> None:
        path = impairer(rate=1e6)
        assert sum(bool(path.admit(0.0, 1500)) for _ in range(1200)) == 1000

    def test_the_queue_may_be_limited_in_bytes(self) -> None:
        path = Impairer(Impairments(rate=8000.0, limit_bytes=250), random.Random(1))
        assert [len(path.admit(0.0, 100)) for _ in range(4)] == [1, 1, 0, 0]
        assert path.admit(0.0, 50) == [pytest.approx(0.25)]
        assert path.admit(0.051, 1) == [pytest.approx(0.251)]

    def test_an_empty_queue_takes_a_packet_of_any_size(self) -> None:
        path = Impairer(Impairments(rate=8000.0, limit_bytes=10), random.Random(1))
        assert path.admit(0.0, 100) == [0.1]
        assert path.admit(0.05, 1) == []
        assert path.admit(0.2, 100) == [pytest.approx(0.3)]

    def test_what_is_lost_takes_no_time_there(self) -> None:
        path = impairer(rate=8000.0, loss=1.0)
        path.admit(0.0, 100)
        path.impairments = Impairments(rate=8000.0)
        assert path.admit(0.0, 100) == [0.1]

    def test_a_duplicate_is_made_behind_it(self) -> None:
        path = impairer(rate=8000.0, duplicate=1.0)
        assert [path.admit(0.0, 100), path.admit(0.0, 100)] == [[0.1, 0.1], [0.2, 0.2]]

    def test_without_a_rate_there_is_no_queue(self) -> None:
        path = Impairer(Impairments(limit=1, delay=1.0), random.Random(1))
        assert [path.admit(0.0, 1500) for _ in range(3)] == [[1.0]] * 3


class TestCorruption:
    """A bit that flips."""

    def test_its_share_of_packets_has_exactly_one_bit_flipped(self) -> None:
        path, packet = impairer(corrupt=0.25), bytes(100)
        arrived = [path.corrupt(packet) for _ in range(2000)]
        flipped = [int.from_bytes(each).bit_count() for each in arrived]
        assert set(flipped) == {0, 1}
        assert 430 < sum(flipped) < 570
        assert path.counts["corrupted"] == sum(flipped)

    def test_any_bit_may_be_it(self) -> None:
        path = impairer(corrupt=1.0)
        assert {int.from_bytes(path.corrupt(bytes(2))).bit_length() for _ in range(500)} == set(
            range(1, 17)
        )

    def test_the_buffer_that_was_given_stays_as_it_was(self) -> None:
        packet = bytearray(100)
        assert bytes(impairer(corrupt=1.0).corrupt(memoryview(packet))) != bytes(100)
        assert packet == bytes(100)

    def test_an_undamaged_packet_is_not_copied(self) -> None:
        packet = bytes(100)
        assert impairer().corrupt(packet) is packet
        assert impairer(corrupt=0.0001).corrupt(packet) is packet

    def test_an_empty_packet_has_no_bit_to_flip(self) -> None:
        assert impairer(corrupt=1.0).corrupt(b"") == b""


def test_it_counts_what_it_did() -> None:
    path = impairer(loss=0.5, duplicate=0.5, reorder=0.5, rate=1e12)
    arrivals = [path.admit(now, 100) for now in map(float, range(400))]
    copies = sum(map(len, arrivals))
    counts = path.counts
    assert counts["admitted"] == 400
    assert counts["lost"] == arrivals.count([])
    assert counts["duplicated"] == copies - (400 - counts["lost"])
    assert 0.4 * copies < counts["reordered"] < 0.6 * copies
    assert counts["overflowed"] == counts["corrupted"] == 0


class TestPacketPath:
    """The packets that are on their way."""

    def test_packets_come_out_when_they_are_due_in_order(self) -> None:
        path = PacketPath(Impairments(delay=1.0), random.Random(1))
        for number, now in enumerate((0.0, 0.0, 0.5)):
            assert path.put(bytes([number]), now) == [now + 1.0]
        assert path.next_arrival == 1.0
        assert path.first(0.99) is None
        out = []
        while (packet := path.first(1.0)) is not None:
            out.append(packet)
            path.pop()
        assert out == [b"\0", b"\1"]
        assert len(path) == 1
        assert path.next_arrival == 1.5

    def test_each_copy_is_damaged_on_its_own(self) -> None:
        path = PacketPath(Impairments(duplicate=1.0, corrupt=0.5), random.Random(1))
        pairs = []
        for _ in range(50):
            path.put(bytes(10), 0.0)
            pair = []
            for _ in range(2):
                pair.append(path.first(0.0) == bytes(10))
                path.pop()
            pairs.append(tuple(pair))
        assert set(pairs) == {(True, True), (True, False), (False, True), (False, False)}

    def test_nothing_is_on_an_empty_path(self) -> None:
        path = PacketPath(Impairments(), random.Random(1))
        assert path.next_arrival == math.inf
        assert path.first(math.inf) is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rate": 0.0}, "rate must be above 0 bits per second"),
        ({"rate": math.nan}, "rate must be above 0 bits per second"),
        ({"limit": 0}, "limit must be 1 packet or more"),
        ({"limit_bytes": 0}, "limit must be 1 byte or more"),
    ],
)
def test_a_bottleneck_that_passes_nothing_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Impairments(**wrong)


def test_only_what_does_something_counts_as_impairments() -> None:
    assert not Impairments()
    assert not Impairments(limit=5, limit_bytes=5)
    assert Impairments(rate=1e9)
    assert Impairments(delay=1e-9)
