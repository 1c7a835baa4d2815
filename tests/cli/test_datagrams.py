"""``tunstack serve`` and ``connect --udp``, in a namespace that has no device but theirs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.cli.test_serve import KERNEL, NETWORK, OURS, namespace, run, started
from tunstack.cli.status import REFUSED

if TYPE_CHECKING:
    import tunstack

__all__ = ["namespace"]
pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
async def test_serve_answers_datagrams_too(
    namespace: tunstack.Namespace, workers: tuple[str, ...]
) -> None:
    async with started(namespace, "serve", "echo", "http", *NETWORK, *workers) as (_, line):
        for _ in range(2):
            await line()
        with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            await client.connect((OURS, 7))
            for data in (b"hello", b"", bytes(1472)):
                await client.send(data)
                assert await client.recv(2000) == data
            await client.connect((OURS, 80))
            await client.send(b"GET /")
            with pytest.raises(ConnectionRefusedError):
                await client.recv(1)


async def test_connect_sends_lines_as_datagrams_and_prints_what_comes(
    namespace: tunstack.Namespace,
) -> None:
    received = []

    async def echo(server: trio.socket.SocketType) -> None:
        while True:
            data, source = await server.recvfrom(2000)
            received.append(data)
            await server.sendto(data.upper(), source)

    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        await server.bind(("", 9000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, server)
            arguments = "connect", "--udp", "--wait", "0.3", *NETWORK, KERNEL, "9000"
            result = await run(namespace, *arguments, stdin=b"one\ntwo\nthree")
            nursery.cancel_scope.cancel()
    assert received == [b"one\n", b"two\n", b"three"]
    assert result == (0, b"ONE\nTWO\nTHREE", "")


async def test_connect_says_that_nobody_is_there(namespace: tunstack.Namespace) -> None:
    status, output, error = await run(
        namespace, "connect", "--udp", *NETWORK, KERNEL, "9000", stdin=b"anybody?"
    )
    assert (status, output) == (REFUSED, b"")
    assert error == f"tunstack connect: {KERNEL} port 9000: refused\n"
