"""Token buckets for answers to strangers."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunstack.ip.ratelimit import BUCKETS, HostRateLimit, PeerRateLimit

SECRET = bytes(range(32))
PEER = b"\xc6\x33\x64\x01"


@pytest.mark.parametrize("rate", [1, 3, 100, 1000])
def test_a_second_brings_as_many_as_the_rate_and_they_may_come_at_once(rate: int) -> None:
    limit = PeerRateLimit(rate, SECRET)
    for now in (5.0, 6.0, 100.0):
        assert [limit.allows(PEER, now) for _ in range(rate + 1)] == [True] * rate + [False]


@settings(derandomize=True, max_examples=100)
@given(st.integers(1, 50), st.lists(st.floats(0, 0.3), min_size=1, max_size=300), st.floats(0, 1e6))
def test_never_more_than_the_rate_and_one_second_worth_ahead(
    rate: int, steps: list[float], begin: float
) -> None:
    limit = PeerRateLimit(rate, SECRET)
    now, allowed = begin, 0
    for step in steps:
        now += step
        allowed += limit.allows(PEER, now)
        assert allowed <= rate * (now - begin) + rate + 1e-3


def test_peers_do_not_notice_one_another() -> None:
    limit = PeerRateLimit(1, SECRET)
    allowed = [limit.allows(bytes((198, 51, 100, host)), 1.0) for host in range(50)]
    assert sum(allowed) > 35  # Some share a bucket by chance.


def test_which_peers_share_a_bucket_is_a_secret() -> None:
    def shares(secret: bytes) -> set[int]:
        """Who is not answered once PEER has been."""
        found = set()
        for host in range(2 * BUCKETS):
            limit = PeerRateLimit(1, secret)
            limit.allows(PEER, 1.0)
            if not limit.allows(host.to_bytes(4, "big"), 1.0):
                found.add(host)
        return found

    one, other = shares(SECRET), shares(bytes(32))
    assert one != other
    assert len(one) < 20


def test_a_peer_of_ipv6_is_a_64() -> None:
    """Whoever has one address of it has all."""
    limit = PeerRateLimit(1, SECRET)
    network = bytes.fromhex("20010db800000000")
    allowed = [limit.allows(network + bytes(7) + bytes((host,)), 1.0) for host in range(50)]
    assert sum(allowed) == 1


@pytest.mark.parametrize("rate", [100, 1000])
def test_the_host_as_a_whole_answers_at_its_rate_on_average(rate: int) -> None:
    limit = HostRateLimit(rate, Random(1))
    first = sum(limit.allows(1.0) for _ in range(10 * rate))
    assert rate * 0.8 < first < rate * 1.2
    later = sum(limit.allows(1.0 + step / (20 * rate)) for step in range(100 * rate))
    assert rate * 4.5 < later < rate * 5.5


@pytest.mark.parametrize("seed", range(5))
def test_how_many_answers_others_drew_cannot_be_counted_by_those_that_are_left(seed: int) -> None:
    """CVE-2020-25705: the answers left do not say whether one forged packet was answered."""
    limit = HostRateLimit(100, Random(seed))
    left = []
    for now in range(10, 60, 2):
        left.append(sum(limit.allows(float(now)) for _ in range(300)))
    assert len(set(left)) > 5
