"""What comments here claim that Linux does: one probe each, tried on a kernel and on tunstack.

Behind a device, or a cable, the test plays the peer, packet by packet; at the near end is a socket
of the kernel's or one of ours. The claims are the names of the probes.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from trio.socket import (
    IPPROTO_TCP,
    MSG_OOB,
    SHUT_RD,
    SHUT_WR,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_OOBINLINE,
    SO_RCVBUF,
    SOL_SOCKET,
    TCP_CORK,
    TCP_FASTOPEN,
    TCP_KEEPIDLE,
    TCP_LINGER2,
    TCP_MAXSEG,
    TCP_USER_TIMEOUT,
)

from tests.kernel.near import PORT, WAIT, Near, linux, tcp_info, tunstack, unacknowledged
from tests.kernel.test_endings import until
from tests.socket.network import OURS, THEIRS, Peer
from tunstack.ip import icmp
from tunstack.ip.icmp import IcmpMessage
from tunstack.tcp.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tunstack import Namespace

pytestmark = pytest.mark.kernel

SACKING: Final[dict[str, Any]] = {"mss": 1460, "sack_permitted": True}

PROBES: Final[list[Callable[[Near], Awaitable[None]]]] = []
"""What is tried on both."""


def claim(probe: Callable[[Near], Awaitable[None]]) -> Callable[[Near], Awaitable[None]]:
    PROBES.append(probe)
    return probe


# The end of a connection


@claim
async def after_shut_rd_data_is_handed_out_and_no_read_waits(near: Near) -> None:
    sock = await near.accepted()
    near.peer.send(ACK | PSH, b"before")
    await near.segment()
    sock.shutdown(SHUT_RD)
    assert await sock.recv(100) == b"before"
    assert await sock.recv(100) == b""
    near.peer.send(ACK | PSH, b"after")
    await near.segment()
    assert await sock.recv(100) == b"after"
    assert await sock.recv(100) == b""


@claim
async def after_shut_rd_a_close_with_data_unread_resets(near: Near) -> None:
    sock = await near.accepted()
    sock.shutdown(SHUT_RD)
    near.peer.send(ACK | PSH, b"after")
    await near.segment()
    sock.close()
    assert (await near.segment()).flags & RST


@claim
async def data_that_our_fin_crosses_draws_a_reset_at_its_ack(near: Near) -> None:
    sock = await near.accepted()
    at = near.peer.expected
    sock.close()
    assert (await near.segment()).flags == FIN | ACK
    near.peer.send(ACK | PSH, b"x", ack=at)
    reset = await near.segment()
    assert reset.flags & RST
    assert reset.seq == at


@claim
async def a_reset_in_last_ack_is_an_error(near: Near) -> None:
    sock = await near.accepted()
    await sock.send(b"lost")
    near.peer.send(FIN | ACK)
    await near.segment()
    sock.shutdown(SHUT_WR)
    await near.segment()
    near.peer.send(RST)
    await until(lambda: sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.ECONNRESET)


@claim
async def an_error_is_told_once(near: Near) -> None:
    sock = await near.accepted()
    near.peer.send(RST)
    with pytest.raises(ConnectionResetError):
        await sock.recv(1)
    assert await sock.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        await sock.send(b"x")


@claim
async def time_wait_answers_what_is_not_at_rcv_nxt(near: Near) -> None:
    sock = await near.accepted()
    sock.close()
    await near.segment()
    near.peer.send(FIN | ACK)
    nxt = (await near.segment()).ack
    near.peer.send()
    assert await near.silent()
    near.peer.send(seq=nxt + 1)
    assert (await near.segment()).ack == nxt


@claim
async def a_reset_ends_time_wait(near: Near) -> None:
    sock = await near.accepted()
    sock.close()
    await near.segment()
    near.peer.send(FIN | ACK)
    await near.segment()
    near.peer.send(RST)
    near.peer.send()
    assert (await near.segment()).flags & RST


@claim
async def icmp_ends_an_attempt_in_syn_sent(near: Near) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def connect() -> None:
            with near.socket() as sock, pytest.raises(OSError, match="No route") as caught:
                await sock.connect((THEIRS, near.peer.port))
            assert caught.value.errno == errno.EHOSTUNREACH

        await near.segment()
        assert near.peer.latest is not None
        quoted = near.peer.latest
        near.peer.send_icmp(IcmpMessage(icmp.DESTINATION_UNREACHABLE, 1, quoted=quoted))


@claim
async def after_a_refusal_the_same_socket_may_try_again(near: Near) -> None:
    with near.socket() as sock:
        for flags in (RST | ACK, SYN | ACK):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def connect(flags: int = flags) -> None:
                    address = THEIRS, near.peer.port
                    try:
                        await sock.connect(address)
                    except ConnectionRefusedError:
                        assert flags & RST
                    except ConnectionAbortedError:  # So Linux ends one that did not block.
                        await sock.connect(address)

                await near.segment()
                near.peer.send(flags, mss=1460)


@claim
async def linger2_below_0_resets_in_fin_wait_2(near: Near) -> None:
    sock = await near.accepted()
    sock.setsockopt(IPPROTO_TCP, TCP_LINGER2, -1)
    sock.close()
    await near.segment()
    near.peer.send()
    assert (await near.segment()).flags & RST


# What is not acceptable, or at an edge


@claim
async def a_timestamp_is_not_taken_from_a_segment_with_a_bad_ack(near: Near) -> None:
    sock = await near.accepted(ts_val=100)
    expected = near.peer.expected
    near.peer.send(ack=expected + 9999, ts_val=200_000)
    await near.segment()
    near.peer.send(ACK | PSH, b"real", ack=expected, ts_val=201)
    with trio.fail_after(WAIT):
        assert await sock.recv(10) == b"real"


@claim
async def a_syn_again_draws_the_syn_ack_again(near: Near) -> None:
    with await near.listening():
        near.peer.host_port = PORT
        syn = near.peer.packet(SYN, mss=1460)
        for _ in range(2):
            near.peer.link.send([syn])
            assert (await near.segment()).flags == SYN | ACK


@claim
async def an_ack_at_the_right_edge_counts(near: Near) -> None:
    sock = await near.accepted()
    await sock.send(b"x")
    out = await near.segment()
    assert unacknowledged(sock) == 1
    near.peer.send(seq=out.ack + out.wnd)
    await until(lambda: not unacknowledged(sock))


@claim
async def a_later_ack_tells_of_the_window_whatever_its_sequence_number(near: Near) -> None:
    sock = await near.accepted()
    await sock.send(bytes(2000))
    start = (await near.segment()).seq
    await near.segment()
    near.peer.send(ACK | PSH, b"later", ack=start + 1000, seq=near.peer.nxt + 10, wnd=5000)
    await near.segment()
    near.peer.nxt -= 5
    near.peer.send(ACK | PSH, bytes(10), ack=start + 2000, wnd=500)
    await near.segment()
    await sock.send(bytes(2000))
    assert len((await near.segment()).payload) == 500


@claim
async def overlapping_data_is_reported_by_its_first_part(near: Near) -> None:
    await near.accepted(**SACKING)
    start = near.peer.nxt
    for at in (400, 1200):
        near.peer.send(ACK, bytes(400), seq=start + at)
        await near.segment()
    near.peer.send(ACK, bytes(1000), seq=start)
    answer = await near.segment()
    while answer.ack == start:
        answer = await near.segment()
    blocks = [(left - start, right - start) for left, right in answer.sack]
    assert answer.ack - start == 1000
    assert blocks == [(400, 800), (1200, 1600)]


# What is sent


@claim
async def a_window_probe_is_an_old_number_without_data(near: Near) -> None:
    sock = await near.accepted(wnd=10)
    near.peer.send(wnd=0)
    await near.handled(wnd=0)
    at = near.peer.expected
    await sock.send(b"waits")
    probe = await near.segment()
    assert (probe.flags, probe.seq, len(probe.payload)) == (ACK, at - 1, 0)


@claim
async def what_is_corked_leaves_after_a_while(near: Near) -> None:
    sock = await near.accepted()
    sock.setsockopt(IPPROTO_TCP, TCP_CORK, 1)
    await sock.send(b"corked")
    assert await near.silent(0.05)
    assert (await near.segment()).payload == b"corked"


@claim
async def a_syn_that_goes_out_again_asks_for_no_ecn(near: Near) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.socket().connect, (THEIRS, near.peer.port))
        flags = [(await near.segment()).flags for _ in range(2)]
        nursery.cancel_scope.cancel()
    assert flags == [SYN | ECE | CWR, SYN]


@claim
async def a_shorter_keepidle_counts_from_the_last_that_was_heard(near: Near) -> None:
    sock = await near.accepted()
    sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    await trio.sleep(1.1)
    sock.setsockopt(IPPROTO_TCP, TCP_KEEPIDLE, 1)
    assert not await near.silent(0.8)  # Another second, if it counted from now.


@claim
async def a_fast_open_cookie_has_8_octets_and_is_given_once(near: Near) -> None:
    listener = await near.listening()
    listener.setsockopt(IPPROTO_TCP, TCP_FASTOPEN, 5)
    near.peer.host_port = PORT
    syn = near.peer.packet(SYN, mss=1460, fast_open=b"")
    cookies = []
    for _ in range(2):
        near.peer.link.send([syn])
        cookies.append((await near.segment()).fast_open)
    assert [cookie and len(cookie) for cookie in cookies] == [8, None]


@claim
async def options_of_a_syn_stand_in_linuxs_order(near: Near) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.socket().connect, (THEIRS, near.peer.port))
        await near.segment()
        assert near.peer.latest is not None
        header = bytes(near.peer.latest.payload)
        kinds = kinds_of(header[20 : (header[12] >> 4) * 4])
        nursery.cancel_scope.cancel()
    assert kinds == [2, 4, 8, 1, 3]


@claim
async def sack_blocks_follow_the_timestamps(near: Near) -> None:
    await near.accepted(ts_val=1, **SACKING)
    near.peer.send(ACK, b"x", seq=near.peer.nxt + 5, ts_val=2)
    await near.segment()
    assert near.peer.latest is not None
    header = bytes(near.peer.latest.payload)
    assert kinds_of(header[20 : (header[12] >> 4) * 4]) == [1, 1, 8, 1, 1, 5]


@claim
async def a_syn_with_ect_is_not_trusted(near: Near) -> None:
    with await near.listening():
        near.peer.host_port = PORT
        for tos, agreed in ((0, ECE), (2, 0)):
            near.peer.tos = tos
            near.peer.port += 1
            near.peer.link.send([near.peer.packet(SYN | ECE | CWR, mss=1460)])
            assert (await near.segment()).flags == SYN | ACK | agreed


# Listeners


@claim
async def one_more_than_the_backlog_may_wait(near: Near) -> None:
    with await near.listening(0) as listener:
        await near.peer.connect(PORT, mss=1460)
        with trio.fail_after(WAIT):
            sock, _ = await listener.accept()
        sock.close()


@claim
async def where_too_many_wait_the_last_ack_is_dropped(near: Near) -> None:
    first, second, third, late = [Peer(near.peer.link, port) for port in range(10, 14)]
    with await near.listening(2):
        for peer in (first, second):
            await peer.connect(PORT, mss=1460)
        for peer in (third, late):
            peer.host_port = PORT
            peer.send(SYN, mss=1460)
            await peer.segment()
        third.send()
        late.send()
        assert (await late.segment()).flags == SYN | ACK  # Again: it is half open.


# Socket calls


@claim
async def the_urgent_octet_is_taken_out_of_the_stream(near: Near) -> None:
    sock = await near.accepted()
    sock.setsockopt(SOL_SOCKET, SO_OOBINLINE, 0)
    near.peer.send(ACK | PSH | URG, b"abc", up=2)
    await near.segment()
    assert await sock.recv(10) == b"a"
    assert await sock.recv(1, MSG_OOB) == b"b"
    assert await sock.recv(10) == b"c"


@claim
async def addresses_play_no_part_in_tcp(near: Near) -> None:
    sock = await near.accepted()
    await sock.sendto(b"x", (OURS, 1))
    assert (await near.segment()).payload == b"x"
    near.peer.send(ACK | PSH, b"y")
    assert await sock.recvfrom(10) == (b"y", None)


@claim
async def to_connect_to_any_address_is_to_connect_to_oneself(near: Near) -> None:
    listener = near.socket()
    await listener.bind(("0.0.0.0", PORT))
    listener.listen()
    await near.socket().connect(("0.0.0.0", PORT))
    sock, _ = await listener.accept()
    sock.close()


@claim
async def options_have_linuxs_bounds(near: Near) -> None:
    with near.socket() as sock:
        for bad in (87, 32768):
            with pytest.raises(OSError, match="Invalid"):
                sock.setsockopt(IPPROTO_TCP, TCP_MAXSEG, bad)
        for good in (88, 32767):
            sock.setsockopt(IPPROTO_TCP, TCP_MAXSEG, good)
        sock.setsockopt(SOL_SOCKET, SO_RCVBUF, 1)
        assert sock.getsockopt(SOL_SOCKET, SO_RCVBUF) == 2304
        sock.setsockopt(IPPROTO_TCP, TCP_LINGER2, 120)
        assert sock.getsockopt(IPPROTO_TCP, TCP_LINGER2) == 120
        assert sock.getsockopt(IPPROTO_TCP, TCP_FASTOPEN) == 0
        with pytest.raises(OSError, match="not available"):
            sock.setsockopt(IPPROTO_TCP, 250, 1)


@claim
async def the_timeout_is_200_ms_above_the_round_trip_time(near: Near) -> None:
    sock = await near.accepted(ts_val=1)
    for _ in range(3):
        await sock.send(b"x")
        near.peer.send(ts_val=2, ts_ecr=(await near.segment()).ts_val)
    await near.handled(ts_val=2)
    rto, srtt = tcp_info(sock, 8), tcp_info(sock, 68)
    assert rto - srtt >= 199_000


def kinds_of(options: bytes) -> list[int]:
    """The kinds of TCP options, in their order."""
    kinds, at = [], 0
    while at < len(options):
        kinds.append(options[at])
        at += options[at + 1] if options[at] > 1 else 1
    return kinds


# Options that change while a timer runs, or the window is shut


async def with_a_window_that_is_shut(near: Near) -> trio.socket.SocketType:
    """A connection whose receive buffer the peer has filled."""
    sock = await near.accepted()
    sock.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
    answer = None
    while answer is None or answer.wnd:
        near.peer.send(ACK | PSH, bytes(1000))
        answer = await near.segment()
        near.peer.nxt = answer.ack  # What is beyond the window was not taken.
    return sock


@claim
async def a_larger_receive_buffer_is_told_with_the_next_ack(near: Near) -> None:
    """Raising SO_RCVBUF while the window is shut sends nothing: a window probe finds it open."""
    sock = await with_a_window_that_is_shut(near)
    sock.setsockopt(SOL_SOCKET, SO_RCVBUF, 1 << 17)
    assert await near.silent()
    near.peer.send(ACK | PSH, b"?")
    assert (await near.segment()).wnd > 0


@claim
async def a_user_timeout_is_looked_at_when_the_running_timer_fires(near: Near) -> None:
    sock = await near.accepted()
    await sock.send(b"lost")
    for _ in range(3):
        await near.segment()
    sock.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, 10)
    assert await near.silent()
    assert not sock.getsockopt(SOL_SOCKET, SO_ERROR)
    await until(lambda: sock.getsockopt(SOL_SOCKET, SO_ERROR) == errno.ETIMEDOUT)
    assert await near.silent()  # It did not retransmit once more.


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
@pytest.mark.parametrize("end", [linux, tunstack], ids=["linux", "tunstack"])
async def test_claim(end: Callable[[Namespace], Any], probe: Any, ns: Namespace) -> None:
    async with end(ns) as near:
        with trio.fail_after(4 * WAIT):
            await probe(near)
