"""Data between our stack and the kernel's, of which neither has anything bad to say."""

from __future__ import annotations

import hashlib
import random
import re
from contextlib import ExitStack
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.kernel.sockets import (
    FLOW_CONTROL,
    ROLES,
    both_ways,
    connected,
    exactly,
    read_to_end,
    send_all,
    until_listening,
)
from tunstack.apps import echo, http, pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kernel.ends import Ends
    from tests.kernel.judge import Judge
    from tests.kernel.sockets import Role
    from tunstack import Namespace

    Require = Callable[[str], str]

pytestmark = [pytest.mark.kernel, pytest.mark.both_modes, pytest.mark.both_families]


TCP: Final[dict[int, str]] = {AF_INET: "TCP4", AF_INET6: "TCP6"}
"""socat(1)'s words."""
DATA: Final = random.Random(0).randbytes(3 << 20)


@pytest.mark.both_families("both_modes")
async def test_curl_downloads(
    ns: Namespace, judge: Judge, require_tool: Require, ends: Ends
) -> None:
    url = f"http://{ends.ours_in_url}/bytes/{4 << 20}"
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        await nursery.start(host.serve_tcp, http.handler, 80)
        done = await ns.run_process([require_tool("curl"), "-sS", url], capture_stdout=True)
        assert done.stdout == b"".join(pages.pattern(4 << 20))
        nursery.cancel_scope.cancel()
    await judge.acquit(but_for=FLOW_CONTROL)


@pytest.mark.both_families("both_modes")
async def test_curl_uploads(ns: Namespace, judge: Judge, require_tool: Require, ends: Ends) -> None:
    command = [require_tool("curl"), "-sS", "-T", "-", f"http://{ends.ours_in_url}/sha256"]
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        await nursery.start(host.serve_tcp, http.handler, 80)
        done = await ns.run_process(command, stdin=DATA, capture_stdout=True)
        assert done.stdout.decode().strip() == hashlib.sha256(DATA).hexdigest()
        nursery.cancel_scope.cancel()
    await judge.acquit(but_for=FLOW_CONTROL)


async def test_curl_keeps_its_connection(
    ns: Namespace, judge: Judge, require_tool: Require, ends: Ends
) -> None:
    urls = [f"http://{ends.ours_in_url}/bytes/{size}" for size in (1, 100_000, 0, 7)]
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        await nursery.start(host.serve_tcp, http.handler, 80)
        done = await ns.run_process([require_tool("curl"), "-sS", *urls], capture_stdout=True)
        assert done.stdout == b"".join(
            bytes(piece) for size in (1, 100_000, 0, 7) for piece in pages.pattern(size)
        )
        nursery.cancel_scope.cancel()
    await judge.acquit(but_for=FLOW_CONTROL)
    assert (await judge.kernel())["Tcp.ActiveOpens"] == 1


@pytest.mark.parametrize("options", [[], ["-k"]], ids=["connections", "keep-alive"])
async def test_ab_has_no_failed_request(
    ns: Namespace, judge: Judge, require_tool: Require, options: list[str], ends: Ends
) -> None:
    load = ["-q", *options, "-n", "2000", "-c", "50"]
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        await nursery.start(host.serve_tcp, http.handler, 80)
        done = await ns.run_process(
            [require_tool("ab"), *load, f"http://{ends.ours_in_url}/"], capture_stdout=True
        )
        nursery.cancel_scope.cancel()
    report = done.stdout.decode()
    assert re.search(r"Complete requests: +2000\n", report)
    assert re.search(r"Failed requests: +0\n", report)
    assert "Non-2xx" not in report
    # Our side closes first, and stays in TIME-WAIT, which ends when the kernel takes a port again.
    await judge.acquit(but_for=["same ports as an earlier session"])


async def test_socat_has_its_data_echoed(
    ns: Namespace, judge: Judge, require_tool: Require, ends: Ends
) -> None:
    """It ends its half when its input ends, and reads on."""
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        await nursery.start(host.serve_tcp, echo.handler, 7)
        command = [
            require_tool("socat"),
            "-t",
            "10",
            "-",
            f"{TCP[ends.family]}:{ends.ours_in_url}:7",
        ]
        done = await ns.run_process(command, stdin=DATA, capture_stdout=True)
        assert done.stdout == DATA
        nursery.cancel_scope.cancel()
    await judge.acquit(but_for=FLOW_CONTROL)


async def test_socat_serves_us(
    ns: Namespace, judge: Judge, require_tool: Require, ends: Ends
) -> None:
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        # Not PIPE, on which socat itself waits for ever once it is full.
        command = [require_tool("socat"), f"{TCP[ends.family]}-LISTEN:7,reuseaddr", "EXEC:cat"]
        nursery.start_soon(ns.run_process, command)
        await until_listening(ns, 7)
        stream = await host.open_tcp_stream(ends.kernel, 7)
        nursery.start_soon(send_all, stream.socket, DATA)
        assert await read_to_end(stream.socket) == DATA
    await judge.acquit(but_for=FLOW_CONTROL)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("mtu", [576, 1500, 9000])
async def test_both_ways_at_once(
    ns: Namespace, judge: Judge, role: Role, mtu: int, ends: Ends
) -> None:
    """What the window admits must fit into the device's queue for us, of 500 packets."""
    mtu = max(mtu, ends.least_mtu)
    size = 100 * mtu
    async with (
        judge.open_host(mtu=mtu) as host,
        connected(ns, host, role, ours=size) as pair,
    ):
        assert await both_ways(pair, DATA) == (DATA, DATA)
        info = pair[0].tcp_info()
        assert (info.retransmits, info.rcv_mss, info.snd_mss) == (
            0,
            mtu - ends.headers,
            mtu - ends.headers,
        )
    await judge.acquit(but_for=FLOW_CONTROL)


@pytest.mark.parametrize("role", ROLES)
async def test_the_kernel_agrees_on_the_options(
    ns: Namespace, judge: Judge, role: Role, ends: Ends
) -> None:
    """What ss(8) says of its end."""
    async with judge.open_host() as host:
        async with connected(ns, host, role) as (near, far), trio.open_nursery() as nursery:
            nursery.start_soon(trio.SocketStream(far).send_all, DATA)
            assert await exactly(near, len(DATA)) == DATA
            shown = await ns.run_process(["ss", "-Htion"], capture_stdout=True)
            words = {*shown.stdout.decode().split()}
            info = near.tcp_info()
        mss = 1500 - ends.headers
        assert {"ts", "sack", f"wscale:{info.rcv_wscale},{info.snd_wscale}"} <= words
        assert {f"mss:{mss}", "pmtu:1500", f"advmss:{mss}"} <= words
        assert not re.search("retrans|lost|reord|dsack|sacked", " ".join(words))
    await judge.acquit(but_for=FLOW_CONTROL)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("feature", ["timestamps", "window_scaling", "sack"])
@pytest.mark.parametrize("whose", ["ours", "the kernel's"])
async def test_without_an_option(
    ns: Namespace, judge: Judge, role: Role, feature: str, whose: str
) -> None:
    parameters: dict[str, Any] = {}
    if whose == "ours":
        parameters[feature] = False
    else:
        ns.sysctl(f"net.ipv4.tcp_{feature}", 0)
    async with judge.open_host(**parameters) as host:
        async with connected(ns, host, role) as pair:
            assert await both_ways(pair, DATA[: 1 << 18]) == (DATA[: 1 << 18],) * 2
            info = pair[0].tcp_info()
        assert info.timestamps == (feature != "timestamps")
        assert info.sack == (feature != "sack")
        assert (info.rcv_wscale > 0) == (info.snd_wscale > 0) == (feature != "window_scaling")
    await judge.acquit(but_for=FLOW_CONTROL)


async def test_a_thousand_connections_at_once_each_with_its_own_data(
    ns: Namespace, judge: Judge, ends: Ends
) -> None:
    """All are open before the first one says a word; then all talk at once."""
    async with judge.open_host() as host, trio.open_nursery() as nursery:
        # The device's queue for us has room for 500 packets, and these clients, in this very
        # process, fill it before we can read one.
        await ns.run_process(["ip", "link", "set", host.name, "txqueuelen", "5000"])
        (listener,) = await nursery.start(host.serve_tcp, echo.handler, 0)
        address = (ends.ours, listener.socket.getsockname()[1])
        with ExitStack() as stack:
            clients = [stack.enter_context(ns.socket(ends.family)) for _ in range(1000)]
            for client in clients:
                await client.connect(address)
            async with trio.open_nursery() as talking:
                for number, client in enumerate(clients):
                    talking.start_soon(talk, client, b"%d " % number * 100)
                assert len(host.connections()) == 1000
                assert {info.state for info in host.connections()} <= {
                    "ESTABLISHED",
                    "SYN-RECEIVED",  # Of the last ones: the kernel's ACK is on its way.
                }
        nursery.cancel_scope.cancel()
    await judge.acquit()


async def talk(client: trio.socket.SocketType, words: bytes) -> None:
    await send_all(client, words)
    assert await read_to_end(client) == words
