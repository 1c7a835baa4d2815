"""A client made of httpx, synchronous and under trio and asyncio."""

import asyncio
from collections.abc import Callable, Coroutine

import httpx
import pytest
import trio

from tunstack.pytest_plugin import Peers

TIMEOUT = httpx.Timeout(5, connect=0.3, read=0.3)


async def fetch(url: str) -> str:
    async with httpx.AsyncClient(timeout=TIMEOUT) as client:
        return (await client.get(url)).text


@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)])
def test_any_loop_reaches_the_peer(
    tunstack_peer: Peers, run: Callable[[Coroutine[None, None, str]], str]
) -> None:
    assert "It works" in run(fetch(tunstack_peer("http").url))


def test_connecting_has_a_timeout_of_its_own(tunstack_peer: Peers) -> None:
    with pytest.raises(httpx.ConnectTimeout):
        httpx.get(tunstack_peer("http", behaviour="silent").url, timeout=TIMEOUT)


def test_an_answer_that_does_not_come_is_a_read_timeout(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("http", behaviour="vanish-after=0")
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(peer.url, timeout=TIMEOUT)


def test_a_window_that_stays_closed_is_a_write_timeout(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("http", behaviour="zero-window-after=1000")
    timeout = httpx.Timeout(5, write=0.3)
    with pytest.raises(httpx.WriteTimeout):
        httpx.post(f"{peer.url}sha256", content=bytes(20_000_000), timeout=timeout)


def test_no_read_timeout_ends_a_trickle(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("http", behaviour="trickle=20/10ms")
    assert len(httpx.get(f"{peer.url}bytes/1000", timeout=TIMEOUT).content) == 1000


def test_a_pool_notices_that_its_connection_was_closed(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("http", behaviour="close-after=0,first=1")
    with httpx.Client(timeout=TIMEOUT) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(peer.url)
        assert client.get(peer.url).is_success
