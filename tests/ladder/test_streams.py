"""Octets of segments are put in order, within bounds."""

from __future__ import annotations

import random

from tunstack.ladder.streams import Stream

DATA = random.Random(1).randbytes(5000)


def test_segments_in_any_order_and_number_give_the_octets_once() -> None:
    chance = random.Random(2)
    for base in (7, 0xFFFF_FF00):
        for _ in range(50):
            cuts = sorted(chance.sample(range(1, len(DATA)), 20))
            parts = list(zip([0, *cuts], [*cuts, len(DATA)], strict=True))
            parts += [(max(0, low - 100), min(len(DATA), high + 100)) for low, high in parts[::4]]
            chance.shuffle(parts)
            stream = Stream()
            stream.begin(base)
            pieces: list[bytes | int] = []
            for low, high in parts:
                pieces += stream.add((base + low) % 2**32, DATA[low:high])
            assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == DATA
            assert not any(isinstance(piece, int) for piece in pieces)


def test_octets_not_captured_are_a_number() -> None:
    stream = Stream()
    assert stream.add(1, b"ab", 3) == [b"ab", 3]
    assert stream.add(6, b"f") == [b"f"]
    assert stream.add(1, b"abcdef") == []


def test_a_repetition_that_has_what_was_not_captured_comes_too_late() -> None:
    stream = Stream()
    stream.begin(1)
    assert stream.add(4, b"de", 5) == []
    assert stream.add(1, b"abcd", 0) == [b"abcd", b"e", 5]


def test_a_gap_is_given_up_when_too_much_waits_behind_it() -> None:
    stream = Stream()
    stream.begin(0)
    pieces: list[bytes | int] = []
    count = 0
    while not pieces:
        pieces = stream.add(10 + 100 * count, bytes(100))
        count += 1
        assert count < 1000
    assert pieces[0] == 10
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) == 100 * count


def test_large_segments_that_wait_are_bounded_in_octets() -> None:
    stream = Stream()
    stream.begin(0)
    counts = 0
    while not stream.add(10 + 65000 * counts, bytes(65000)):
        counts += 1
    assert counts == 2
