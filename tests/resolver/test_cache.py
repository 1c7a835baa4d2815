"""The cache of answers: by TTL, and bounded."""

from __future__ import annotations

import dns.name
import dns.rdatatype
import pytest

from tunstack.resolver.cache import Answer, Cache

A = dns.rdatatype.A


def name(number: int) -> dns.name.Name:
    return dns.name.from_text(f"n{number}.test")


def answer(ttl: float, *data: str) -> Answer:
    return Answer(bool(data), data, name(0), ttl)


def test_it_is_bounded_and_the_oldest_make_place() -> None:
    cache = Cache()
    for number in range(3000):
        cache.put((name(number), A), answer(60, "198.51.100.2"), 0.0)
    assert len(cache) == 1000
    assert cache.get((name(1999), A), 0.0) is None
    assert cache.get((name(2000), A), 0.0) is not None


@pytest.mark.parametrize(("data", "longest"), [((), 10800.0), (("198.51.100.2",), 86400.0)])
def test_no_ttl_is_longer_than_a_day_and_of_a_negative_answer_than_three_hours(
    data: tuple[str, ...], longest: float
) -> None:
    cache = Cache()
    cache.put((name(0), A), answer(2**31, *data), 5.0)
    assert cache.get((name(0), A), 5.0 + longest - 1) is not None
    assert cache.get((name(0), A), 5.0 + longest) is None
    assert len(cache) == 0


def test_a_ttl_of_nothing_is_not_kept() -> None:
    cache = Cache()
    cache.put((name(0), A), answer(0, "198.51.100.2"), 0.0)
    assert len(cache) == 0


def test_case_makes_no_difference() -> None:
    cache = Cache()
    cache.put((dns.name.from_text("WWW.test"), A), answer(9, "198.51.100.2"), 0.0)
    assert cache.get((dns.name.from_text("www.TEST"), A), 0.0) is not None
