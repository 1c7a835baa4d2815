"""The lines of ``tunstack serve`` for connections that end badly, over the kernel's loopback."""

from __future__ import annotations

import re
import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tunstack.apps import APPS
from tunstack.cli.output.reporting import Report, Reported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def listener() -> AsyncIterator[trio.SocketListener]:
    async with (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] as listener:
        yield listener


async def test_a_peer_closed_before_it_is_accepted_has_no_name(
    listener: trio.SocketListener, capsys: pytest.CaptureFixture[str]
) -> None:
    client = await trio.testing.open_stream_to_socket_listener(listener)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await client.aclose()
    async with await listener.accept() as stream:
        report = Report(trio.CancelScope())
        await Reported(APPS["echo"], 7, report)(stream)
    report.print_totals()
    opened, closed, total = capsys.readouterr().out.splitlines()
    assert opened == "(gone) echo:7 open"
    assert closed.startswith("(gone) echo:7 reset by peer: 0 bytes in, 0 bytes out, ")
    assert total == "1 connection, 1 of them broken; 0 bytes in, 0 bytes out"


@pytest.mark.parametrize("name", ["chargen", "echo", "discard", "http"])
async def test_a_reset_is_called_one_and_what_was_acknowledged_is_counted(
    name: str, listener: trio.SocketListener, capsys: pytest.CaptureFixture[str]
) -> None:
    request = b"GET /bytes/99999999 HTTP/1.1\r\nHost: x\r\n\r\n"
    client = await trio.testing.open_stream_to_socket_listener(listener)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    taken = b""
    async with await listener.accept() as stream, trio.open_nursery() as nursery:
        nursery.start_soon(Reported(APPS[name], 7, Report(trio.CancelScope())), stream)
        await client.send_all(request)
        for _ in range(0 if name == "discard" else 3):
            taken += await client.receive_some(1000 if name != "echo" else 10)
        await client.aclose()
    closed = capsys.readouterr().out.splitlines()[-1]
    match = re.fullmatch(r"\S+ \S+ (.*): (\d+) bytes in, (\d+) bytes out, \S+ s", closed)
    assert match is not None, closed
    assert match[1] == "reset by peer"
    assert int(match[2]) in (0, len(request)) if name == "chargen" else len(request)
    assert int(match[3]) >= len(taken)
    assert bool(int(match[3])) == (name != "discard")


async def test_a_handler_that_fails_is_reported_and_its_error_propagates(
    listener: trio.SocketListener, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"oh")
        raise ValueError("no")

    reported = Reported(APPS["echo"], 7, Report(trio.CancelScope()))
    reported._handler = fail
    async with (
        await trio.testing.open_stream_to_socket_listener(listener) as client,
        await listener.accept() as stream,
    ):
        port = client.socket.getsockname()[1]
        with pytest.raises(ValueError, match="no"):
            await reported(stream)
    assert re.search(
        rf"^127.0.0.1:{port} echo:7 failed: ValueError\('no'\): 0 bytes in, 2 bytes out, 0",
        capsys.readouterr().out,
        re.MULTILINE,
    )
