"""How connections with the kernel begin badly, and how they end, on either side's initiative."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

import pytest
import trio
from trio.socket import AF_INET, AF_INET6, SHUT_WR, SO_LINGER, SO_REUSEADDR, SOL_SOCKET

from tests.kernel.near import open_tun
from tests.kernel.sockets import ROLES, connected, exactly, fails, read_to_end, send_all
from tests.socket.network import Valve
from tunstack import Config, Host
from tunstack.host.host import loop_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kernel.ends import Ends
    from tests.kernel.judge import Judge
    from tests.kernel.sockets import Role
    from tunstack import Namespace

pytestmark = [pytest.mark.kernel, pytest.mark.both_modes, pytest.mark.both_families]


REFUSED: Final[dict[int, tuple[str, int]]] = {
    AF_INET: ("unreachable", errno.EHOSTUNREACH),
    AF_INET6: ("prohibit", errno.EACCES),  # For "unreachable" it says "no route" here.
}
"""Types of routes by which Linux refuses to forward, and what its ICMP error means."""
LINGER_0: Final = (SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


async def states(ns: Namespace) -> list[str]:
    """Those of the kernel's connections, but for listeners."""
    shown = await ns.run_process(["ss", "-Htan", "exclude", "listening"], capture_stdout=True)
    return [line.split()[0] for line in shown.stdout.decode().splitlines()]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what is only a matter of time."""
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - nobody sets an event when the kernel acts
            await trio.sleep(0.005)


def our_states(host: Host) -> list[str]:
    return [info.state for info in host.connections()]


# Half by half


@pytest.mark.parametrize("role", ROLES)
async def test_the_kernel_ends_its_half_and_reads_on(
    ns: Namespace, judge: Judge, role: Role
) -> None:
    async with judge.open_host() as host, connected(ns, host, role) as (near, far):
        await send_all(far, b"the whole question")
        assert await read_to_end(near) == b"the whole question"
        assert our_states(host) == ["CLOSE-WAIT"]
        assert await states(ns) == ["FIN-WAIT-2"]
        for word in (b"one", b"two"):
            await near.send(word)
            assert await far.recv(100) == word
        near.close()
        assert await far.recv(100) == b""
        await until(lambda: our_states(host) == [])
        assert await states(ns) == ["TIME-WAIT"]
    await judge.acquit()


@pytest.mark.parametrize("role", ROLES)
async def test_we_end_our_half_and_read_on(ns: Namespace, judge: Judge, role: Role) -> None:
    async with judge.open_host() as host, connected(ns, host, role) as (near, far):
        await send_all(near, b"the whole question")
        assert await read_to_end(far) == b"the whole question"
        await until(lambda: our_states(host) == ["FIN-WAIT-2"])
        assert await states(ns) == ["CLOSE-WAIT"]
        for word in (b"one", b"two"):
            await far.send(word)
            assert await near.recv(100) == word
        far.close()
        assert await near.recv(100) == b""
        assert our_states(host) == ["TIME-WAIT"]
        assert await states(ns) == []
    await judge.acquit()


@pytest.mark.parametrize("role", ROLES)
async def test_both_end_at_once(ns: Namespace, judge: Judge, role: Role) -> None:
    """The two FINs cross, as nothing is read between these two lines (RFC 9293 figure 13)."""
    async with judge.open_host() as host, connected(ns, host, role) as (near, far):
        far.shutdown(SHUT_WR)
        near.shutdown(SHUT_WR)
        assert our_states(host) == ["FIN-WAIT-1"]
        assert await near.recv(100) == await far.recv(100) == b""
        await until(lambda: our_states(host) == ["TIME-WAIT"])
        assert await states(ns) == ["TIME-WAIT"]
    assert "FIN-WAIT-1 -> CLOSING: accepted" in judge.comments
    assert "CLOSING -> TIME-WAIT: accepted" in judge.comments
    await judge.acquit()


async def test_both_open_at_once(ns: Namespace, judge: Judge, ends: Ends) -> None:
    """The two SYNs cross: a simultaneous open (RFC 9293 figure 7) with the kernel."""
    async with judge.open_host() as host:
        near, far = host.socket(ends.family), ns.socket(ends.family)
        await near.bind((ends.ours, 7001))
        await far.bind((ends.kernel, 7002))
        with near, far:
            # Its SYN waits in the device when ours goes out: nobody else runs in between.
            with socket.socket(fileno=os.dup(far.fileno())) as same:
                same.setblocking(False)
                assert same.connect_ex((ends.ours, 7001)) == errno.EINPROGRESS
            await near.connect((ends.kernel, 7002))
            await trio.lowlevel.wait_writable(far)
            assert "SYN-SENT -> SYN-RECEIVED: accepted" in judge.comments
            await near.send(b"to the kernel")
            assert await far.recv(100) == b"to the kernel"
            await far.send(b"to us")
            assert await near.recv(100) == b"to us"
            assert await states(ns) == ["ESTAB"]


# At once


@pytest.mark.parametrize("role", ROLES)
async def test_the_kernel_resets(ns: Namespace, host: Host, role: Role) -> None:
    async with connected(ns, host, role) as (near, far):
        far.setsockopt(*LINGER_0)
        far.close()
        with fails(errno.ECONNRESET):
            await near.recv(1)
        with fails(errno.EPIPE):
            await near.send(b"x")
        assert our_states(host) == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("how", ["abort", "linger", "unread"])
async def test_we_reset(ns: Namespace, host: Host, role: Role, how: str) -> None:
    async with connected(ns, host, role) as (near, far):
        if how == "abort":
            near.abort()
        elif how == "linger":
            near.setsockopt(*LINGER_0)
        else:
            await far.send(b"nobody reads this")
            await until(near.is_readable)
        near.close()
        with pytest.raises(ConnectionResetError):
            await far.recv(1)
        assert await states(ns) == our_states(host) == []


@pytest.mark.parametrize("role", ROLES)
async def test_what_comes_after_our_close_is_answered_with_a_reset(
    ns: Namespace, host: Host, role: Role
) -> None:
    async with connected(ns, host, role) as (near, far):
        near.close()
        assert await far.recv(1) == b""
        await far.send(b"nobody reads this")
        await until(lambda: our_states(host) == [])
        with pytest.raises(BrokenPipeError):
            await far.send(b"x")
        assert await states(ns) == []


@pytest.mark.parametrize("role", ROLES)
async def test_what_comes_after_the_kernels_close_we_learn_is_not_read(
    ns: Namespace, host: Host, role: Role
) -> None:
    async with connected(ns, host, role) as (near, far):
        far.close()
        assert await near.recv(1) == b""
        await near.send(b"nobody reads this")
        with fails(errno.ECONNRESET):
            while True:
                await near.send(b"x")
                await trio.sleep(0.005)


async def test_our_host_ends_and_the_kernel_learns_of_it(ns: Namespace, ends: Ends) -> None:
    async with ns.open_host(ends.address) as host:
        cm = connected(ns, host, "server")
        _, far = await cm.__aenter__()
    with pytest.raises(ConnectionResetError):
        await far.recv(1)
    await cm.__aexit__(None, None, None)


# Not at all


async def test_a_closed_port_of_the_kernels_refuses(ns: Namespace, host: Host, ends: Ends) -> None:
    with fails(errno.ECONNREFUSED):
        await host.open_tcp_stream(ends.kernel, 9)
    assert our_states(host) == []


async def test_a_closed_port_of_ours_refuses(ns: Namespace, judge: Judge, ends: Ends) -> None:
    async with judge.open_host() as host:
        with ns.socket(ends.family) as far, pytest.raises(ConnectionRefusedError):
            await far.connect((ends.ours, 9))
        assert host.statistics()["tcp_refused"] == 1


async def test_where_the_kernel_has_no_way_we_hear_of_it(
    ns: Namespace, host: Host, ends: Ends
) -> None:
    """Its ICMP error arrives, and is believed."""
    ns.sysctl("net.ipv4.ip_forward", 1)
    ns.sysctl("net.ipv6.conf.all.forwarding", 1)
    with fails(errno.ENETUNREACH):
        await host.open_tcp_stream(ends.elsewhere, 80)
    await ns.run_process(["ip", "route", "add", REFUSED[ends.family][0], ends.elsewhere])
    with fails(REFUSED[ends.family][1]):
        await host.open_tcp_stream(ends.elsewhere, 80)


async def test_the_kernels_backlog_makes_us_wait(ns: Namespace, ends: Ends) -> None:
    """It drops our SYN as long as its backlog is full, and takes it when it is sent again."""
    async with ns.open_host(config=Config(rto_initial=0.2)) as host:
        with ns.socket(ends.family) as listener:
            await listener.bind((ends.kernel, 0))
            listener.listen(0)
            address = listener.getsockname()
            first = await host.open_tcp_stream(*address[:2])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.socket(ends.family).connect, address)
                await until(lambda: host.statistics()["retransmission_timeout"] > 0)
                assert sorted(our_states(host)) == ["ESTABLISHED", "SYN-SENT"]
                accepted, who = await listener.accept()
                assert who == first.socket.getsockname()
            accepted.close()


async def test_our_backlog_makes_the_kernel_wait(ns: Namespace, host: Host, ends: Ends) -> None:
    (listener,) = await host.open_tcp_listeners(0, backlog=0)
    address = (ends.ours, listener.socket.getsockname()[1])
    with ns.socket(ends.family) as one, ns.socket(ends.family) as other:
        await one.connect(address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.connect, address)
            await until(lambda: host.statistics()["tcp_backlog_full"] > 0)
            await listener.accept()
        stream = await listener.accept()
        assert stream.socket.getpeername() == other.getsockname()


# Again


async def test_the_kernel_comes_again_from_the_same_port(
    ns: Namespace, judge: Judge, ends: Ends
) -> None:
    """Our TIME-WAIT makes way for its new SYN (RFC 6191), time and again."""
    async with judge.open_host() as host:
        (listener,) = await host.open_tcp_listeners(80)
        for number in range(5):
            with ns.socket(ends.family) as far:
                far.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
                await far.bind((ends.kernel, 4000))
                await far.connect((ends.ours, 80))
                near = await listener.accept()
                await far.send(b"%d" % number)
                assert await near.receive_some() == b"%d" % number
                await near.aclose()
                assert await far.recv(1) == b""
            await until(lambda: our_states(host) == ["TIME-WAIT"])
        assert host.statistics()["tcp_new_incarnation"] == 4
    await judge.acquit(but_for=["same ports as an earlier session"])


async def test_the_kernel_repeats_its_fin_until_it_hears_of_it(ns: Namespace, ends: Ends) -> None:
    """What is left of a connection in TIME-WAIT is for that (RFC 9293 section 3.10.7.4)."""
    link, lost = Valve(await open_tun(ns, ends.address, offload=True)), list[bytes]()

    def loses(packet: bytes) -> bool:
        lost.append(packet)
        return True

    async with (
        Host(link, [ends.address], config=Config(msl=1.5)) as host,
        connected(ns, host, "server") as (near, far),
    ):
        near.close()
        assert await far.recv(1) == b""
        await until(lambda: our_states(host) == ["FIN-WAIT-2"])
        link.loses = loses
        far.close()
        await until(lambda: len(lost) > 1)
        assert our_states(host) == ["TIME-WAIT"]
        assert not loop_of(host).stack.demux.connections
        assert await states(ns) == ["LAST-ACK"]
        link.loses = lambda _: False
        with trio.fail_after(10):
            while await states(ns):  # noqa: ASYNC110 - no event tells of it
                await trio.sleep(0.02)
        assert our_states(host) == ["TIME-WAIT"]
        assert host.statistics()["tcp_duplicate"] >= 2
        await until(lambda: our_states(host) == [])


async def test_we_come_again_from_the_same_port(ns: Namespace, judge: Judge, ends: Ends) -> None:
    """The kernel's TIME-WAIT makes way for our new SYN: our numbers rise, as they must."""
    async with judge.open_host() as host:
        with ns.socket(ends.family) as listener:
            await listener.bind((ends.kernel, 80))
            listener.listen()
            for number in range(5):
                with host.socket(ends.family) as near:
                    near.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
                    await near.bind((ends.ours, 4000))
                    await near.connect((ends.kernel, 80))
                    far, _ = await listener.accept()
                    await near.send(b"%d" % number)
                    assert await exactly(far, 1) == b"%d" % number
                    far.close()
                    assert await near.recv(1) == b""
                await until(lambda: our_states(host) == [])
                assert await states(ns) == ["TIME-WAIT"]
    await judge.acquit(but_for=["same ports as an earlier session"])
