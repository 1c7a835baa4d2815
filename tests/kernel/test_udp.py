"""UDP against the kernel's sockets: data both ways, errors both ways, and the rules as they are."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.kernel.judge import KERNEL, OURS
from tests.kernel.sockets import fails
from tunstack.bench.iperf import Iperf
from tunstack.socket.options.datagram import IP_MTU_DISCOVER, UDP_GRO, UDP_SEGMENT
from tunstack.udp.sock import PMTUDISC_DO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.kernel.judge import Judge
    from tunstack import Host, Namespace

pytestmark = pytest.mark.kernel

PORT = 7777


INET, INET6 = socket.AF_INET, socket.AF_INET6
OURS_IN: Final[dict[int, str]] = {INET: OURS, INET6: "2001:db8::2"}
KERNEL_IN: Final[dict[int, str]] = {INET: KERNEL, INET6: "2001:db8::1"}
FAMILIES = pytest.mark.parametrize("family", [INET, INET6], ids=["IPv4", "IPv6"])


def ours(host: Host, family: int = INET) -> trio.socket.SocketType:
    return host.socket(family, socket.SOCK_DGRAM)


def kernels(ns: Namespace, family: int = INET) -> trio.socket.SocketType:
    return ns.socket(family, socket.SOCK_DGRAM)


@pytest.fixture
async def host(ns: Namespace) -> AsyncIterator[Host]:
    """A host with an address of each family."""
    async with ns.open_host(f"{OURS}/24", f"{OURS_IN[INET6]}/64") as host:
        yield host


@FAMILIES
@pytest.mark.parametrize("client", ["ours", "kernel"])
async def test_large_datagrams_go_in_fragments(
    ns: Namespace, host: Host, family: int, client: str
) -> None:
    near, far = ours(host, family), kernels(ns, family)
    to = (KERNEL_IN if client == "ours" else OURS_IN)[family]
    if client == "kernel":
        near, far = far, near
    with near, far:
        await far.bind(("", PORT))
        await near.connect((to, PORT))
        for size in (1453, 1473, 20_000, 65_507):
            data = os.urandom(size)
            with trio.fail_after(30):
                while not await _comes_back(near, far, data):
                    pass


async def _comes_back(
    near: trio.socket.SocketType, far: trio.socket.SocketType, data: bytes
) -> bool:
    """Whether a datagram does, within a second: a busy machine may lose a fragment."""
    with trio.move_on_after(1):
        await near.send(data)
        received, address = await far.recvfrom(1 << 16)
        assert received == data
        await far.sendto(received, address)
        assert await near.recv(1 << 16) == data
        return True
    return False


@pytest.mark.both_modes
@pytest.mark.parametrize("client", ["ours", "kernel"])
async def test_datagrams_of_every_size_come_back(ns: Namespace, judge: Judge, client: str) -> None:
    data = bytes(range(65, 91)) * 60  # Random octets look like other protocols at times.
    async with judge.open_host() as host:
        near, far = ours(host), kernels(ns)
        if client == "kernel":
            near, far = far, near
        with near, far:
            await far.bind(("", PORT))
            await near.connect((KERNEL if client == "ours" else OURS, PORT))
            for size in (*range(100), 1471, 1472):
                await near.send(data[:size])
                with trio.fail_after(10):
                    received, address = await far.recvfrom(2000)
                    assert (received, address) == (data[:size], near.getsockname())
                    await far.sendto(received[::-1], address)
                    assert await near.recv(2000) == data[:size][::-1]
    await judge.acquit()


@FAMILIES
async def test_nobody_at_the_port_is_told_in_either_direction(
    ns: Namespace, host: Host, family: int
) -> None:
    for sock, address in (
        (ours(host, family), KERNEL_IN[family]),
        (kernels(ns, family), OURS_IN[family]),
    ):
        with sock, trio.fail_after(10):
            await sock.connect((address, PORT))
            await sock.send(b"anybody?")
            with fails(errno.ECONNREFUSED):
                await sock.recv(1)
    assert host.statistics()["no_udp_port"] == 1
    assert host.statistics()["udp_errors"] == 1


@FAMILIES
@pytest.mark.parametrize("together", [False, True], ids=["cut", "whole"])
async def test_what_the_kernel_sends_as_one_packet_is_its_datagrams(
    ns: Namespace, host: Host, family: int, together: bool
) -> None:
    data = os.urandom(5500)
    with ours(host, family) as near, kernels(ns, family) as far, trio.fail_after(10):
        await near.bind(("", PORT))
        near.setsockopt(socket.IPPROTO_UDP, UDP_GRO, together)
        far.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        await far.sendto(data, (OURS_IN[family], PORT))
        if together:
            received, messages, _, _ = await near.recvmsg(65536, 100)
            assert received == data
            assert messages == [(socket.IPPROTO_UDP, UDP_GRO, struct.pack("i", 1000))]
        else:
            pieces = [await near.recv(2000) for _ in range(6)]
            assert pieces == [data[at : at + 1000] for at in range(0, 5500, 1000)]


@FAMILIES
async def test_the_kernel_cuts_what_we_send_as_one_packet(
    ns: Namespace, host: Host, family: int
) -> None:
    data = os.urandom(5500)
    with ours(host, family) as near, kernels(ns, family) as far, trio.fail_after(10):
        await far.bind(("", PORT))
        near.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        packets = host.statistics()["packets_sent"]
        await near.sendto(data, (KERNEL_IN[family], PORT))
        assert [await far.recv(2000) for _ in range(6)] == [
            data[at : at + 1000] for at in range(0, 5500, 1000)
        ]
    assert host.statistics()["packets_sent"] == 1 + packets


@FAMILIES
async def test_an_echo_loses_nothing_below_the_bound_of_the_buffers(
    ns: Namespace, host: Host, family: int
) -> None:
    """As many are on their way as the smaller of both buffers has room for."""
    count, window = 20_000, 100

    async def echo(sock: trio.socket.SocketType) -> None:
        while True:
            await sock.sendto(*await sock.recvfrom(100))

    with ours(host, family) as near, kernels(ns, family) as far:
        await near.bind(("", PORT))
        await far.connect((OURS_IN[family], PORT))
        room = trio.Semaphore(window)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, near)

            async def send() -> None:
                for number in range(count):
                    await room.acquire()
                    await far.send(number.to_bytes(4, "big"))

            nursery.start_soon(send)
            with trio.fail_after(60):
                for number in range(count):
                    assert await far.recv(100) == number.to_bytes(4, "big")
                    room.release()
            nursery.cancel_scope.cancel()
    assert host.statistics()["udp_received"] == host.statistics()["udp_sent"] == count
    assert host.statistics()["udp_buffer_full"] == 0


@FAMILIES
async def test_iperf3_loses_nothing(
    ns: Namespace, host: Host, family: int, require_tool: Callable[[str], str]
) -> None:
    command = [require_tool("iperf3"), "--client", OURS_IN[family], "--json", "--udp"]
    command += ["--bytes", "2M", "--bitrate", "40M", "--parallel", "2", "--length", "1400"]
    iperf = Iperf()
    with ours(host, family) as sock:
        await sock.bind((OURS_IN[family], 5201))
        listeners = await host.open_tcp_listeners(5201, host=OURS_IN[family])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(iperf.serve_datagrams, sock)
            nursery.start_soon(trio.serve_listeners, iperf.serve, listeners)
            with trio.fail_after(30):
                done = await ns.run_process(command, capture_stdout=True)
            nursery.cancel_scope.cancel()
    end = json.loads(done.stdout)["end"]["sum"]
    assert (end["lost_packets"], end["bytes"] >= 2 << 20) == (0, True)
    assert host.statistics()["udp_buffer_full"] == 0


# What Linux does, we do


async def _outcome(call: Callable[..., Any], *args: Any, within: float = 10) -> Any:
    """What a call returns, or the name of its error; "waits" if there is nothing within a time."""
    try:
        with trio.fail_after(within):
            result = call(*args)
            return await result if hasattr(result, "__await__") else result
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except trio.TooSlowError:
        return "waits"


async def _sharing(make: Callable[[], Any], own: str, other: str) -> list[Any]:
    """Every way in which two sockets may want one port."""
    seen = []
    reuse, load = socket.SO_REUSEADDR, socket.SO_REUSEPORT
    choices: list[tuple[int, ...]] = [(), (reuse,), (load,), (reuse, load)]
    for first in choices:
        for second in choices:
            for address, another in (("", ""), ("", own), (own, ""), (own, own)):
                with make() as one, make() as two:
                    for sock, options in ((one, first), (two, second)):
                        for option in options:
                            sock.setsockopt(socket.SOL_SOCKET, option, 1)
                    await one.bind((address, PORT))
                    seen.append(await _outcome(two.bind, (another, PORT)))
    return seen


def _broadcast(own: str) -> str:
    return own if ":" in own else "255.255.255.255"  # Of IPv6 there is none.


async def _names(make: Callable[[], Any], own: str, other: str) -> list[Any]:
    with make() as sock:
        before = sock.getsockname()
        seen = [
            await _outcome(sock.getpeername),
            await _outcome(sock.send, b"x"),
            await _outcome(sock.sendto, b"x", (other, 0)),
            await _outcome(sock.bind, (other, 0)),
            await _outcome(sock.connect, (other, PORT)),
            await _outcome(sock.bind, ("", 0)),
            sock.getsockname()[0] == own,
            await _outcome(sock.connect, (_broadcast(own), PORT)),
        ]
        return [before, *seen]


async def _ending(make: Callable[[], Any], own: str, other: str) -> list[Any]:
    with make() as unconnected, make() as sock:
        seen = [
            await _outcome(unconnected.recv, 1, within=0.1),
            await _outcome(unconnected.shutdown, socket.SHUT_WR),
            await _outcome(unconnected.sendto, b"x", (other, PORT)),
        ]
        await sock.connect((other, PORT))
        sock.shutdown(socket.SHUT_WR)
        return [
            *seen,
            await _outcome(sock.send, b"x"),
            await _outcome(sock.listen, 1),
        ]


async def _sizes(make: Callable[[], Any], own: str, other: str) -> list[Any]:
    with make() as sock:
        seen = [
            await _outcome(sock.sendto, bytes(size), (other, PORT))
            for size in (65508, 65536, 70000)
        ]
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DO)
        seen += [await _outcome(sock.sendto, bytes(size), (other, PORT)) for size in (1472, 1473)]
        for size, total in ((1472, 1473), (1473, 2000), (1, 128), (1, 129), (1000, 65508)):
            message = socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", size)
            seen.append(await _outcome(sock.sendmsg, [bytes(total)], [message], 0, (other, PORT)))
        return seen


async def _options(make: Callable[[], Any], own: str, other: str) -> list[Any]:
    seen = []
    for level, names in (
        (socket.SOL_SOCKET, (2, 3, 4, 6, 7, 8, 15, 30, 38, 39)),
        (socket.IPPROTO_IP, (1, 2, 8, 10, 11, 12, 13, 14)),
        (socket.IPPROTO_UDP, (103, 104)),
    ):
        for name in names:
            with make() as sock:
                seen.append(await _outcome(sock.getsockopt, level, name))
                for value in (-1, 0, 1, 5, 6, 255, 256, 65535, 65536, b"\1", b"\1\0\0\0"):
                    if name in (7, 8) and value not in (1, 5):
                        continue  # The largest is the machine's.
                    seen.append(await _outcome(sock.setsockopt, level, name, value))
                    seen.append(await _outcome(sock.getsockopt, level, name))
    return seen


@FAMILIES
@pytest.mark.parametrize("scenario", [_sharing, _names, _ending, _sizes, _options])
async def test_what_linux_does(
    ns: Namespace, host: Host, family: int, scenario: Callable[..., Awaitable[list[Any]]]
) -> None:
    here, there = OURS_IN[family], KERNEL_IN[family]
    expected = await scenario(lambda: kernels(ns, family), there, here)
    assert await scenario(lambda: ours(host, family), here, there) == expected
