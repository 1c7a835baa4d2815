"""``tunstack serve`` and ``connect``, in a namespace that has no device but theirs."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tunstack.cli.status import REFUSED, RESET, TIMED_OUT, UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.kernel

OURS, KERNEL = "198.51.100.130", "198.51.100.129"
TUNSTACK = (sys.executable, "-m", "tunstack")
NETWORK = ("--address", f"{OURS}/25")
TIMEOUT = 30


@pytest.fixture
async def namespace() -> AsyncIterator[tunstack.Namespace]:
    with trio.fail_after(TIMEOUT):
        async with tunstack.open_namespace() as namespace:
            yield namespace


async def lines_of(stream: trio.abc.ReceiveStream | None) -> AsyncGenerator[str, None]:
    assert stream is not None
    buffer = b""
    async for data in stream:
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            yield line.decode()


@asynccontextmanager
async def started(
    namespace: tunstack.Namespace, *arguments: str
) -> AsyncIterator[tuple[trio.Process, Callable[[], Awaitable[str]]]]:
    """A tunstack command that runs in the namespace, and a function for its next line."""
    process = await namespace.open_process(
        [*TUNSTACK, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines = lines_of(process.stdout)
    try:
        yield process, lines.__anext__
    finally:
        await lines.aclose()
        process.kill()
        await process.wait()


async def run(
    namespace: tunstack.Namespace, *arguments: str, stdin: bytes = b""
) -> tuple[int, bytes, str]:
    """A tunstack command that ends: its status, its output, its errors."""
    result = await namespace.run_process(
        [*TUNSTACK, *arguments], stdin=stdin, capture_stdout=True, capture_stderr=True, check=False
    )
    return result.returncode, result.stdout, result.stderr.decode()


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["here", "in workers"])
async def test_https_is_verified_by_the_authority_that_is_named(
    namespace: tunstack.Namespace,
    workers: list[str],
    require_tool: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # SIGKILL, which ends it, leaves the folder.
    async with started(namespace, "serve", "https", *NETWORK, *workers) as (_, line):
        authority = (await line()).removeprefix("authority: ")
        assert await line() == f"https on {OURS}:443"
        curl = [require_tool("curl"), "-sS", "--cacert", authority, f"https://{OURS}/bytes/5"]
        result = await namespace.run_process(curl, capture_stdout=True)
    assert len(result.stdout) == 5


async def dial(namespace: tunstack.Namespace, port: int) -> trio.SocketStream:
    client = namespace.socket()
    try:
        await client.connect((OURS, port))
    except OSError:
        client.close()
        raise
    return trio.SocketStream(client)


async def listener(namespace: tunstack.Namespace, port: int) -> trio.socket.SocketType:
    server = namespace.socket()
    await server.bind(("0.0.0.0", port))
    server.listen()
    return server


def abort(connection: trio.socket.SocketType) -> None:
    """Close a kernel socket with a RST, so that nothing is left of it, nor of its port."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


async def test_serve_prints_a_line_when_a_connection_opens_and_when_it_ends(
    namespace: tunstack.Namespace,
) -> None:
    async with started(namespace, "serve", "echo", "discard:1009", *NETWORK) as (process, line):
        assert await line() == f"echo on {OURS}:7"
        assert await line() == f"discard on {OURS}:1009"

        client = await dial(namespace, 7)
        name = "{}:{}".format(*client.socket.getsockname())
        assert await line() == f"{name} echo:7 open"
        await client.send_all(b"hello")
        await client.send_eof()
        assert b"".join([data async for data in client]) == b"hello"
        assert re.fullmatch(
            rf"{name} echo:7 closed: 5 bytes in, 5 bytes out, \d+\.\d\d\d s", await line()
        )
        await client.aclose()

        client = await dial(namespace, 1009)
        await client.send_all(b"hello")
        assert (await line()).endswith("discard:1009 open")
        abort(client.socket)
        assert "discard:1009 reset by peer: 5 bytes in, 0 bytes out" in await line()

        client = await dial(namespace, 1009)
        assert (await line()).endswith("discard:1009 open")
        process.send_signal(signal.SIGTERM)
        assert "discard:1009 interrupted: 0 bytes in" in await line()
        assert await line() == "3 connections, 2 of them broken; 10 bytes in, 5 bytes out"
        assert await process.wait() == 143
        await client.aclose()
    devices = await namespace.run_process(["cat", "/proc/net/dev"], capture_stdout=True)
    assert b"tun" not in devices.stdout


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
async def test_serve_in_workers_reports_the_same_and_leaves_nothing(
    namespace: tunstack.Namespace, number: signal.Signals, status: int
) -> None:
    options = ("--workers", "2", "--device-name", "tun7")
    async with started(namespace, "serve", "echo", "discard", *NETWORK, *options) as (
        process,
        line,
    ):
        assert await line() == f"echo on {OURS}:7"
        assert await line() == f"discard on {OURS}:9"
        for _ in range(8):
            client = await dial(namespace, 7)
            name = "{}:{}".format(*client.socket.getsockname())
            assert await line() == f"{name} echo:7 open"
            await client.send_all(b"hello")
            await client.send_eof()
            assert b"".join([data async for data in client]) == b"hello"
            assert (await line()).startswith(f"{name} echo:7 closed: 5 bytes in, 5 bytes out, ")
            await client.aclose()
        client = await dial(namespace, 9)
        assert (await line()).endswith("discard:9 open")
        process.send_signal(number)
        assert "discard:9 interrupted: 0 bytes in" in await line()
        assert await line() == "9 connections, 1 of them broken; 40 bytes in, 40 bytes out"
        assert await process.wait() == status
        await client.aclose()
    devices = await namespace.run_process(["cat", "/proc/net/dev"], capture_stdout=True)
    assert b"tun7" not in devices.stdout


async def test_serve_in_workers_restarts_a_dead_worker_and_reports_it(
    namespace: tunstack.Namespace,
) -> None:
    async with started(namespace, "serve", "discard", *NETWORK, "--workers", "1") as (
        process,
        line,
    ):
        assert await line() == f"discard on {OURS}:9"
        (worker,) = await children(process.pid)
        os.kill(worker, signal.SIGKILL)
        assert await line() == (
            f"tunstack serve: worker 0 (process {worker}) was killed by SIGKILL;"
            " it is restarted now"
        )
        client = await dial(namespace, 9)
        assert (await line()).endswith("discard:9 open")
        await client.aclose()


async def children(pid: int) -> list[int]:
    """The processes that process `pid` has started."""
    return [
        int(child)
        for task in await trio.Path(f"/proc/{pid}/task").iterdir()
        for child in (await (task / "children").read_text()).split()
    ]


async def test_serve_where_it_cannot_says_why(namespace: tunstack.Namespace) -> None:
    async with namespace.open_host(f"{OURS}/25"):
        status, out, errors = await run(namespace, "serve", "echo", *NETWORK)
    assert (status, out) == (2, b"")
    assert errors.count("\n") == 1
    assert errors.startswith("tunstack serve: ")


async def test_serve_in_workers_ends_with_one_line_when_the_device_is_deleted(
    namespace: tunstack.Namespace,
) -> None:
    options = ("--workers", "1", "--device-name", "tun7")
    async with started(namespace, "serve", "discard", *NETWORK, *options) as (process, line):
        assert await line() == f"discard on {OURS}:9"
        await namespace.run_process(["ip", "link", "delete", "tun7"])
        assert await line() == "tunstack serve: tun7 failed: [Errno 19] the device tun7 was deleted"
        assert await line() == "tunstack serve: the device tun7 was deleted"
        assert await process.wait() == 2


@pytest.mark.parametrize("options", [(), ("--workers", "1")], ids=["alone", "in workers"])
async def test_serve_ends_when_its_output_is_closed(
    namespace: tunstack.Namespace, options: tuple[str, ...]
) -> None:
    process = await namespace.open_process(
        [*TUNSTACK, "serve", "echo", *NETWORK, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert await process.stdout.receive_some() == f"echo on {OURS}:7\n".encode()
    await process.stdout.aclose()
    with suppress(OSError):  # the line is for this connection, which may be reset at once
        await (await dial(namespace, 7)).aclose()
    assert b"".join([data async for data in process.stderr]) == b""
    assert await process.wait() == 141


async def test_serve_uses_the_device_and_the_address_that_it_is_told(
    namespace: tunstack.Namespace,
) -> None:
    options = ("--device-name", "tun7", "--kernel-address", "198.51.100.205")
    async with started(namespace, "serve", "discard", *NETWORK, *options) as (_, line):
        await line()
        client = await dial(namespace, 9)
        assert client.socket.getsockname()[0] == "198.51.100.205"
        devices = await namespace.run_process(["cat", "/proc/net/dev"], capture_stdout=True)
        assert b"tun7:" in devices.stdout
        await client.aclose()


async def test_serve_takes_whole_networks_of_both_families(
    namespace: tunstack.Namespace,
) -> None:
    networks = ("--address", "198.51.100.0/24", "--address", "2001:db8::/64")
    async with started(namespace, "serve", "echo", *networks) as (_, line):
        assert [await line(), await line()] == [
            "echo on all of 198.51.100.0/24, port 7",
            "echo on all of 2001:db8::/64, port 7",
        ]
        for address in ("198.51.100.2", "198.51.100.254", "2001:db8::7777:1"):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with namespace.socket(family) as client:
                await client.connect((address, 7))
                await client.send(b"?")
                assert await client.recv(1) == b"?"


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        (("198.51.100.0/24", "198.51.100.2/24"), "198.51.100.2/24 overlaps with 198.51.100.0/24"),
        (("2001:db8::/64", "2001:db8::/112"), "2001:db8::/112 overlaps with 2001:db8::/64"),
        (("::/0",), "::/0 is every address there is: choose a smaller network"),
    ],
)
async def test_networks_that_serve_cannot_have(
    namespace: tunstack.Namespace, networks: tuple[str, ...], message: str
) -> None:
    options = [word for network in networks for word in ("--address", network)]
    status, _, errors = await run(namespace, "serve", "echo", *options)
    assert status == 2
    assert errors.startswith(f"tunstack serve: {message}")
    assert errors.count("\n") == 1


async def test_connect_sends_its_input_half_closes_and_prints_what_comes(
    namespace: tunstack.Namespace,
) -> None:
    question, answer = b"question" * 50_000, b"answer" * 50_000

    async def serve() -> None:
        stream = trio.SocketStream((await server.accept())[0])
        async with stream:
            assert b"".join([data async for data in stream]) == question
            await stream.send_all(answer)

    with await listener(namespace, 9000) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            result = await run(namespace, "connect", *NETWORK, KERNEL, "9000", stdin=question)
    assert result == (0, answer, "")


async def test_connect_delivers_what_it_was_given_before_it_ends(
    namespace: tunstack.Namespace,
) -> None:
    """The far side has ended its half first, and is slow to read."""
    received = b""
    data = b"late" * 400_000

    async def serve() -> None:
        nonlocal received
        stream = trio.SocketStream((await server.accept())[0])
        async with stream:
            await stream.send_eof()
            while piece := await stream.receive_some(100_000):
                received += piece
                await trio.sleep(0.002)

    with await listener(namespace, 9000) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            result = await run(namespace, "connect", *NETWORK, KERNEL, "9000", stdin=data)
    assert result == (0, b"", "")
    assert received == data


async def test_connect_has_a_status_for_each_failure(namespace: tunstack.Namespace) -> None:
    results: dict[str, tuple[int, bytes, str]] = {}

    async def attempt(what: str, ours: str, *arguments: str) -> None:
        network = ("--address", f"{ours}/29")
        results[what] = await run(namespace, "connect", *network, *arguments)

    async def reset() -> None:
        abort((await server.accept())[0])

    # The kernel forwards, and has no route to what it is asked for: it says so with ICMP.
    namespace.sysctl("net.ipv4.ip_forward", 1)
    with await listener(namespace, 9000) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reset)
            start = nursery.start_soon
            start(attempt, "refused", "198.51.100.130", "198.51.100.129", "9001")
            start(attempt, "reset", "198.51.100.138", "198.51.100.137", "9000")
            start(attempt, "timed out", "198.51.100.146", "198.51.100.148", "1", "--wait", "0.1")
            start(attempt, "unreachable", "198.51.100.154", "198.51.100.1", "1")
            start(attempt, "a mistake", "198.51.100.162", "no-such-host.invalid", "1")
    assert results == {
        "refused": (REFUSED, b"", "tunstack connect: 198.51.100.129 port 9001: refused\n"),
        "reset": (RESET, b"", "tunstack connect: 198.51.100.137 port 9000: reset by peer\n"),
        "timed out": (
            TIMED_OUT,
            b"",
            "tunstack connect: 198.51.100.148 port 1: timed out after 0.1 s\n",
        ),
        "unreachable": (
            UNREACHABLE,
            b"",
            "tunstack connect: 198.51.100.1 port 1: unreachable\n",
        ),
        "a mistake": (
            2,
            b"",
            "tunstack connect: no-such-host.invalid: neither an address nor the name of one\n",
        ),
    }


async def test_connect_with_a_seed_has_the_same_port_again(namespace: tunstack.Namespace) -> None:
    ports = []
    with await listener(namespace, 9000) as server:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    run, namespace, "connect", "--seed", "5", *NETWORK, KERNEL, "9000"
                )
                connection, (_, port) = await server.accept()
                abort(connection)
                ports.append(port)
    assert ports[0] == ports[1]
