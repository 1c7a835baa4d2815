"""The stream that counts, and the words for what broke one."""

from __future__ import annotations

import errno
import os

import pytest
import trio
import trio.testing

from tunstack.cli.output.counting import CountedStream, describe, error_number


def broken(number: int) -> trio.BrokenResourceError:
    error = trio.BrokenResourceError("socket connection broken")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


async def test_it_passes_everything_on_and_counts_it() -> None:
    near, far = trio.testing.memory_stream_pair()
    counted = CountedStream(near)
    await counted.wait_send_all_might_not_block()
    await counted.send_all(b"12345")
    await counted.send_eof()
    await far.send_all(b"678")
    await far.send_eof()
    assert await far.receive_some() == b"12345"
    assert await far.receive_some() == b""
    assert await counted.receive_some(2) == b"67"
    assert await counted.receive_some() == b"8"
    assert await counted.receive_some() == b""
    assert (counted.received, counted.sent, counted.broken) == (3, 5, None)
    await counted.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


@pytest.mark.parametrize("method", ["receive_some", "send_all", "send_eof"])
async def test_it_remembers_what_broke_it(method: str) -> None:
    error = broken(errno.ECONNRESET)
    counted = CountedStream(_Broken(error))
    with pytest.raises(trio.BrokenResourceError):
        await getattr(counted, method)(*([b"x"] if method == "send_all" else []))
    assert (counted.broken, counted.sent) == (error, 0)


async def test_the_first_error_is_what_broke_it() -> None:
    """Those that follow only say that it is gone."""
    stream = _Broken(broken(errno.ECONNRESET))
    counted = CountedStream(stream)
    with pytest.raises(trio.BrokenResourceError):
        await counted.receive_some()
    stream._error = broken(errno.ENOTCONN)
    with pytest.raises(trio.BrokenResourceError):
        await counted.send_eof()
    assert counted.broken is not None
    assert describe(counted.broken) == "reset by peer"


class _Broken(trio.abc.HalfCloseableStream):
    def __init__(self, error: trio.BrokenResourceError) -> None:
        self._error = error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise self._error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise self._error

    async def wait_send_all_might_not_block(self) -> None:
        raise self._error

    async def send_eof(self) -> None:
        raise self._error

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("error", "number", "words"),
    [
        (broken(errno.ECONNRESET), errno.ECONNRESET, "reset by peer"),
        (broken(errno.EPIPE), errno.EPIPE, "reset by peer"),
        (broken(errno.ETIMEDOUT), errno.ETIMEDOUT, "timed out"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), errno.ECONNREFUSED, "refused"),
        (OSError(errno.EHOSTUNREACH, "x"), errno.EHOSTUNREACH, "unreachable"),
        (OSError(errno.ENETDOWN, "down"), errno.ENETDOWN, "down"),
        (trio.BrokenResourceError("told"), None, "told"),
        (trio.BrokenResourceError(), None, "BrokenResourceError"),
    ],
)
def test_words_for_what_broke_a_connection(
    error: BaseException, number: int | None, words: str
) -> None:
    assert (error_number(error), describe(error)) == (number, words)
