"""Behaviours whose times are long, in virtual time, where they are exact."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio

import tunstack
from tunstack.host.host import loop_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

BODY = bytes(3000)


async def answering(stream: tunstack.TcpStream) -> None:
    async for _ in stream:
        await stream.send_all(BODY)
    await stream.send_eof()


def met(behaviour: str, client: Callable[[tunstack.Host], Awaitable[T]]) -> T:
    """What a client returns that runs against a host with a behaviour at port 80, in a network."""

    async def main() -> T:
        async with tunstack.open_network() as net:
            server = await net.add_host("server", "198.51.100.9")
            host = await net.add_host("client")
            async with trio.open_nursery() as nursery:
                serve = partial(server.serve_tcp, answering, 80, behaviour=behaviour)
                await nursery.start(serve)
                result = await client(host)
                nursery.cancel_scope.cancel()
        return result

    return tunstack.run_virtual(main, seed=1)


async def connecting(host: tunstack.Host) -> tuple[float, int]:
    """How long it takes to connect, to the millisecond, and the errno."""
    began = trio.current_time()
    try:
        stream = await host.open_tcp_stream("198.51.100.9", 80)
        await stream.aclose()
        error = 0
    except OSError as caught:
        error = caught.errno or 0
    return round(trio.current_time() - began, 3), error


async def asking(host: tunstack.Host) -> tuple[float, int, str]:
    """How long an answer takes, its length, and how it ends."""
    stream = await host.open_tcp_stream("198.51.100.9", 80)
    began = trio.current_time()
    await stream.send_all(b"?")
    octets = 0
    end = "whole"
    try:
        while octets < len(BODY):
            with trio.fail_after(1000):
                data = await stream.receive_some()
            if not data:
                end = "eof"
                break
            octets += len(data)
    except trio.BrokenResourceError:
        end = "broken"
    except trio.TooSlowError:
        end = "silence"
    taken = round(trio.current_time() - began, 3)
    stream.socket.abort()
    return taken, octets, end


@pytest.mark.parametrize(
    ("behaviour", "seconds", "error"),
    [
        ("drop-syn=1", 1.0, 0),
        ("drop-syn=3", 7.0, 0),
        ("slow-accept=2.5s", 2.5, 0),
        ("drop-syn=1,slow-accept=2.5s", 3.5, 0),
        ("slow-accept=2.5s,drop-syn=1", 3.0, 0),
        ("flapping=0s/10s", 180.0, errno.ETIMEDOUT),
        ("silent", 180.0, errno.ETIMEDOUT),
        ("full-backlog", 180.0, errno.ETIMEDOUT),
        ("delay=400ms", 0.8, 0),
        ("refuse", 0.0, errno.ECONNREFUSED),
    ],
)
def test_how_long_connecting_takes(behaviour: str, seconds: float, error: int) -> None:
    assert met(behaviour, connecting) == (seconds, error)


@pytest.mark.parametrize(
    ("behaviour", "seconds", "octets", "end"),
    [
        ("slow-answer=90s", 90.0, 3000, "whole"),
        ("trickle=100/7s", 203.0, 3000, "whole"),
        ("reset-after=60s,slow-answer=90s", 60.0, 0, "broken"),
        ("close-after=60s,slow-answer=90s", 60.0, 0, "eof"),
        ("stall-after=1000", 1000.0, 1000, "silence"),
        ("vanish-after=1000", 1000.0, 1000, "silence"),
        ("half-open=1000", 1000.0, 1000, "silence"),
        ("close-idle=30s,slow-answer=40s", 30.0, 0, "eof"),
        ("out:rate=8kbit", 3.1, 3000, "whole"),
    ],
)
def test_how_long_an_answer_takes(behaviour: str, seconds: float, octets: int, end: str) -> None:
    taken, got, how = met(behaviour, asking)
    assert (got, how) == (octets, end)
    assert taken == pytest.approx(seconds, rel=0.05)


def test_a_worker_refuses_what_is_of_all_connections_together() -> None:
    async def main() -> None:
        async with tunstack.open_network() as net:
            host = await net.add_host("worker")
            loop_of(host).stack.share_addresses(lambda _: None)
            with pytest.raises(ValueError, match="fail-first=1 is of all connections together"):
                await host.serve_tcp(answering, 80, behaviour="loss=1%,fail-first=1")
            assert len(host.rules) == 0
            assert await host.open_tcp_listeners(80)

    tunstack.run_virtual(main)
