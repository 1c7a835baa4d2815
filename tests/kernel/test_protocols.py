"""Protocols with the kernel at the other end, which has nothing bad to say of them."""

from __future__ import annotations

import hashlib
import random
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.kernel.sockets import FLOW_CONTROL, until_listening
from tests.protocol.protocols import Echo, Feeder, pattern
from tunstack.apps import chargen, echo, http, pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kernel.ends import Ends
    from tests.kernel.judge import Judge
    from tunstack import Host, Namespace

    Require = Callable[[str], str]

pytestmark = [pytest.mark.kernel, pytest.mark.both_modes, pytest.mark.both_families]

TCP: Final[dict[int, str]] = {AF_INET: "TCP4", AF_INET6: "TCP6"}
"""socat(1)'s words."""
DATA: Final = random.Random(0).randbytes(3 << 20)


async def test_curl_downloads_and_uploads(
    ns: Namespace, judge: Judge, require_tool: Require, ends: Ends
) -> None:
    base = f"http://{ends.ours_in_url}"
    curl = [require_tool("curl"), "-sS"]
    urls = [f"{base}/bytes/{size}" for size in (1, 4 << 20, 0, 7)]
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        await nursery.start(host.serve_protocol, http.protocol, 80)
        done = await ns.run_process([*curl, *urls], capture_stdout=True)
        assert done.stdout == b"".join(
            bytes(piece) for size in (1, 4 << 20, 0, 7) for piece in pages.pattern(size)
        )
        put = [*curl, "-T", "-", f"{base}/sha256"]
        done = await ns.run_process(put, stdin=DATA, capture_stdout=True)
        assert done.stdout.decode().strip() == hashlib.sha256(DATA).hexdigest()
        nursery.cancel_scope.cancel()
    await judge.acquit(but_for=FLOW_CONTROL)


async def test_short_connections(
    ns: Namespace, judge: Judge, require_tool: Require, ends: Ends
) -> None:
    """ab asks once on each, ten at a time, and we close first: data and FIN are one segment."""
    load = ["-q", "-n200", "-c10", f"http://{ends.ours_in_url}/"]
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        await nursery.start(host.serve_protocol, http.protocol, 80)
        done = await ns.run_process([require_tool("ab"), *load], capture_stdout=True)
        assert b"Failed requests:        0" in done.stdout
        assert b"Complete requests:      200" in done.stdout
        nursery.cancel_scope.cancel()
    await judge.acquit(but_for=FLOW_CONTROL)


async def test_many_requests_at_once(
    ns: Namespace, host: Host, require_tool: Require, ends: Ends
) -> None:
    load = ["-t1", "-c32", "-d1s", f"http://{ends.ours_in_url}/"]
    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve_protocol, http.protocol, 80)
        done = await ns.run_process([require_tool("wrk"), *load], capture_stdout=True)
        assert b"Socket errors" not in done.stdout
        assert b"Non-2xx" not in done.stdout
        assert host.statistics()["internal_errors"] == 0
        nursery.cancel_scope.cancel()


async def test_echo_to_a_kernel_that_sends_faster_than_it_reads(
    ns: Namespace, judge: Judge, require_tool: Require, ends: Ends
) -> None:
    socat = [require_tool("socat"), "-t30", "-", f"{TCP[ends.family]}:{ends.ours_in_url}:7"]
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        await nursery.start(host.serve_protocol, echo.protocol, 7)
        done = await ns.run_process(socat, stdin=DATA, capture_stdout=True)
        assert done.stdout == DATA
        nursery.cancel_scope.cancel()
    await judge.acquit(but_for=FLOW_CONTROL)


async def test_chargen_until_the_kernel_has_enough(
    ns: Namespace, host: Host, require_tool: Require, ends: Ends
) -> None:
    command = (
        f"{require_tool('socat')} -u {TCP[ends.family]}:{ends.ours_in_url}:19 - | head -c 1000000"
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve_protocol, chargen.protocol, 19)
        done = await ns.run_process(["sh", "-c", command], capture_stdout=True, check=False)
        assert done.stdout == (chargen.PATTERN * 143)[:1_000_000]
        nursery.cancel_scope.cancel()


async def test_a_client_to_a_server_of_the_kernels(
    ns: Namespace, judge: Judge, require_tool: Require, ends: Ends
) -> None:
    """Our protocol sends, and receives what cat returns, up to the end of both halves."""
    client = Feeder(1_000_000)
    listen = f"{TCP[ends.family]}-LISTEN:9000"
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        process = await ns.open_process([require_tool("socat"), listen, "EXEC:cat"])
        await until_listening(ns, 9000)
        await host.connect_protocol(lambda: client, ends.kernel, 9000)
        while not client.lost:  # noqa: ASYNC110
            await trio.sleep(0.01)
        await process.wait()
        nursery.cancel_scope.cancel()
    assert client.lost == [None]
    assert client.received == pattern(1_000_000)


async def test_a_connection_that_a_callback_breaks_is_reset_and_others_go_on(
    ns: Namespace, host: Host, ends: Ends
) -> None:
    class Moody(Echo):
        def data_received(self, data: bytes) -> None:
            if data.startswith(b"raise"):
                raise ValueError("a bug")
            super().data_received(data)

    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve_protocol, Moody, 7)
        with ns.sockets():
            broken, other = [await trio.open_tcp_stream(ends.ours, 7) for _ in range(2)]
        await broken.send_all(b"raise")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await broken.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        await other.send_all(b"fine")
        assert await other.receive_some() == b"fine"
        await broken.aclose()
        await other.aclose()
        nursery.cancel_scope.cancel()
