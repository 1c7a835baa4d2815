"""Fast Open as a client: what goes into a SYN, and what becomes of it."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.tcp.harness import CONFIG, MSS, WSCALE, Bench, Offer
from tests.tcp.test_fast_open_cookies import COOKIE, PATH
from tunstack.tcp.connection.state import State
from tunstack.tcp.listen.fast_open import FastOpenClient
from tunstack.tcp.listen.fast_open_cookies import BACKOFF, CookieCache
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN

if TYPE_CHECKING:
    from tests.tcp.harness import Numbers

TEXT = bytes(n % 251 for n in range(5000))

pytestmark = pytest.mark.rfc("7413:4.2.2")


def acquainted() -> CookieCache:
    cache = CookieCache()
    cache.store(PATH, COOKIE, MSS + 12)
    return cache


def opening(cache: CookieCache, data: bytes = b"", *, now: float = 0.0, **setup: Any) -> Bench:
    """A bench whose SYN, which is still to be expected, takes `data` along."""
    bench = Bench(**setup)
    bench.now = now
    bench.fast_open = FastOpenClient(cache, PATH, Counter(), now)
    with bench.batch():
        bench.open_active()
        if data:
            assert bench.send(data) == len(data)
    return bench


def opened(cache: CookieCache, data: bytes, *, size: int | None = None, **setup: Any) -> Bench:
    """A bench whose SYN is out, with `size` octets of `data`."""
    bench = opening(cache, data, **setup)
    expect_syn(bench, payload=data[:size], fast_open=COOKIE)
    return bench


def expect_syn(bench: Bench, flags: int = SYN, **fields: Any) -> None:
    """A SYN with the options that each of ours has, and these fields."""
    bench.expect(flags, seq=0, mss=MSS + 12, wscale=WSCALE, sack_permitted=True, **fields)


def expect_plain_syn(bench: Bench, *, note: str = "") -> None:
    expect_syn(bench, note=note)


def is_paused(cache: CookieCache, at: float) -> bool:
    return cache.lookup(PATH, at)[0] is None


@pytest.mark.rfc("7413:4.2.1", "7413:4.1.3")
def test_it_asks_for_a_cookie_and_keeps_it_with_the_mss() -> None:
    cache = CookieCache()
    bench = opening(cache, b"text")
    expect_syn(bench, fast_open=b"")
    bench.arrive_syn(SYN | ACK, fast_open=COOKIE)
    bench.expect(ACK | PSH, seq=1, payload=b"text")
    assert cache.lookup(PATH, 0.0) == (COOKIE, MSS + 12)


@pytest.mark.rfc("7413:4.1.3")
def test_a_cookie_is_requested_again_if_the_server_sent_none() -> None:
    cache = CookieCache()
    for _ in range(2):
        bench = opening(cache, b"text")
        expect_syn(bench, fast_open=b"")
        bench.arrive_syn(SYN | ACK)
        bench.expect(ACK | PSH, seq=1, payload=b"text")


def test_data_goes_with_the_syn_and_once(numbers: Numbers) -> None:
    bench = opened(acquainted(), b"text", **numbers)
    bench.arrive_syn(SYN | ACK, ack=5)
    bench.expect(ACK, seq=5, ack=1)
    bench.expect_state(State.ESTABLISHED)
    bench.send(b"more")
    bench.expect(ACK | PSH, seq=5, payload=b"more")
    bench.arrive(ACK)
    bench.advance(100.0)
    assert bench.acknowledged == 8


def test_data_that_is_not_acknowledged_goes_out_after_the_handshake(numbers: Numbers) -> None:
    bench = opened(acquainted(), b"text", **numbers)
    bench.arrive_syn(SYN | ACK)
    bench.expect(ACK | PSH, seq=1, ack=1, payload=b"text", note="")
    assert bench.retransmissions == 0


def test_only_a_syn_says_how_much_of_it_arrived(numbers: Numbers) -> None:
    """An ACK alone is ignored. If it were believed, the SYN,ACK that says less would be refused."""
    bench = opened(acquainted(), b"text", **numbers)
    bench.arrive(ACK, seq=1, ack=5)
    bench.expect_nothing()
    bench.arrive_syn(SYN | ACK)
    bench.expect(ACK | PSH, seq=1, ack=1, payload=b"text")
    bench.expect_state(State.ESTABLISHED)


def test_the_rest_goes_out_after_the_handshake_if_a_part_is_acknowledged() -> None:
    bench = opened(acquainted(), b"text", peer=Offer())
    bench.arrive_syn(SYN | ACK, ack=3)
    bench.expect(ACK | PSH, seq=3, payload=b"xt")


def test_more_than_was_sent_cannot_be_acknowledged() -> None:
    bench = opened(acquainted(), b"text")
    bench.arrive_syn(SYN | ACK, ack=6)
    bench.expect(RST, seq=6)
    [again] = bench.drain()
    assert (again.segment.flags, again.segment.note) == (SYN, "retransmission: challenged")
    bench.expect_state(State.SYN_SENT)


def test_the_round_trip_is_measured_from_the_syn() -> None:
    bench = opened(acquainted(), b"text")
    bench.advance(0.3)
    bench.arrive_syn(SYN | ACK, ack=5)
    bench.expect(ACK, seq=5)
    assert bench.srtt == pytest.approx(0.3)


@pytest.mark.parametrize("mss", [MSS + 12, 700, 0])
def test_a_syn_takes_as_much_as_the_server_s_segments_beside_any_options(mss: int) -> None:
    """RFC 7413 section 4.1.3: or what everybody takes, if its MSS is not known."""
    cache = CookieCache()
    cache.store(PATH, COOKIE, mss)
    size = (mss or CONFIG.default_send_mss) - 40
    bench = opened(cache, TEXT, size=size)
    bench.arrive_syn(SYN | ACK, ack=1 + size)
    bench.expect(ACK, seq=1 + size, size=MSS)
    assert bench.drain()


def test_a_syn_takes_no_more_than_our_link() -> None:
    cache = CookieCache()
    cache.store(PATH, COOKIE, 65495)
    bench = opening(cache, TEXT)
    [sent] = bench.drain()
    assert len(sent.segment.payload) == CONFIG.mss - 40


@pytest.mark.rfc("7413:4.2.2", "7413:4.1.3.1")
def test_a_syn_that_goes_out_again_is_plain_and_so_is_the_next_connection_s() -> None:
    cache = acquainted()
    bench = opened(cache, b"text")
    bench.wait()
    expect_plain_syn(bench, note="retransmission: timeout")
    bench.arrive_syn(SYN | ACK)
    bench.expect(ACK | PSH, seq=1, payload=b"text")
    again = opening(cache, b"text", now=10.0)
    expect_plain_syn(again)
    again.arrive_syn(SYN | ACK)
    again.expect(ACK | PSH, seq=1, payload=b"text")
    late = opening(cache, b"text", now=10.0 + BACKOFF)
    expect_syn(late, payload=b"text", fast_open=COOKIE)


def test_the_first_syn_had_arrived_after_all() -> None:
    cache = acquainted()
    bench = opened(cache, b"text")
    bench.wait()
    expect_plain_syn(bench, note="retransmission: timeout")
    bench.arrive_syn(SYN | ACK, ack=5)
    bench.expect(ACK, seq=5)
    assert not is_paused(cache, 0.0)


@pytest.mark.rfc("7413:4.1.3.1")
def test_a_request_that_is_lost_is_not_repeated_soon() -> None:
    cache = CookieCache()
    bench = opening(cache)
    bench.drain()
    bench.wait()
    expect_plain_syn(bench, note="retransmission: timeout")
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    assert is_paused(cache, 5.0)


@pytest.mark.rfc("7413:4.1.3.1")
def test_a_server_that_ignores_data_is_left_in_peace() -> None:
    cache = acquainted()
    bench = opened(cache, b"text")
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    assert is_paused(cache, 5.0)


@pytest.mark.rfc("7413:4.1.3", "7413:4.2.2")
def test_a_server_that_gives_another_cookie_has_only_changed_its_key() -> None:
    cache = acquainted()
    bench = opened(cache, b"text")
    bench.arrive_syn(SYN | ACK, fast_open=b"another!")
    bench.expect(ACK | PSH, seq=1, payload=b"text")
    assert cache.lookup(PATH, 5.0) == (b"another!", MSS + 12)


@pytest.mark.rfc("7413:4.1.3")
@pytest.mark.parametrize("asked", [True, False])
def test_a_cookie_that_was_not_asked_for_is_ignored(asked: bool) -> None:
    cache = acquainted()
    cache.on_failure(PATH, 0.0)
    bench = opening(cache)
    if not asked:
        bench.fast_open = None
    expect_plain_syn(bench)
    bench.arrive_syn(SYN | ACK, fast_open=b"another!")
    bench.drain()
    assert cache.lookup(PATH, 2 * BACKOFF) == (COOKIE, MSS + 12)


@pytest.mark.rfc("7413:4.1.3.1")
@pytest.mark.parametrize("ack", [1, 5])
def test_refused_by_who_has_seen_the_data_or_not(ack: int) -> None:
    cache = acquainted()
    bench = opened(cache, b"text")
    bench.arrive(RST | ACK, ack=ack)
    assert bench.errno == errno.ECONNREFUSED
    assert is_paused(cache, 5.0)
    with pytest.raises(ConnectionRefusedError):
        bench.send(b"more")


@pytest.mark.rfc("7413:4.1.3.1")
def test_after_an_attempt_that_came_to_nothing_the_next_is_plain() -> None:
    cache = acquainted()
    bench = opened(cache, b"text")
    while bench.state is State.SYN_SENT:
        bench.run_until(bench.connection.deadline() or 0.0)
        bench.drain()
    assert bench.errno == errno.ETIMEDOUT
    assert is_paused(cache, bench.now)


@pytest.mark.rfc("7413:4.1.3.1")
def test_icmp_says_that_it_cannot_be() -> None:
    cache = acquainted()
    bench = opened(cache, b"text")
    bench.connection.icmp_error(OSError(errno.EHOSTUNREACH, ""))
    assert is_paused(cache, 5.0)


def test_an_abort_does_not_disable_fast_open() -> None:
    cache = acquainted()
    bench = opened(cache, b"text")
    bench.abort()
    assert not is_paused(cache, 0.0)


def test_a_syn_may_wait_for_data() -> None:
    bench = Bench()
    bench.fast_open = FastOpenClient(acquainted(), PATH, Counter(), 0.0)
    assert bench.connection.awaits_data
    with bench.batch():
        bench.open_active()
        bench.connection.withhold_syn()
    bench.advance(1000.0)
    bench.expect_nothing()
    bench.send(b"text")
    expect_syn(bench, payload=b"text", fast_open=COOKIE)
    bench.send(b"more")
    bench.arrive_syn(SYN | ACK, ack=5)
    bench.expect(ACK | PSH, seq=5, payload=b"more")


def test_what_waits_for_a_cookie_or_for_none_does_not_wait_for_data() -> None:
    cache = CookieCache()
    assert not FastOpenClient(cache, PATH, Counter(), 0.0).awaits_data
    cache.on_failure(PATH, 0.0)
    assert not FastOpenClient(cache, PATH, Counter(), 1.0).awaits_data


@pytest.mark.parametrize("how", ["shutdown", "close"])
@pytest.mark.parametrize("ack", [1, 5])
def test_the_end_follows_the_data_of_the_syn(how: str, ack: int) -> None:
    bench = opened(acquainted(), b"text")
    getattr(bench, how)()
    with pytest.raises(OSError, match="Broken pipe"):
        bench.send(b"more")
    bench.arrive_syn(SYN | ACK, ack=ack)
    bench.expect(ACK | FIN | PSH * (ack == 1), seq=ack, payload=b"text"[ack - 1 :])
    bench.expect_state(State.FIN_WAIT_1)


def test_a_send_buffer_bounds_what_waits_for_the_handshake() -> None:
    bench = opening(acquainted(), b"text", config=replace(CONFIG, send_buffer=6))
    bench.drain()
    assert bench.send(b"more") == 2
    assert bench.send(b"re") == 0


def test_data_of_a_syn_is_unsent_until_it_is_acknowledged() -> None:
    bench = Bench()
    bench.fast_open = FastOpenClient(acquainted(), PATH, Counter(), 0.0)
    with bench.batch():
        bench.open_active()
        bench.send(b"text")
        assert bench.unsent == 4
    bench.drain()
    assert bench.unsent == 4
    bench.arrive_syn(SYN | ACK, ack=5)
    bench.drain()
    assert bench.unsent == 0


@pytest.mark.rfc("MUST-10")
def test_a_deferred_syn_crosses_the_peers() -> None:
    bench = Bench()
    bench.fast_open = FastOpenClient(acquainted(), PATH, Counter(), 0.0)
    with bench.batch():
        bench.open_active()
        bench.connection.withhold_syn()
    bench.arrive_syn()
    expect_syn(bench, SYN | ACK, ack=1)
    bench.send(b"text")
    bench.arrive_syn(SYN | ACK)
    bench.expect(ACK | PSH, seq=1, payload=b"text")


@pytest.mark.rfc("MUST-10")
def test_data_follows_when_two_syns_cross(numbers: Numbers) -> None:
    bench = opened(acquainted(), b"text", **numbers)
    bench.arrive_syn()
    expect_syn(bench, SYN | ACK, ack=1)
    bench.arrive_syn(SYN | ACK)
    bench.expect(ACK | PSH, seq=1, payload=b"text")


@pytest.mark.rfc("MUST-10")
def test_data_of_a_syn_that_crossed_another_may_be_acknowledged() -> None:
    bench = opened(acquainted(), b"text")
    bench.arrive_syn()
    expect_syn(bench, SYN | ACK, ack=1)
    bench.arrive(ACK, seq=1, ack=5)
    bench.expect_state(State.ESTABLISHED)
    assert bench.acknowledged == 4
