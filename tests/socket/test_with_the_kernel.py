"""Socket options where Linux is the other side: what each does is what the kernel sees."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import asynccontextmanager
from socket import (
    IP_TOS,
    IPPROTO_IP,
    IPPROTO_TCP,
    MSG_OOB,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_OOBINLINE,
    SOL_SOCKET,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
)
from typing import TYPE_CHECKING, Any

import pytest
import trio

import tunstack
from tunstack import Config

from .network import fails

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tunstack import Host, Namespace, Socket

pytestmark = pytest.mark.kernel

KERNEL = "198.51.100.1"
Ends = tuple["Socket", trio.socket.SocketType]


@asynccontextmanager
async def namespace_and_host(**parameters: Any) -> AsyncIterator[tuple[Namespace, Host]]:
    config = Config(**parameters)
    async with tunstack.open_namespace() as ns, ns.open_host(config=config) as host:
        yield ns, host


@asynccontextmanager
async def to_the_kernel(ns: Namespace, host: Host) -> AsyncIterator[Ends]:
    """Our end and the kernel's of a connection that we open."""
    ours = host.socket()
    with ns.socket() as listener:
        await listener.bind((KERNEL, 0))
        listener.listen()
        await ours.connect(listener.getsockname())
        theirs, _ = await listener.accept()
    with theirs:
        yield ours, theirs


@asynccontextmanager
async def from_the_kernel(ns: Namespace, host: Host) -> AsyncIterator[Ends]:
    """Our end and the kernel's of a connection that it opens."""
    (listener,) = await host.open_tcp_listeners(80)
    with ns.socket() as theirs:
        await theirs.connect(("198.51.100.2", 80))
        ours = (await listener.accept()).socket
        assert isinstance(ours, tunstack.Socket)
        yield ours, theirs


@pytest.fixture(params=[to_the_kernel, from_the_kernel])
def opened(request: pytest.FixtureRequest) -> Any:
    return request.param


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again: the kernel tells nobody when it counts."""
    with trio.fail_after(10):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(0.05)


async def counters(ns: Namespace, nstat: str) -> dict[str, int]:
    """What the kernel has counted in the namespace, but for what is 0."""
    result = await ns.run_process([nstat, "-a"], capture_stdout=True)
    lines = (line.split() for line in result.stdout.decode().splitlines()[1:])
    return {name: int(count) for name, count, _ in lines}


# Keep-alive


@pytest.mark.rfc("MUST-24")
async def test_the_kernel_answers_our_probes(require_tool: Callable[[str], str]) -> None:
    nstat = require_tool("nstat")
    quick: dict[str, Any] = {"keepalive_idle": 0.1, "keepalive_interval": 0.1, "keepalive_count": 2}
    async with (
        namespace_and_host(keepalive=True, **quick) as (ns, host),
        to_the_kernel(ns, host) as (ours, theirs),
    ):
        # It answers what lies outside its window no more than twice a second, unless it may.
        ns.sysctl("net.ipv4.tcp_invalid_ratelimit", 0)

        async def many_probes() -> bool:
            return host.statistics()["keep_alive"] >= 5  # More than it would survive unanswered.

        await until(many_probes)
        await theirs.send(b"still here")
        assert await ours.recv(100) == b"still here"
        seen = await counters(ns, nstat)
        assert not {name for name in seen if "InErrs" in name or "Csum" in name}


@pytest.mark.rfc("MUST-24")
async def test_we_answer_the_kernels_probes(require_tool: Callable[[str], str]) -> None:
    nstat = require_tool("nstat")
    async with namespace_and_host() as (ns, host), from_the_kernel(ns, host) as (ours, theirs):
        for option in (TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT):
            theirs.setsockopt(IPPROTO_TCP, option, 1)
        theirs.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)

        async def two_probes() -> bool:
            return (await counters(ns, nstat)).get("TcpExtTCPKeepAlive", 0) >= 2

        await until(two_probes)
        await theirs.send(b"still here")
        assert await ours.recv(100) == b"still here"


# Urgent data


@pytest.mark.rfc("MUST-30")
@pytest.mark.rfc("MUST-62")
async def test_the_kernel_finds_our_urgent_octet(opened: Any) -> None:
    """And where it stands, if it was asked to leave it in the stream (SIOCATMARK)."""
    async with namespace_and_host() as (ns, host), opened(ns, host) as (ours, theirs):
        await ours.send(b"before")
        await ours.send(b"!", MSG_OOB)
        await ours.send(b"after")
        await ours.wait_acknowledged()
        assert await theirs.recv(1, MSG_OOB) == b"!"
        assert await theirs.recv(100) == b"before"
        assert await theirs.recv(100) == b"after"
        theirs.setsockopt(SOL_SOCKET, SO_OOBINLINE, 1)
        await ours.send(b"stop", MSG_OOB)
        await ours.send(b" and go")
        await ours.wait_acknowledged()
        assert await theirs.recv(100) == b"sto"
        assert await theirs.recv(100) == b"p and go"


@pytest.mark.rfc("MUST-30")
@pytest.mark.rfc("MUST-32")
@pytest.mark.rfc("MUST-33")
async def test_the_kernels_urgent_data_is_heard_and_read_in_line(opened: Any) -> None:
    async with namespace_and_host() as (ns, host), opened(ns, host) as (ours, theirs):
        await theirs.send(b"before")
        await theirs.send(b"now!", MSG_OOB)
        await theirs.send(b"after")
        await ours.wait_urgent()
        heard = b""
        while ours.urgent_remaining > 1:
            heard += await ours.recv(100)
        assert heard == b"beforenow"
        assert ours.at_mark()
        while len(heard) < 15:
            heard += await ours.recv(100)
        assert heard == b"beforenow!after"


@pytest.mark.rfc("MUST-30")
async def test_the_kernels_urgent_octet_is_read_apart(opened: Any) -> None:
    async with (
        namespace_and_host(urgent_inline=False) as (ns, host),
        opened(ns, host) as (ours, theirs),
    ):
        await theirs.send(b"before")
        await theirs.send(b"!", MSG_OOB)
        await theirs.send(b"after")
        await ours.wait_urgent()
        assert await ours.recv(1, MSG_OOB) == b"!"
        heard = b""
        while len(heard) < 11:
            heard += await ours.recv(100)
        assert heard == b"beforeafter"


@pytest.mark.rfc("MUST-66")
async def test_the_kernel_announces_what_our_closed_window_keeps_out() -> None:
    async with (
        namespace_and_host(receive_buffer=4096) as (ns, host),
        from_the_kernel(ns, host) as (ours, theirs),
    ):
        stream = trio.SocketStream(theirs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(100_000))

            async def full() -> bool:
                return ours.tcp_info().unread >= 4096

            await until(full)
            await theirs.send(b"!", MSG_OOB)
            await ours.wait_urgent()
            assert ours.urgent_remaining > 4096
            ours.abort()
            nursery.cancel_scope.cancel()


@pytest.mark.rfc("MUST-31")
async def test_urgent_data_of_any_length_arrives() -> None:
    async with namespace_and_host() as (ns, host), to_the_kernel(ns, host) as (ours, theirs):
        theirs.setsockopt(SOL_SOCKET, SO_OOBINLINE, 1)
        size = 300_000
        assert await ours.send(bytes(size), MSG_OOB) == size
        read = 0
        with trio.fail_after(10):
            while read < size:
                read += len(await theirs.recv(1 << 20))
        await ours.wait_acknowledged()


# The rest


@pytest.mark.rfc("MAY-9")
async def test_the_service_that_the_kernel_asks_for_is_told() -> None:
    async with namespace_and_host() as (ns, host), from_the_kernel(ns, host) as (ours, theirs):
        theirs.setsockopt(IPPROTO_IP, IP_TOS, 0x48)
        await theirs.send(b"x")
        await ours.recv(1)
        assert ours.tcp_info().rcv_tos == 0x48


async def test_lingering_for_no_time_resets_the_kernels_end(opened: Any) -> None:
    async with namespace_and_host() as (ns, host), opened(ns, host) as (ours, theirs):
        ours.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        ours.close()
        with fails(errno.ECONNRESET):
            await theirs.recv(1)


async def test_the_kernel_reads_tcp_info_of_its_end_as_we_do_of_ours() -> None:
    """The same layout, and where both must agree the same numbers."""
    async with namespace_and_host() as (ns, host), to_the_kernel(ns, host) as (ours, theirs):
        await ours.send(bytes(1000))
        await theirs.recv(1000)
        await ours.wait_acknowledged()
        our_end, their_end = (
            sock.getsockopt(IPPROTO_TCP, socket.TCP_INFO, 152) for sock in (ours, theirs)
        )
        assert our_end[0] == their_end[0] == 1
        assert our_end[5] & 7 == their_end[5] & 7
        assert (our_end[6] & 15, our_end[6] >> 4) == (their_end[6] >> 4, their_end[6] & 15)
        (acked,) = struct.unpack_from("=Q", our_end, 120)
        (received,) = struct.unpack_from("=Q", their_end, 128)
        assert acked == received == 1000
