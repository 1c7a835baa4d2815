"""Echo, discard, chargen: what RFC 862, 863 and 864 say of them, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from tests.apps.serving import called, read_to_end, served
from tunstack.apps import APPS, chargen, discard, echo

Serving = Callable[[], AbstractAsyncContextManager[trio.abc.HalfCloseableStream]]


def forms(app: Any) -> pytest.MarkDecorator:
    """Run a test with the handler of an app, and with its protocol."""
    both = [pytest.param(lambda: served(app.handler), id="handler")]
    both.append(pytest.param(lambda: called(app.protocol), id="protocol"))
    return pytest.mark.parametrize("serving", both)


@forms(echo)
async def test_echo_sends_everything_back_and_ends_its_half_after_ours(serving: Serving) -> None:
    async with serving() as client:
        await client.send_all(b"one")
        assert await client.receive_some() == b"one"
        await client.send_all(b"two")
        await client.send_eof()
        assert await read_to_end(client) == b"two"


@forms(discard)
async def test_discard_answers_nothing_and_ends_its_half_after_ours(serving: Serving) -> None:
    async with serving() as client:
        await client.send_all(b"x" * 100_000)
        await client.send_eof()
        assert await read_to_end(client) == b""


def test_chargen_lines_are_72_characters_of_a_ring_that_moves_on_by_one() -> None:
    lines = chargen.PATTERN.split(b"\r\n")
    assert lines.pop() == b""
    assert {len(line) for line in lines} == {72}
    assert [line[0] for line in lines] == list(range(0x20, 0x7F))
    assert lines[0].startswith(b' !"#$%&')
    assert lines[94].startswith(b"~ !")
    assert all(after[:-1] == before[1:] for before, after in pairwise(lines))


@forms(chargen)
async def test_chargen_repeats_the_pattern_without_a_seam_until_we_end_our_half(
    serving: Serving,
) -> None:
    async with serving() as client:
        received = bytearray()
        while len(received) < 3 * len(chargen.PATTERN):
            received += await client.receive_some()
        await client.send_all(b"thrown away")
        await client.send_eof()
        received += await read_to_end(client)
    turns = len(received) // len(chargen.PATTERN) + 1
    assert received == (chargen.PATTERN * turns)[: len(received)]


async def test_chargen_stops_for_a_reader_that_ends_without_reading() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0] as listener:
        client = await trio.testing.open_stream_to_socket_listener(listener)
        server = await listener.accept()
    async with client, server:
        await client.send_eof()
        with trio.fail_after(5):
            await chargen.handler(server)


async def test_chargen_does_not_end_its_half_of_a_connection_that_is_broken() -> None:
    """It would be told that there is no connection: a second error, which says less."""
    ended: list[bool] = []

    client, server = trio.testing.memory_stream_pair()

    async def receive_some(max_bytes: int | None = None) -> bytearray:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError

    async def send_eof() -> None:
        await trio.lowlevel.checkpoint()
        ended.append(True)

    server.receive_stream.receive_some = receive_some  # type: ignore[method-assign]
    server.send_eof = send_eof  # type: ignore[method-assign]
    with trio.fail_after(5):
        await chargen.handler(server)
    assert not ended
    await client.aclose()


@pytest.mark.parametrize(
    "name", sorted(name for name, app in APPS.items() if app.certificate is None)
)
async def test_a_lost_peer_ends_a_handler_without_an_error(name: str) -> None:
    async with served(APPS[name].handler) as client:
        await client.send_all(b"GET /bytes/9999999 HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.aclose_forcefully(client)


@pytest.mark.parametrize(
    "name", sorted(name for name, app in APPS.items() if app.certificate is None and app.protocol)
)
async def test_a_lost_peer_ends_a_protocol_without_an_error(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = APPS[name].protocol
    assert protocol is not None
    async with called(protocol) as client:
        await client.send_all(b"GET /bytes/9999999 HTTP/1.1\r\nHost: x\r\n\r\n")
        client.abort()
    assert not caplog.records
