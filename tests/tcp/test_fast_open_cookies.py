"""Fast Open cookies: what a server gives out, and what a client keeps."""

from __future__ import annotations

import pytest

from tunstack.tcp.listen.fast_open_cookies import (
    BACKOFF,
    CACHE_SIZE,
    PERIOD,
    CookieCache,
    Path,
    ServerCookies,
)

PATH: Path = (b"\xc6\x33\x64\x01", b"\xc6\x33\x64\x02")
COOKIE = b"biscuits"

pytestmark = pytest.mark.rfc("7413:4.1.2")


def server(number: int) -> Path:
    return b"here", number.to_bytes(4, "big")


def test_a_cookie_is_valid() -> None:
    mint = ServerCookies(b"secret")
    cookie = mint.make(PATH, 5.0)
    assert 4 <= len(cookie) <= 16
    assert mint.is_valid(cookie, PATH, 6.0)


def test_a_cookie_is_good_for_its_bearer_alone() -> None:
    mint = ServerCookies(b"secret")
    cookie = mint.make(PATH, 5.0)
    for other in ((b"\xc6\x33\x64\x03", PATH[1]), (PATH[0], b"\xc6\x33\x64\x03"), PATH[::-1]):
        assert not mint.is_valid(cookie, other, 5.0)


def test_a_cookie_is_a_secret_s() -> None:
    assert not ServerCookies(b"other").is_valid(ServerCookies(b"secret").make(PATH, 5.0), PATH, 5.0)


@pytest.mark.parametrize("cookie", [b"", b"1234", b"12345678", b"1234567890abcdef"])
def test_what_is_no_cookie_is_not_known(cookie: bytes) -> None:
    assert not ServerCookies(b"secret").is_valid(cookie, PATH, 5.0)


def test_the_key_changes_and_the_one_before_it_is_good_for_as_long_again() -> None:
    mint = ServerCookies(b"secret")
    cookie = mint.make(PATH, PERIOD / 2)
    assert mint.make(PATH, PERIOD * 1.5) != cookie
    assert mint.is_valid(cookie, PATH, PERIOD * 1.99)
    assert not mint.is_valid(cookie, PATH, PERIOD * 2)


@pytest.mark.rfc("7413:4.1.3")
def test_a_client_requests_a_cookie_and_caches_it() -> None:
    cache = CookieCache()
    assert cache.lookup(PATH, 0.0) == (b"", 0)
    cache.store(PATH, COOKIE, 1460)
    assert cache.lookup(PATH, 0.0) == (COOKIE, 1460)
    cache.store(PATH, b"another!", 1400)
    assert cache.lookup(PATH, 0.0) == (b"another!", 1400)
    assert cache.lookup(PATH[::-1], 0.0) == (b"", 0)


@pytest.mark.rfc("7413:4.1.3.1")
def test_failures_in_a_row_make_pauses_that_double() -> None:
    cache = CookieCache()
    cache.store(PATH, COOKIE, 1460)
    now = 0.0
    for pause in (BACKOFF, 2 * BACKOFF, 4 * BACKOFF):
        cache.on_failure(PATH, now)
        assert cache.lookup(PATH, now + pause - 1)[0] is None
        now += pause
        assert cache.lookup(PATH, now) == (COOKIE, 1460)
    cache.on_success(PATH, 1400)
    cache.on_failure(PATH, now)
    assert cache.lookup(PATH, now + BACKOFF) == (COOKIE, 1400)


@pytest.mark.rfc("7413:4.1.3.1")
def test_a_pause_has_an_end_however_often_it_failed() -> None:
    cache = CookieCache()
    for _ in range(2000):
        cache.on_failure(PATH, 0.0)
    assert cache.lookup(PATH, 86400.0)[0] == b""


def test_success_of_a_server_no_longer_cached_is_ignored() -> None:
    cache = CookieCache()
    cache.on_success(PATH, 1460)
    assert len(cache) == 0


@pytest.mark.rfc("7413:4.1.3")
def test_the_client_cookie_cache_is_bounded_and_evicts_the_oldest() -> None:
    cache = CookieCache()
    for number in range(CACHE_SIZE):
        cache.store(server(number), COOKIE, 1460)
    cache.on_success(server(0), 1460)
    cache.store(server(CACHE_SIZE), COOKIE, 1460)
    assert len(cache) == CACHE_SIZE
    assert cache.lookup(server(0), 0.0)[0] == COOKIE
    assert cache.lookup(server(1), 0.0)[0] == b""
