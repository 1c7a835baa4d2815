"""The same ICMP messages for the kernel and a host of ours, in both families: both do the same.

And pings between the two, of every size.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import trio

import tunstack
from tests.ip.node import V4, V6, Ends
from tests.ip.test_options import HOST, OTHER, REFLECTIONS
from tests.kernel.beside import BOTH, without_limits
from tunstack import Host, memory_pair
from tunstack.ip import icmp
from tunstack.ip.address import packed
from tunstack.ip.datagram import Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.link.netns import open_network_namespace
from tunstack.wire import decode_datagram, decode_icmp, encode_datagram, encode_icmp, icmp_datagram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kernel.beside import Who
    from tunstack.link.base import Link

pytestmark = pytest.mark.kernel

OURS: Final = ("198.51.100.2/24", "2001:db8::2/64")
PEER: Final = ("198.51.100.1/24", "2001:db8::1/64")
UNKNOWN: Final = 253

MARKER: Final = IcmpMessage(icmp.ECHO_REQUEST, 0, 0xFFFF_FFFF)
"""Is answered by IPv4 after all that came before it."""

beside = pytest.mark.parametrize("who", BOTH)
both = pytest.mark.parametrize("ends", [V4, V6], ids=["IPv4", "IPv6"])


class Near:
    """Whoever is tried, and the test at the far end of its link.

    Attributes:
        make_socket: Makes a socket of its.
    """

    def __init__(self, link: Link, make_socket: Callable[..., trio.socket.SocketType]) -> None:
        self._link = link
        self._came: list[Datagram] = []
        self.make_socket = make_socket

    def give(self, packet: bytes) -> None:
        self._link.send([packet])

    def icmp(self, ends: Ends, message: IcmpMessage, **fields: Any) -> None:
        self.give(b"".join(encode_icmp(ends.peer, ends.ours, message, **fields)))

    async def is_up(self) -> None:
        """Wait until the kernel answers by IPv6: its address is tentative for a moment."""
        with trio.fail_after(10):
            while not self._came:
                self.icmp(V6, IcmpMessage(V6.request))
                await trio.sleep(0.01)
                self._take()
        await self.answers()

    async def next(self) -> Datagram:
        """The next packet from it to our addresses; it may talk to routers besides."""
        with trio.fail_after(5):
            while not self._came:
                await self._link.wait_readable()
                self._take()
        return self._came.pop(0)

    async def answers(self) -> list[Datagram]:
        """What it sends to our addresses before it answers a marker, in the order of arrival."""
        self.icmp(V4, MARKER)
        came: list[Datagram] = []
        while not came or not is_reply_to_marker(came[-1]):
            came.append(await self.next())
        return came[:-1]

    def _take(self) -> None:
        datagrams = [decode_datagram(bytes(packet)) for packet in self._link.receive()]
        self._came += [each for each in datagrams if each.dst in (V4.peer, V6.peer)]


def is_reply_to_marker(datagram: Datagram) -> bool:
    if datagram.protocol != V4.icmp:
        return False
    message = decode_icmp(datagram)
    return (message.type, message.rest) == (V4.reply, MARKER.rest)


@asynccontextmanager
async def near(who: Who) -> AsyncIterator[Near]:
    async with AsyncExitStack() as stack:
        if who == "ours":
            link, far = memory_pair()
            limits = tunstack.Limits(icmp_errors=100_000, icmp_errors_in_all=100_000)
            host = await stack.enter_async_context(Host(link, OURS, seed=1, limits=limits))
            yield Near(far, host.socket)
        else:
            namespace = await stack.enter_async_context(open_network_namespace())
            without_limits(namespace)
            namespace.sysctl("net.ipv4.ping_group_range", "0 2147483647")
            tun = await namespace.open_tun(*PEER, peer=[a.partition("/")[0] for a in OURS])
            stack.callback(tun.close)
            at = Near(tun, namespace.socket)
            await at.is_up()
            yield at


class Answer(NamedTuple):
    """What counts of an answer, for the comparison: of IP, and of ICMP."""

    ttl: int
    type: int
    code: int
    rest: int
    body: bytes


def told(ends: Ends, datagram: Datagram) -> Answer:
    assert (datagram.src, datagram.dst, datagram.protocol) == (ends.ours, ends.peer, ends.icmp)
    message = decode_icmp(datagram)
    body = bytes(datagram.payload)[8:]
    return Answer(datagram.ttl, message.type, message.code, message.rest, body)


def from_peer(ends: Ends, protocol: int = UNKNOWN, size: int = 8, **fields: Any) -> Datagram:
    payload = bytes(index & 0xFF for index in range(size))
    return Datagram(ends.peer, ends.ours, protocol, payload, dont_fragment=True, **fields)


def octets(datagram: Datagram) -> bytes:
    return b"".join(encode_datagram(datagram))


# Echo


@beside
@both
@pytest.mark.parametrize("tos", [0, 0xB8, 0x03])
async def test_an_echo_request_is_answered_with_its_data_and_service(
    who: Who, ends: Ends, tos: int
) -> None:
    async with near(who) as at:
        for size in (0, 1, 1400):
            request = IcmpMessage(ends.request, 0, 0x12345678, bytes(size))
            at.icmp(ends, request, tos=tos, ttl=3)
            reply = await at.next()
            assert told(ends, reply) == (64, ends.reply, 0, 0x12345678, bytes(size))
            assert reply.tos == tos
            if ends is V4:
                assert not reply.dont_fragment


@beside
@both
@pytest.mark.parametrize("code", [1, 255])
async def test_the_code_of_an_echo_request_is_returned(who: Who, ends: Ends, code: int) -> None:
    async with near(who) as at:
        at.icmp(ends, IcmpMessage(ends.request, code, 7, b"data"))
        reply = await at.next()
        assert told(ends, reply) == (64, ends.reply, code, 7, b"data")


@beside
@both
async def test_an_echo_request_in_fragments_is_answered_in_fragments(who: Who, ends: Ends) -> None:
    """Each of 1,480 or 1,448 octets, as Linux cuts them too."""
    async with near(who) as at:
        sizes = []
        message = octets_of_request(ends, 3992)
        for start in range(0, 4000, 1000):
            at.give(octets(part_of(ends, message, start, 1000)))
        for part in [await at.next() for _ in range(3)]:
            sizes.append((part.fragment_offset, len(part.payload), part.more_fragments))
        room = 1480 if ends is V4 else 1448
        assert sizes == [
            (0, room, True),
            (room, room, True),
            (2 * room, 4000 - 2 * room, False),
        ]


def octets_of_request(ends: Ends, size: int) -> bytes:
    packet = encode_icmp(ends.peer, ends.ours, IcmpMessage(ends.request, 0, 7, bytes(size)))
    return b"".join(packet)[ends.header :]


def part_of(ends: Ends, message: bytes, start: int, size: int) -> Datagram:
    return Datagram(
        ends.peer,
        ends.ours,
        ends.icmp,
        message[start : start + size],
        identification=99,
        more_fragments=start + size < len(message),
        fragment_offset=start,
    )


@pytest.mark.parametrize("what", REFLECTIONS)
async def test_options_of_a_request_return_as_from_linux(what: str) -> None:
    options = REFLECTIONS[what][0].replace(HOST, V4.ours).replace(OTHER, V4.peer)
    message = IcmpMessage(V4.request, 0, 7, b"data")
    datagram = replace(icmp_datagram(V4.peer, V4.ours, message), options=options)
    found = {}
    for who in BOTH:
        async with near(who) as at:
            at.give(octets(datagram))
            reply = await at.next()
            head, times = reply.options[:4], reply.options[4:]
            if 68 in (*options[:1], *head[:1]):
                # The time of day differs.
                words = [times[word : word + 4] for word in range(0, len(times), 4)]
                found[who] = head, [word if word == V4.ours else any(word) for word in words]
            else:
                found[who] = head, [times]
    assert found["ours"] == found["kernel"]


# Errors


@beside
@both
@pytest.mark.parametrize("size", [8, 600, 1400])
async def test_an_unknown_protocol_is_told_of_with_a_quote(who: Who, ends: Ends, size: int) -> None:
    """Of IPv4 in 576 octets, of IPv6 in 1,280."""
    async with near(who) as at:
        came = from_peer(ends, size=size)
        at.give(octets(came))
        error = await at.next()
        room = 576 - 28 if ends is V4 else 1280 - 48
        kind, code, pointer = (3, 2, 0) if ends is V4 else (4, 1, 6)
        assert told(ends, error) == (64, kind, code, pointer, octets(came)[:room])


@beside
@pytest.mark.parametrize(
    ("options", "extension", "pointer"),
    [
        (bytes((UNKNOWN, 0, 1, 4, 0, 0, 0, 0)), 60, 40),
        (bytes((UNKNOWN, 0, 1, 4, 0, 0, 0, 0)), 0, 40),
        (bytes((60, 0, 1, 4, 0, 0, 0, 0)) + bytes((UNKNOWN, 0, 1, 4, 0, 0, 0, 0)), 0, 48),
    ],
)
async def test_an_unknown_next_header_is_pointed_at(
    who: Who, options: bytes, extension: int, pointer: int
) -> None:
    async with near(who) as at:
        came = from_peer(V6, options=options, extension=extension)
        at.give(octets(came))
        error = await at.next()
        assert told(V6, error) == (64, 4, 1, pointer, octets(came))


@beside
@pytest.mark.parametrize("option", [0x05, 0x1E, 0x5E, 0x9E, 0xDE])
@pytest.mark.parametrize("extension", [0, 60], ids=["hop-by-hop", "destination"])
async def test_an_unknown_option_is_treated_by_its_action_bits(
    who: Who, option: int, extension: int
) -> None:
    async with near(who) as at:
        at.give(
            octets(
                from_peer(
                    V6, options=bytes((UNKNOWN, 0, option, 2, 0, 0, 1, 0)), extension=extension
                )
            )
        )
        found = [told(V6, answer)[1:4] for answer in await at.answers()]
        skipped = (4, 1, 40)
        wanted = {0x1E: [skipped], 0x5E: [], 0x9E: [(4, 2, 42)], 0xDE: [(4, 2, 42)]}
        # The router alert is a hop-by-hop option.
        wanted[0x05] = [skipped]
        assert found == wanted[option]


@beside
@both
@pytest.mark.parametrize("what", ["error", "reply", "later fragment", "no host", "multicast"])
async def test_of_some_datagrams_no_error_is_sent(who: Who, ends: Ends, what: str) -> None:
    async with near(who) as at:
        datagram = from_peer(ends)
        if what == "error":
            quoted = Datagram(ends.ours, ends.peer, UNKNOWN, bytes(8), dont_fragment=True)
            kind = 3 if ends is V4 else 1
            at.icmp(ends, IcmpMessage(kind, 1, quoted=quoted))
        elif what == "reply":
            at.icmp(ends, IcmpMessage(ends.reply, 0, 7, b"data"))
        elif what == "later fragment":
            at.give(octets(replace(datagram, fragment_offset=8, dont_fragment=False)))
        elif what == "no host":
            source = packed("127.0.0.1") if ends is V4 else bytes(16)
            at.give(octets(replace(datagram, src=source)))
        else:
            to = packed("224.0.0.1" if ends is V4 else "ff02::1")
            at.give(octets(replace(datagram, dst=to)))
        assert await at.answers() == []


@beside
@both
async def test_malformed_messages_are_dropped(who: Who, ends: Ends) -> None:
    async with near(who) as at:
        good = b"".join(encode_icmp(ends.peer, ends.ours, IcmpMessage(ends.request, 0, 7, b"data")))
        at.give(good[:-1] + b"!")
        at.give(octets(Datagram(ends.peer, ends.ours, ends.icmp, bytes(7), dont_fragment=True)))
        at.give(octets(Datagram(ends.peer, ends.ours, ends.icmp, b"", dont_fragment=True)))
        assert await at.answers() == []


@beside
@pytest.mark.parametrize("kind", [4, 5, 9, 10, 15, 17, 18, 30, 255])
async def test_other_messages_of_ipv4_are_not_answered(who: Who, kind: int) -> None:
    async with near(who) as at:
        body = struct.pack(">BBHI", kind, 0, 0, 0) + octets(from_peer(V4))
        at.icmp(V4, IcmpMessage(kind, payload=body[8:]))
        assert await at.answers() == []


@beside
@pytest.mark.parametrize("kind", [130, 131, 132, 133, 134, 137, 138, 143, 200, 255])
async def test_other_messages_of_ipv6_are_not_answered(who: Who, kind: int) -> None:
    async with near(who) as at:
        at.icmp(V6, IcmpMessage(kind, payload=bytes(32)), ttl=255)
        assert await at.answers() == []


# Ping sockets


def ping_socket(at: Near, ends: Ends) -> trio.socket.SocketType:
    family = socket.AF_INET if ends is V4 else socket.AF_INET6
    return at.make_socket(family, socket.SOCK_DGRAM, ends.icmp)


def address(ends: Ends, which: bytes) -> str:
    return str(socket.inet_ntop(socket.AF_INET if len(which) == 4 else socket.AF_INET6, which))


def request(ends: Ends, sequence: int = 1, data: bytes = b"data") -> bytes:
    return struct.pack(">BBHHH", ends.request, 0, 0, 99, sequence) + data


@beside
@both
@pytest.mark.parametrize("size", [4, 2000])
async def test_what_a_ping_socket_sends(who: Who, ends: Ends, size: int) -> None:
    async with near(who) as at:
        with ping_socket(at, ends) as sock:
            await sock.bind((address(ends, ends.ours), 4242))
            await sock.sendto(request(ends, 7, bytes(size)), (address(ends, ends.peer), 0))
            first = await at.next()
            payload = bytes(first.payload)
            assert (first.ttl, first.tos, first.src) == (64, 0, ends.ours)
            assert (payload[0], payload[4:8]) == (ends.request, struct.pack(">HH", 4242, 7))
            assert first.more_fragments is (size > 1000)
            if ends is V4:
                assert first.dont_fragment is (size < 1000)


def error_table(ends: Ends) -> list[tuple[int, int]]:
    """Type and code of errors.

    With IP_RECVERR Linux passes Source Quench and Redirect on as well; here both are ignored
    (RFC 6633).
    """
    if ends is V4:
        return [*((3, code) for code in range(17)), (11, 0), (11, 1), (12, 0)]
    return [
        *((1, code) for code in range(9)),
        (2, 0),
        (3, 0),
        (3, 1),
        (4, 0),
        (4, 1),
        (4, 2),
        (100, 0),
    ]


async def error_told(
    at: Near, ends: Ends, message: IcmpMessage, *, wants: bool, connected: bool
) -> int:
    """The errno that a ping socket tells of an error about its request; 0 for none."""
    level, option = (0, 11) if ends is V4 else (41, 25)
    with ping_socket(at, ends) as sock:
        sock.setsockopt(level, option, int(wants))
        if connected:
            await sock.connect((address(ends, ends.peer), 0))
        await sock.sendto(request(ends), (address(ends, ends.peer), 0))
        sent = await at.next()
        at.icmp(ends, replace(message, quoted=sent))
        assert await at.answers() == []
        number: int = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        return number


@both
@pytest.mark.parametrize("connected", [False, True], ids=["unconnected", "connected"])
@pytest.mark.parametrize("wants", [False, True], ids=["", "RECVERR"])
async def test_a_ping_socket_is_told_the_errors_that_linux_s_is(
    ends: Ends, connected: bool, wants: bool
) -> None:
    found: dict[str, list[tuple[int, int, int]]] = {}
    for who in BOTH:
        async with near(who) as at:
            found[who] = []
            for kind, code in error_table(ends):
                message = IcmpMessage(kind, code, 1400 if (kind, code) == (2, 0) else 0)
                number = await error_told(at, ends, message, wants=wants, connected=connected)
                found[who].append((kind, code, number))
    assert found["ours"] == found["kernel"]


# Between the two


@pytest.fixture
async def ns() -> AsyncIterator[tunstack.Namespace]:
    async with tunstack.open_namespace() as ns:
        yield ns


@both
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "no-offload"])
async def test_ping_of_every_size(
    ns: tunstack.Namespace, require_tool: Callable[[str], str], ends: Ends, offload: bool
) -> None:
    ping = require_tool("ping")
    async with ns.open_host(*OURS, offload=offload) as host:
        # Of several, ping(8) waits for the second no longer than twice what the first took.
        for size in (0, 56, 1452, 1473, 20000, 65507) * 2:
            command = [ping, "-n", "-c", "1", "-W", "10", "-s", str(size)]
            run = await ns.run_process(
                [*command, address(ends, ends.ours)], capture_stdout=True, check=False
            )
            assert b" 1 received" in run.stdout, run.stdout.decode()
            assert f"{size + 8} bytes from".encode() in run.stdout
        statistics = host.statistics()
        assert statistics["icmp_received"] == 12
        assert statistics["internal_errors"] == 0


async def answered(sock: trio.socket.SocketType, ends: Ends) -> None:
    """Ping until the kernel answers: in the first moments of a device it drops IPv6 packets."""
    for _ in range(100):
        await sock.send(request(ends))
        with trio.move_on_after(0.05):
            await sock.recv(100)
            break
    with trio.move_on_after(0.1):
        await sock.recv(100)


@both
async def test_a_program_pings_the_kernel(ns: tunstack.Namespace, ends: Ends) -> None:
    family = socket.AF_INET if ends is V4 else socket.AF_INET6
    async with ns.open_host(*OURS) as host:
        with host.socket(family, socket.SOCK_DGRAM, ends.icmp) as sock:
            await sock.connect((address(ends, ends.peer), 0))
            await answered(sock, ends)
            for size in (0, 1000, 20000, 65507):
                await sock.send(request(ends, 1, bytes(size)))
                with trio.fail_after(5):
                    assert len(await sock.recv(70000)) == size + 8


@both
async def test_an_error_of_the_kernel_s_is_told(
    ns: tunstack.Namespace, require_tool: Callable[[str], str], ends: Ends
) -> None:
    """It forwards, but not to there; of IPv6 it says that it has no route."""
    ip = require_tool("ip")
    family, elsewhere, number = socket.AF_INET, "203.0.113.5", errno.EHOSTUNREACH
    if ends is V6:
        family, elsewhere, number = socket.AF_INET6, "2001:db8:5::1", errno.ENETUNREACH
    ns.sysctl("net.ipv4.ip_forward", 1)
    ns.sysctl("net.ipv6.conf.all.forwarding", 1)
    async with ns.open_host(*OURS) as host:
        await ns.run_process([ip, "route", "add", "unreachable", elsewhere])
        with host.socket(family, socket.SOCK_DGRAM, ends.icmp) as sock:
            await sock.connect((address(ends, ends.peer), 0))
            await answered(sock, ends)
            sock.setsockopt(*((0, 11) if ends is V4 else (41, 25)), 1)
            await sock.sendto(request(ends), (elsewhere, 0))
            with trio.fail_after(5), pytest.raises(OSError) as caught:  # noqa: PT011
                await sock.recv(100)
            assert caught.value.errno == number


async def test_what_linux_says_to_its_neighbours_is_no_fault(ns: tunstack.Namespace) -> None:
    """Router solicitations and listener reports, when the device comes up."""
    async with ns.open_host(*OURS) as host:
        await trio.sleep(1.0)
        counts = {name: count for name, count in host.statistics().items() if count}
        for name in ("packets_received", "packets_sent", "not_our_address", "icmp_ignored"):
            counts.pop(name, None)
        counts.pop("icmp_received", None)
        assert counts == {}
