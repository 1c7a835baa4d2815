"""What a test does to a connection, as a client of the kernel's sees it."""

from __future__ import annotations

import errno
import random
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.kernel.sockets import connected, exactly, fails, read_to_end, send_all

if TYPE_CHECKING:
    from tests.kernel.ends import Ends
    from tunstack import Host, Namespace, Packet, Socket, SynVerdict, TcpStream

pytestmark = [pytest.mark.kernel, pytest.mark.both_families]

PORT: Final = 80
DATA: Final = random.Random(1).randbytes(1 << 20)


async def counter(ns: Namespace, name: str) -> int:
    """One of the namespace's counters, as nstat(8) has it."""
    shown = await ns.run_process(["nstat", "-asz", name], capture_stdout=True)
    return int(shown.stdout.split()[-2])


async def probed(ns: Namespace, times: int) -> None:
    """Wait until the kernel has probed a closed window."""
    with trio.fail_after(10):
        while await counter(ns, "TcpExtTCPWinProbe") < times:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def client_of(ns: Namespace) -> str:
    """What ss(8) says of the kernel's connection."""
    shown = await ns.run_process(["ss", "-Htnio", "state", "established"], capture_stdout=True)
    return shown.stdout.decode()


class Reader:
    """Reads all that comes to a socket."""

    def __init__(self, sock: Socket) -> None:
        self.data = bytearray()
        self._sock = sock

    async def __call__(self) -> None:
        while piece := await self._sock.recv(1 << 16):
            self.data += piece

    async def has(self, size: int) -> None:
        """Wait until it has read so many octets."""
        with trio.fail_after(10):
            while len(self.data) < size:  # noqa: ASYNC110
                await trio.sleep(0.005)


@pytest.mark.parametrize("after", [0, 100_000])
async def test_a_client_whose_peer_freezes_probes_its_window_and_goes_on_after_the_thaw(
    ns: Namespace, host: Host, after: int
) -> None:
    async with (
        connected(ns, host, "server") as (near, far),
        trio.open_nursery() as nursery,
    ):
        offered = max(near.tcp_info().rcv_wnd, after)
        near.freeze(after)
        reader = Reader(near)
        nursery.start_soon(reader)
        nursery.start_soon(send_all, far, DATA)
        await probed(ns, 2)
        assert offered <= len(reader.data) <= offered + 256
        assert "timer:(persist" in await client_of(ns)
        near.thaw()
        await reader.has(len(DATA))
        assert reader.data == DATA
        assert near.tcp_info().out_of_order == 0


async def test_a_window_that_shrinks_blocks_a_client_at_once(ns: Namespace, host: Host) -> None:
    async with (
        connected(ns, host, "server") as (near, far),
        trio.open_nursery() as nursery,
    ):
        near.freeze(shrink=True)
        reader = Reader(near)
        nursery.start_soon(reader)
        nursery.start_soon(send_all, far, DATA)
        await probed(ns, 1)
        assert not reader.data
        near.thaw()
        await reader.has(len(DATA))
        assert reader.data == DATA


async def test_a_window_taken_back_in_mid_stream_loses_nothing(ns: Namespace, host: Host) -> None:
    """What the client has sent beyond it is dropped, and retransmitted when it opens."""
    async with (
        connected(ns, host, "server") as (near, far),
        trio.open_nursery() as nursery,
    ):
        reader = Reader(near)
        nursery.start_soon(reader)
        nursery.start_soon(send_all, far, DATA)
        for size in (1, 100_000, 500_000):
            await reader.has(size)
            near.freeze(1000, shrink=True)
            await trio.sleep(0.02)
            near.thaw()
        await reader.has(len(DATA))
        assert reader.data == DATA


async def test_other_connections_go_on_while_one_is_frozen(ns: Namespace, host: Host) -> None:
    async with (
        connected(ns, host, "server") as (frozen, _),
        connected(ns, host, "server") as (near, far),
        trio.open_nursery() as nursery,
    ):
        frozen.freeze(shrink=True)
        nursery.start_soon(send_all, far, DATA)
        assert await read_to_end(near) == DATA
        await near.send(b"and back")
        assert await exactly(far, 8) == b"and back"


# Silence


USER_TIMEOUT: Final = 18
"""TCP_USER_TIMEOUT, in milliseconds."""


async def test_a_client_whose_peer_vanishes_retransmits_until_it_times_out(
    ns: Namespace, host: Host
) -> None:
    async with connected(ns, host, "server") as (near, far):
        far.setsockopt(trio.socket.IPPROTO_TCP, USER_TIMEOUT, 900)
        near.vanish()
        near.close()
        await far.send(b"are you there?")
        with trio.fail_after(10), fails(errno.ETIMEDOUT):
            await far.recv(1)
        assert await counter(ns, "TcpRetransSegs") >= 2
        assert await counter(ns, "TcpInSegs") == 1  # Our SYN,ACK.


async def test_a_client_hears_nothing_of_the_end_of_a_host_that_has_vanished(
    ns: Namespace, ends: Ends
) -> None:
    with ns.socket(ends.family) as far:
        async with ns.open_host(ends.address) as host:
            (listener,) = await host.open_tcp_listeners(PORT)
            await far.connect((ends.ours, PORT))
            near = await listener.accept()
            near.vanish("out")
            await near.send_all(b"lost")
        with trio.move_on_after(0.3) as silence:
            await far.recv(1)
        assert silence.cancelled_caught
        assert await counter(ns, "TcpInSegs") == 1  # Our SYN,ACK.


async def test_a_client_that_is_not_acknowledged_retransmits_what_was_read(
    ns: Namespace, host: Host
) -> None:
    async with connected(ns, host, "server") as (near, far):
        near.stop_acknowledging()
        await far.send(b"request")
        assert await exactly(near, 7) == b"request"
        await near.send(b"response")
        assert await exactly(far, 8) == b"response"
        with trio.fail_after(10):
            while await counter(ns, "TcpRetransSegs") < 2:  # noqa: ASYNC110
                await trio.sleep(0.02)
        near.resume_acknowledging()
        with trio.fail_after(10):
            while "unacked" in await client_of(ns):  # noqa: ASYNC110
                await trio.sleep(0.02)


# Crafted segments


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({"payload": b"x", "checksum": 0xBAD}, "TcpInCsumErrors"),
        ({"flags": "RST", "seq": 1}, "TcpExtTCPChallengeACK"),
        ({"flags": "SYN"}, "TcpExtTCPSYNChallenge"),
        ({"seq": -5, "payload": b"OTHER"}, "TcpExtTCPDSACKOldSent"),
        ({"flags": "PSH,ACK", "options": bytes.fromhex("0101080a0000000000000000")}, ""),
    ],
)
async def test_what_the_kernel_counts_of_crafted_segments(
    ns: Namespace, host: Host, fields: dict[str, Any], counted: str
) -> None:
    async with connected(ns, host, "server") as (near, far):
        await near.send(b"12345")
        assert await exactly(far, 5) == b"12345"
        near.send_segment(**fields)
        await near.send(b"67890")
        assert await exactly(far, 5) == b"67890"
        if counted:
            assert await counter(ns, counted) == 1


async def test_urgent_data_is_announced_to_the_kernel(ns: Namespace, host: Host) -> None:
    async with connected(ns, host, "server") as (near, far):
        near.send_segment(flags="PSH,ACK", payload=b"abc!", urgent=4)
        assert await exactly(far, 3) == b"abc"
        assert await far.recv(1, trio.socket.MSG_OOB) == b"!"


async def test_a_reset_at_its_number_resets_the_client(ns: Namespace, host: Host) -> None:
    async with connected(ns, host, "server") as (near, far):
        near.send_segment(flags="RST")
        with trio.fail_after(10), fails(errno.ECONNRESET):
            await far.recv(1)


# Verdicts


@pytest.mark.parametrize(
    ("verdict", "over_ipv4", "over_ipv6"),
    [
        ("refuse", errno.ECONNREFUSED, errno.ECONNREFUSED),
        ("port-unreachable", errno.ECONNREFUSED, errno.ECONNREFUSED),
        ("host-unreachable", errno.EHOSTUNREACH, errno.EHOSTUNREACH),
        ("network-unreachable", errno.ENETUNREACH, errno.ENETUNREACH),
        ("prohibited", errno.EHOSTUNREACH, errno.EACCES),
        ("drop", errno.ETIMEDOUT, errno.ETIMEDOUT),
        ("hold", errno.ETIMEDOUT, errno.ETIMEDOUT),
    ],
)
async def test_each_verdict_is_an_error_of_connect(
    ns: Namespace,
    host: Host,
    ends: Ends,
    verdict: SynVerdict,
    over_ipv4: int,
    over_ipv6: int,
) -> None:
    async def decide(_: Packet) -> SynVerdict:
        return verdict

    await host.open_tcp_listeners(PORT)
    host.on_syn(decide)
    ns.sysctl("net.ipv4.tcp_syn_retries", 1)
    ns.sysctl("net.ipv4.tcp_syn_linear_timeouts", 0)
    with ns.socket(ends.family) as client, trio.fail_after(10):
        if verdict in ("drop", "hold"):
            client.setsockopt(trio.socket.IPPROTO_TCP, USER_TIMEOUT, 500)
        with fails(over_ipv4 if ends.family == trio.socket.AF_INET else over_ipv6):
            await client.connect((ends.ours, PORT))


async def test_a_slow_verdict_delays_its_own_client_only(
    ns: Namespace, host: Host, ends: Ends
) -> None:
    slow, decided = trio.Event(), trio.Event()

    async def decide(_: Packet) -> SynVerdict:
        if not slow.is_set():
            slow.set()
            await decided.wait()
        return "accept"

    async def serve(stream: TcpStream) -> None:
        await stream.send_all(b"hello")

    async with trio.open_nursery() as nursery:
        start = partial(host.serve_tcp, serve, PORT, on_syn=decide)
        await nursery.start(start)
        with ns.socket(ends.family) as first:
            nursery.start_soon(first.connect, (ends.ours, PORT))
            await slow.wait()
            for _ in range(3):
                with ns.socket(ends.family) as client:
                    await client.connect((ends.ours, PORT))
                    assert await exactly(client, 5) == b"hello"
            with trio.fail_after(10):  # The first client's retransmissions wait as well.
                while await counter(ns, "TcpRetransSegs") < 1:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            assert host.statistics()["packets_sent"] >= 9
            decided.set()
            with trio.fail_after(10):
                assert await exactly(first, 5) == b"hello"
        nursery.cancel_scope.cancel()
