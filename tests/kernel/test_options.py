"""Socket options where Linux is the other side: what each does is what the kernel sees."""

from __future__ import annotations

import errno
import struct
from socket import (
    AF_INET,
    AF_INET6,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    SO_KEEPALIVE,
    SO_LINGER,
    SOL_SOCKET,
    TCP_INFO,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
)
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.kernel.sockets import ROLES, connected, exactly, fails
from tunstack import Config

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.kernel.ends import Ends
    from tests.kernel.judge import Judge
    from tests.kernel.sockets import Role
    from tunstack import Host, Namespace

pytestmark = [pytest.mark.kernel, pytest.mark.both_families]

# Of linux/in.h; Python has no names for them.
_IP_PKTOPTIONS: Final = 9
_IP_RECVTOS: Final = 13
_IP_MINTTL: Final = 21
_IPV6_2292PKTOPTIONS: Final = 6
_IPV6_MINHOPCOUNT: Final = 73

Option = tuple[int, int]
# By family: the option for the service (TOS, traffic class), for hops (TTL, hop limit), and so on.
SERVICE: Final[dict[int, Option]] = {
    AF_INET: (IPPROTO_IP, IP_TOS),
    AF_INET6: (IPPROTO_IPV6, IPV6_TCLASS),
}
RECEIVE_SERVICE: Final[dict[int, Option]] = {
    AF_INET: (IPPROTO_IP, _IP_RECVTOS),
    AF_INET6: (IPPROTO_IPV6, IPV6_RECVTCLASS),
}
PACKET_OPTIONS: Final[dict[int, Option]] = {
    AF_INET: (IPPROTO_IP, _IP_PKTOPTIONS),
    AF_INET6: (IPPROTO_IPV6, _IPV6_2292PKTOPTIONS),
}
HOPS: Final[dict[int, Option]] = {
    AF_INET: (IPPROTO_IP, IP_TTL),
    AF_INET6: (IPPROTO_IPV6, IPV6_UNICAST_HOPS),
}
LEAST_HOPS: Final[dict[int, Option]] = {
    AF_INET: (IPPROTO_IP, _IP_MINTTL),
    AF_INET6: (IPPROTO_IPV6, _IPV6_MINHOPCOUNT),
}
_TCP_INFO_LAYOUT: Final = struct.Struct("=8B24I4Q4I")
_TCP_INFO: Final = """
    state phase retransmits probes backoff options wscale flags
    rto ato snd_mss rcv_mss unacked sacked lost retrans fackets
    last_data_sent last_ack_sent last_data_recv last_ack_recv
    pmtu rcv_ssthresh rtt rttvar ssthresh cwnd advmss reordering rcv_rtt rcv_space total_retrans
    pacing max_pacing acked received segs_out segs_in notsent min_rtt
"""


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again: the kernel tells nobody when it counts."""
    with trio.fail_after(30):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(0.05)


@pytest.mark.rfc("MUST-24", "MUST-27")
async def test_the_kernel_answers_our_keep_alive(ns: Namespace, judge: Judge) -> None:
    # It answers what lies outside its window no more than twice a second, unless it may.
    ns.sysctl("net.ipv4.tcp_invalid_ratelimit", 0)
    async with (
        judge.open_host(
            keepalive=True, keepalive_idle=0.1, keepalive_interval=0.1, keepalive_count=2
        ) as host,
        connected(ns, host, "client") as (ours, theirs),
    ):

        async def many_probes() -> bool:
            return host.statistics()["keep_alive"] >= 5  # More than it would survive unanswered.

        await until(many_probes)
        await theirs.send(b"still here")
        assert await ours.recv(100) == b"still here"
    await judge.acquit(but_for=["TCP keep-alive", "TCPKeepAlive", "Keep-Alive", "Probe"])


@pytest.mark.rfc("MUST-24")
async def test_we_answer_the_kernels_keep_alive(ns: Namespace, host: Host, judge: Judge) -> None:
    async with connected(ns, host, "server") as (ours, theirs):
        for option in (TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT):
            theirs.setsockopt(IPPROTO_TCP, option, 1)
        theirs.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)

        async def two_probes() -> bool:
            return (await judge.kernel())["TcpExt.TCPKeepAlive"] >= 2

        await until(two_probes)
        await theirs.send(b"still here")
        assert await ours.recv(100) == b"still here"


@pytest.mark.rfc("MAY-9")
@pytest.mark.parametrize("role", ROLES)
async def test_the_service_that_the_kernel_asks_for_is_told(
    ns: Namespace, host: Host, role: Role, ends: Ends
) -> None:
    async with connected(ns, host, role) as (ours, theirs):
        theirs.setsockopt(*SERVICE[ends.family], 0x48)
        await theirs.send(b"x")
        assert await ours.recv(1) == b"x"
        assert ours.tcp_info().rcv_tos == 0x48


@pytest.mark.rfc("MUST-48")
async def test_the_kernel_sees_the_service_that_we_ask_for(
    ns: Namespace, host: Host, ends: Ends
) -> None:
    with host.socket(ends.family) as ours, ns.socket(ends.family) as listener:
        listener.setsockopt(*RECEIVE_SERVICE[ends.family], 1)
        await listener.bind((ends.kernel, 0))
        listener.listen()
        ours.setsockopt(*SERVICE[ends.family], 0x48)
        await ours.connect(listener.getsockname())
        theirs, _ = await listener.accept()
        with theirs:
            message = theirs.getsockopt(*PACKET_OPTIONS[ends.family], 100)
    assert message[struct.calcsize("@Nii")] == 0x48


@pytest.mark.rfc("MUST-49")
async def test_the_kernel_drops_what_has_come_too_far(
    ns: Namespace, host: Host, judge: Judge, ends: Ends
) -> None:
    """RFC 5082: with a TTL of 255 it can only come from next door. It is sent again until then."""
    async with connected(ns, host, "client") as (ours, theirs):
        theirs.setsockopt(*LEAST_HOPS[ends.family], 255)
        await ours.send(b"near")

        async def dropped() -> bool:
            return (await judge.kernel())["TcpExt.TCPMinTTLDrop"] > 0

        await until(dropped)
        ours.setsockopt(*HOPS[ends.family], 255)
        assert await exactly(theirs, 4) == b"near"


@pytest.mark.parametrize("role", ROLES)
async def test_lingering_for_no_time_resets_the_kernels_end(
    ns: Namespace, host: Host, role: Role
) -> None:
    async with connected(ns, host, role) as (ours, theirs):
        ours.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        ours.close()
        with fails(errno.ECONNRESET):
            await theirs.recv(1)


@pytest.mark.parametrize("role", ROLES)
async def test_the_kernel_lingering_for_no_time_resets_ours(
    ns: Namespace, host: Host, role: Role
) -> None:
    async with connected(ns, host, role) as (ours, theirs):
        theirs.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with fails(errno.ECONNRESET):
            await ours.recv(1)


async def test_lingering_for_a_time_delivers_what_was_sent(ns: Namespace, judge: Judge) -> None:
    data = bytes(100_000)
    async with judge.open_host() as host, connected(ns, host, "client") as (ours, theirs):
        ours.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 60))
        assert await ours.send(data) == len(data)
        ours.close()
        assert await exactly(theirs, len(data)) == data
        assert await theirs.recv(1) == b""
    await judge.acquit()


@pytest.mark.rfc("MUST-21", "5482:3")
@pytest.mark.parametrize("role", ROLES)
async def test_a_kernel_that_keeps_its_window_shut_is_left_after_the_user_timeout(
    ns: Namespace, role: Role, ends: Ends
) -> None:
    config = Config(user_timeout=0.5)
    async with (
        ns.open_host(ends.address, config=config) as host,
        connected(ns, host, role, kernels=4096) as (ours, _),
    ):
        with trio.fail_after(30), fails(errno.ETIMEDOUT):
            while True:
                await ours.send(bytes(65536))


@pytest.mark.parametrize("role", ROLES)
async def test_tcp_info_of_a_new_connection_is_what_the_kernels_is(
    ns: Namespace, host: Host, role: Role, ends: Ends
) -> None:
    """In all that neither the clock nor a buffer's size has a part in, and that both fill in."""
    alike = "state phase retransmits probes backoff options snd_mss unacked sacked lost retrans "
    alike += "fackets pmtu ssthresh cwnd advmss reordering total_retrans max_pacing notsent"
    async with connected(ns, host, role) as pair:
        ours, theirs = (
            dict(zip(_TCP_INFO.split(), _TCP_INFO_LAYOUT.unpack(info), strict=True))
            for info in (end.getsockopt(IPPROTO_TCP, TCP_INFO, 152) for end in pair)
        )
        assert {name: ours[name] for name in alike.split()} == {
            name: theirs[name] for name in alike.split()
        }


async def test_the_kernel_reads_tcp_info_of_its_end_as_we_do_of_ours(
    ns: Namespace, host: Host
) -> None:
    """The same layout, and where both must agree the same numbers."""
    async with connected(ns, host, "client") as (ours, theirs):
        await ours.send(bytes(1000))
        await exactly(theirs, 1000)
        await ours.wait_acknowledged()
        our_end, their_end = (
            sock.getsockopt(IPPROTO_TCP, TCP_INFO, 152) for sock in (ours, theirs)
        )
        assert our_end[0] == their_end[0] == 1
        assert our_end[5] & 7 == their_end[5] & 7
        assert (our_end[6] & 15, our_end[6] >> 4) == (their_end[6] >> 4, their_end[6] & 15)
        (acked,) = struct.unpack_from("=Q", our_end, 120)
        (received,) = struct.unpack_from("=Q", their_end, 128)
        assert acked == received == 1000
