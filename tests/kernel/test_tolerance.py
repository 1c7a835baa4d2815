"""What a peer may do, and what it may not: the same is said to the kernel and to a host of ours."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.socket import IPPROTO_TCP, SO_REUSEADDR, SOL_SOCKET, TCP_FASTOPEN

from tests.ip.ip_options import CASES
from tests.kernel.beside import BOTH, HERE, HERE_PACKED, THERE, THERE_PACKED, Endpoint, endpoint
from tests.kernel.sockets import fails, read_to_end
from tunstack import Config, Limits
from tunstack.ip import icmp
from tunstack.ip.datagram import ICMP, TCP, Datagram
from tunstack.ip.demux import EPHEMERAL_PORTS
from tunstack.ip.icmp import IcmpMessage
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, URG, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import (
    decode_datagram,
    decode_icmp,
    decode_segment,
    encode_datagram,
    encode_icmp,
    encode_segment,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kernel.beside import Who

pytestmark = [pytest.mark.kernel, pytest.mark.parametrize("who", BOTH)]


# Timestamps that are missing


async def test_segments_may_lack_the_timestamp_that_was_agreed_on(who: Who) -> None:
    async with endpoint(who) as at, trio.open_nursery() as nursery:
        listener = await at.listen()
        _, ack = await at.shake_hands(4000, ts_val=1000, sack_permitted=True)
        plain = replace(ack, ts_val=None, ts_ecr=0)
        sock = await at.accept(listener)
        at.say(4000, 80, replace(plain, flags=ACK | PSH, payload=b"hello"))
        _, _, answer = await at.heard()
        assert (answer.ack - ack.seq, answer.ts_ecr) == (5, 1001)
        # PAWS goes on for what has one.
        at.say(4000, 80, replace(ack, seq=ack.seq + 5, payload=b"old", ts_val=900))
        _, _, answer = await at.heard()
        assert (answer.ack - ack.seq, answer.ts_ecr) == (5, 1001)
        assert answer.sack == ()
        # A keep-alive.
        at.say(4000, 80, replace(plain, seq=ack.seq + 4))
        _, _, answer = await at.heard()
        assert answer.ack - ack.seq == 5
        assert answer.ts_val is not None
        # What it sends is acknowledged, and not sent again.
        await sock.send(b"x" * 500)
        _, _, data = await at.heard()
        assert (len(data.payload), data.ts_val is None) == (500, False)
        end = (data.seq + 500) & MASK
        at.say(4000, 80, replace(plain, seq=ack.seq + 5, ack=end))
        await trio.sleep(0.5)
        await at.expect_silence()
        at.say(4000, 80, replace(plain, seq=ack.seq + 5, ack=end, flags=ACK | FIN, payload=b"!"))
        nursery.start_soon(at.heard)
        assert await read_to_end(sock) == b"hello!"


async def test_a_handshake_may_end_without_a_timestamp(who: Who) -> None:
    async with endpoint(who) as at:
        listener = await at.listen()
        at.say(4000, 80, Segment(1000, flags=SYN, wnd=60000, ts_val=1000))
        _, _, answer = await at.heard()
        assert answer.ts_val is not None
        at.say(4000, 80, Segment(1001, (answer.seq + 1) & MASK, ACK, 60000))
        sock = await at.accept(listener)
        await sock.send(b"x")
        _, _, data = await at.heard()
        assert (bytes(data.payload), data.ts_val is None) == (b"x", False)


# What opens no connection


async def test_a_listener_drops_segments_that_are_not_a_syn(who: Who) -> None:
    async with endpoint(who) as at:
        await at.listen()
        kinds = (0, FIN, PSH, URG, FIN | PSH | URG, SYN | FIN, SYN | FIN | PSH, SYN | RST)
        for flags in kinds:
            at.say(4000 + flags, 80, Segment(100, flags=flags, wnd=1000))
        await at.expect_silence()
        # Where nobody listens each draws a RST, but for a RST.
        for flags in kinds[:-1]:
            at.say(4000 + flags, 81, Segment(100, flags=flags, wnd=1000))
            _, to, answer = await at.heard()
            assert (to, answer.flags) == (4000 + flags, RST | ACK)
            assert answer.ack == 100 + bool(flags & FIN) + bool(flags & SYN)


async def test_a_syn_fin_with_a_cookie_is_dropped(who: Who) -> None:
    config = Config(fast_open_queue=16)
    async with endpoint(who, config=config, tcp_fastopen=3) as at:
        listener = await at.listen()
        listener.setsockopt(IPPROTO_TCP, TCP_FASTOPEN, 16)
        at.say(4000, 80, Segment(100, flags=SYN, wnd=1000, mss=1460, fast_open=b""))
        _, _, answer = await at.heard()
        at.say(4000, 80, Segment(101, flags=RST))
        syn = Segment(100, flags=SYN, wnd=1000, mss=1460, payload=b"abc")
        syn.fast_open = answer.fast_open
        assert syn.fast_open
        at.say(4001, 80, replace(syn, flags=SYN | FIN))
        await at.expect_silence()
        at.say(4002, 80, syn)
        _, to, answer = await at.heard()
        assert (to, answer.flags, answer.ack) == (4002, SYN | ACK, 104)
        await at.accept(listener)


# A SYN of its own


@asynccontextmanager
async def connecting(at: Endpoint, sock: trio.socket.SocketType) -> AsyncIterator[None]:
    """`sock` tries to connect to THERE, port 80, for the time of the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sock.connect, (THERE, 80))
        yield


async def test_a_syn_that_is_challenged_goes_again_behind_the_reset(who: Who) -> None:
    async with endpoint(who) as at, connecting(at, at.socket()):
        port, _, syn = await at.heard()
        at.say(80, port, Segment(500, 77, ACK, 600))
        _, _, reset = await at.heard()
        assert (reset.flags, reset.seq) == (RST, 77)
        _, _, again = await at.heard()
        assert (again.flags & ~0xC0, again.seq) == (SYN, syn.seq)
        assert again.ts_val is not None
        assert syn.ts_val is not None
        assert again.ts_val - syn.ts_val < 950  # Its timer would have it go after a second.
        at.say(80, port, Segment(500, 77, ACK, 600))  # Once is enough.
        _, _, reset = await at.heard()
        assert (reset.flags, reset.seq) == (RST, 77)
        await at.expect_silence()
        at.say(80, port, Segment(900, (syn.seq + 1) & MASK, SYN | ACK, 600))


@pytest.mark.parametrize(
    ("kind", "code", "number"),
    [
        *(
            (icmp.DESTINATION_UNREACHABLE, code, number)
            for code, number in enumerate(
                [
                    errno.ENETUNREACH,
                    errno.EHOSTUNREACH,
                    errno.ENOPROTOOPT,
                    errno.ECONNREFUSED,
                    None,
                    errno.EOPNOTSUPP,
                    errno.ENETUNREACH,
                    errno.EHOSTDOWN,
                    errno.ENONET,
                    errno.ENETUNREACH,
                    errno.EHOSTUNREACH,
                    errno.ENETUNREACH,
                    errno.EHOSTUNREACH,
                    errno.EHOSTUNREACH,
                    errno.EHOSTUNREACH,
                    errno.EHOSTUNREACH,
                    None,
                ]
            )
        ),
        (icmp.TIME_EXCEEDED, 0, errno.EHOSTUNREACH),
        (icmp.TIME_EXCEEDED, 1, None),
        (icmp.PARAMETER_PROBLEM, 0, errno.EPROTO),
        (icmp.PARAMETER_PROBLEM, 1, errno.EPROTO),
        (icmp.SOURCE_QUENCH, 0, None),
    ],
)
async def test_an_icmp_error_about_a_syn(
    who: Who, kind: int, code: int, number: int | None
) -> None:
    async with endpoint(who) as at, trio.open_nursery() as nursery:
        sock = at.socket()

        @nursery.start_soon
        async def attempt() -> None:
            if number is None:
                await sock.connect((THERE, 80))
            else:
                with trio.fail_after(10), fails(number):
                    await sock.connect((THERE, 80))

        datagram = await at.datagram()
        quoted = replace(datagram, payload=bytes(datagram.payload)[:8])
        message = IcmpMessage(kind, code, quoted=quoted)
        at.inject(encode_icmp(THERE_PACKED, HERE_PACKED, message))
        if number is None:
            port, _, syn = decode_segment(datagram)
            at.say(80, port, Segment(900, (syn.seq + 1) & MASK, SYN | ACK, 600))


# Again from the port of a connection that it has closed


async def left(at: Endpoint, *, reuse: bool, timestamps: bool, port: int = 5000) -> None:
    """It opens a connection from `port`, bound to it if that is 5000, and closes it first."""
    sock = at.socket()
    sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, reuse)
    if port == 5000:
        await sock.bind((HERE, 5000))
    await answered(at, sock, timestamps=timestamps)
    sock.close()
    _, _, fin = await at.heard()
    while not fin.flags & FIN:
        _, _, fin = await at.heard()
    ack = Segment(901, (fin.seq + 1) & MASK, ACK | FIN, 6000)
    at.say(80, port, replace(ack, ts_val=501, ts_ecr=fin.ts_val or 0) if timestamps else ack)
    _, _, last = await at.heard()
    assert (last.flags, last.ack) == (ACK, 902)


async def answered(at: Endpoint, sock: trio.socket.SocketType, *, timestamps: bool) -> Segment:
    """`sock` connects to THERE, port 80; returns its SYN."""
    async with connecting(at, sock):
        port, _, syn = await at.heard()
        answer = Segment(900, (syn.seq + 1) & MASK, SYN | ACK, 6000)
        if timestamps:
            answer = replace(answer, ts_val=500, ts_ecr=syn.ts_val or 0)
        at.say(80, port, answer)
    return syn


async def test_it_may_connect_again_where_there_are_timestamps(who: Who) -> None:
    async with endpoint(who) as at:
        await left(at, reuse=True, timestamps=True)
        sock = at.socket()
        sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        await sock.bind((HERE, 5000))
        await answered(at, sock, timestamps=True)
        _, _, ack = await at.heard()
        assert ack.flags == ACK


async def test_it_may_not_where_there_are_none(who: Who) -> None:
    config = Config(timestamps=False)
    async with endpoint(who, config=config, tcp_timestamps=0) as at:
        await left(at, reuse=True, timestamps=False)
        sock = at.socket()
        sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        await sock.bind((HERE, 5000))
        with fails(errno.EADDRNOTAVAIL):
            await sock.connect((THERE, 80))


async def test_without_so_reuseaddr_the_port_is_taken(who: Who) -> None:
    async with endpoint(who) as at:
        await left(at, reuse=False, timestamps=True)
        with fails(errno.EADDRINUSE):
            await at.socket().bind((HERE, 5000))


async def test_a_port_is_chosen_again_after_a_second_if_there_is_no_other(who: Who) -> None:
    """On Linux if tcp_tw_reuse is 1."""
    async with endpoint(who, tcp_tw_reuse=1, ip_local_port_range="40000 40000") as at:
        if who == "ours":
            for port in EPHEMERAL_PORTS:
                if port != 40000:
                    await at.socket().bind((HERE, port))
        await left(at, reuse=False, timestamps=True, port=40000)
        with fails(errno.EADDRNOTAVAIL):
            await at.socket().connect((THERE, 80))
        await trio.sleep(1.2)
        await answered(at, at.socket(), timestamps=True)


async def test_no_two_connections_have_one_name(who: Who) -> None:
    async with endpoint(who) as at:
        sockets = [at.socket(), at.socket()]
        for sock in sockets:
            sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            await sock.bind((HERE, 5000))
        await answered(at, sockets[0], timestamps=True)
        with fails(errno.EADDRNOTAVAIL):
            await sockets[1].connect((THERE, 80))


# Options of IPv4


async def test_ip_options_that_are_malformed_are_dropped_and_answered(who: Who) -> None:
    async with endpoint(who, limits=Limits(icmp_errors=1000), icmp_ratelimit=0) as at:
        for number, case in enumerate(CASES):
            syn = encode_segment(
                THERE_PACKED, HERE_PACKED, 4000 + number, 80, Segment(1, flags=SYN, wnd=1000)
            )
            datagram = decode_datagram(b"".join(syn))
            datagram.options = bytes.fromhex(case.options)
            at.inject(encode_datagram(datagram))
            answer = await at.datagram()
            if case.pointer is None:
                assert answer.protocol == TCP, case  # A RST: nobody listens.
            else:
                problem = icmp_of(answer)
                assert problem.type == icmp.PARAMETER_PROBLEM, case
                assert problem.pointer == case.pointer, case


def icmp_of(datagram: Datagram) -> IcmpMessage:
    assert datagram.protocol == ICMP, datagram
    return decode_icmp(datagram)


# Fragments


FRAGMENTS: dict[str, tuple[list[tuple[int, int]], bool]] = {
    "in order": ([(0, 24), (24, 40)], True),
    "in the other order": ([(24, 40), (0, 24)], True),
    "the first twice": ([(0, 24), (0, 24), (24, 40)], True),
    "the last twice": ([(24, 40), (24, 40), (0, 24)], True),
    "the begin of one again": ([(0, 24), (0, 16), (24, 40)], True),
    "the end of one again": ([(0, 24), (16, 24), (24, 40)], True),
    "parts of two again": ([(0, 24), (24, 32), (16, 32), (32, 40)], True),
    "two as one again": ([(0, 24), (24, 32), (0, 32), (32, 40)], True),
    "an empty one before": ([(24, 24), (0, 24), (24, 40)], True),
    "one that overlaps": ([(0, 24), (16, 32), (24, 40)], False),
    "one around another": ([(8, 16), (0, 24), (24, 40)], False),
    "a longer one again": ([(0, 24), (0, 32), (32, 40)], False),
    "one beyond the last": ([(24, 40), (40, 48), (0, 24)], False),
    "the last before another": ([(48, 56), (0, 24), (24, 40)], False),
    "an empty one between": ([(0, 24), (24, 24), (24, 40)], False),
}


def pieces(number: int, parts: list[tuple[int, int]], **fields: Any) -> list[Datagram]:
    """Parts of a SYN from port 4000 + `number` that has 20 octets of data."""
    segment = Segment(100, flags=SYN, wnd=1000, payload=bytes(20))
    packet = b"".join(encode_segment(THERE_PACKED, HERE_PACKED, 4000 + number, 80, segment))
    datagram = replace(decode_datagram(packet), identification=number, dont_fragment=False)
    data = bytes(datagram.payload) + bytes(40)
    return [
        replace(
            datagram,
            payload=data[start:end],
            more_fragments=end != 40,
            fragment_offset=start,
            **fields,
        )
        for start, end in parts
    ]


async def are_one(at: Endpoint, number: int, fragments: list[Datagram]) -> bool:
    """Whether it puts together what :func:`pieces` made of that number."""
    for fragment in fragments:
        at.inject(encode_datagram(fragment))
    at.say(3999, 80, Segment(200, flags=SYN, wnd=1000))  # Is answered after what came before it.
    answers: list[tuple[int, int, int]] = []
    while (3999, RST | ACK, 201) not in answers:
        _, to, answer = await at.heard()
        answers.append((to, answer.flags, answer.ack))
    assert answers[:-1] in ([], [(4000 + number, RST | ACK, 121)])
    return len(answers) > 1


@pytest.mark.parametrize("mtu", [68, 1500])
async def test_fragments_are_put_together_or_dropped(who: Who, mtu: int) -> None:
    async with endpoint(who, mtu=mtu) as at:
        for number, (what, (parts, whole)) in enumerate(FRAGMENTS.items()):
            assert await are_one(at, number, pieces(number, parts)) is whole, what


async def test_fragments_must_all_be_ect_or_none(who: Who) -> None:
    parts = [(0, 24), (24, 40)]
    codepoints = [(one, other) for one in range(4) for other in range(4)]
    async with endpoint(who) as at:
        for number, (one, other) in enumerate(codepoints):
            first, last = pieces(number, parts)
            one_is_whole = await are_one(
                at, number, [replace(first, tos=one), replace(last, tos=other)]
            )
            assert one_is_whole is ((one == 0) == (other == 0)), (one, other)


async def test_df_in_fragments_is_ignored(who: Who) -> None:
    async with endpoint(who) as at:
        assert await are_one(at, 1, pieces(1, [(0, 24), (24, 40)], dont_fragment=True))


async def test_a_host_of_ours_takes_no_fragments_of_other_sizes(who: Who) -> None:
    """The kernel takes a first fragment without all of TCP's header, and cuts off odd octets."""
    async with endpoint(who) as at:
        for number, parts in enumerate([[(0, 16), (16, 40)], [(0, 28), (24, 40)]]):
            assert await are_one(at, number, pieces(number, parts)) is (who == "kernel")
