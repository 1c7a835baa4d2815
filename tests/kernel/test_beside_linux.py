"""The tools of a network engineer see the same of a host of ours as of a Linux host.

Each command runs in a private network against either, over the same path; what it prints is
compared line by line, but for times, and so are the packets that come back. Where the two differ
and are to differ:

- The window and the window scale of a SYN-ACK: Linux's follow its tcp_rmem, ours `Config`.
- First fragments without a whole transport header, as ``nmap -f`` sends them, are dropped here.
- IGMP, PIM and UDP-Lite are protocols that this kernel speaks.
- The identification of what is not to be fragmented, which RFC 6864 gives no meaning, is 0 here;
  Linux's datagrams and segments of connections count.
- A neighbour solicitation, as ``nmap -6 -O`` sends it to a device without link-layer addresses, is
  ignored here.
"""

from __future__ import annotations

import re
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

import tunstack
from tests.kernel.beside import BOTH
from tunstack import Host, Limits, memory_pair
from tunstack.apps import echo
from tunstack.ip.datagram import ICMP, ICMPV6, TCP
from tunstack.link.netns import open_network_namespace
from tunstack.wire import Discard, decode_datagram, decode_icmp, decode_segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kernel.beside import Who
    from tunstack.link.base import Link

pytestmark = pytest.mark.kernel

CLIENT: Final = ("198.51.100.1/24", "2001:db8::1/64")
SERVER: Final = ("198.51.100.2/24", "2001:db8::2/64")
V4: Final = "198.51.100.2"
V6: Final = "2001:db8::2"
UNLIMITED: Final[dict[str, int]] = {
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv4.icmp_msgs_per_sec": 100_000,
    "net.ipv4.icmp_msgs_burst": 100_000,
    "net.ipv6.icmp.ratelimit": 0,
}


class Client:
    """A private network, and who is tried at the far end of its path.

    Attributes:
        namespace: Where the tools run.
        came: The packets from the far end.
        make_socket: Makes a socket of the far end's.
    """

    def __init__(
        self, namespace: tunstack.Namespace, make_socket: Callable[..., trio.socket.SocketType]
    ) -> None:
        self.namespace = namespace
        self.make_socket = make_socket
        self.came: list[bytes] = []

    async def run(self, command: list[str]) -> str:
        """Run a tool to its end; returns what it prints."""
        with trio.fail_after(30):
            done = await self.namespace.run_process(
                command, capture_stdout=True, capture_stderr=True, check=False
            )
        return (done.stdout + done.stderr).decode()

    async def is_up(self) -> None:
        """Wait until both families pass: an IPv6 address is tentative for a moment."""
        for number in range(200):
            with self.namespace.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                await sock.sendto(bytes((number,)), (V6, 7))
                with trio.move_on_after(0.02):
                    await sock.recv(10)
                    break
        self.came.clear()


async def carry(source: Link, sink: Link, seen: list[bytes]) -> None:
    """Carry packets one way."""
    while True:
        await source.wait_readable()
        for packet in source.receive():
            seen.append(bytes(packet))
            while not sink.send([packet]):
                await sink.wait_writable()


@asynccontextmanager
async def client(who: Who, *, limited: bool = False) -> AsyncIterator[Client]:
    """Somebody with an echo service at port 7 (UDP) and port 80 (TCP), in both families.

    Args:
        who: That is.
        limited: Whether it limits its ICMP errors as it does by default, or not at all.
    """
    async with AsyncExitStack() as stack:
        namespace = await stack.enter_async_context(tunstack.open_namespace())
        near = await namespace.network.open_tun(*SERVER, peer=list(_plain(CLIENT)))
        far: Link
        if who == "ours":
            link, far = memory_pair()
            limits = Limits() if limited else Limits(icmp_errors=10**5, icmp_errors_in_all=10**5)
            host = await stack.enter_async_context(Host(link, SERVER, limits=limits))
            make_socket: Callable[..., trio.socket.SocketType] = host.socket
        else:
            network = await stack.enter_async_context(open_network_namespace())
            for name, value in {} if limited else UNLIMITED.items():
                network.sysctl(name, value)
            far = await network.open_tun(*CLIENT, peer=list(_plain(SERVER)))
            make_socket = network.socket
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        seen = Client(namespace, make_socket)
        nursery.start_soon(carry, near, far, [])
        nursery.start_soon(carry, far, near, seen.came)
        for family, wildcard in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            await _serve(nursery, make_socket, family, wildcard)
        await seen.is_up()
        yield seen


def _plain(addresses: tuple[str, ...]) -> list[str]:
    return [address.partition("/")[0] for address in addresses]


async def _serve(
    nursery: trio.Nursery,
    make_socket: Callable[..., trio.socket.SocketType],
    family: int,
    wildcard: str,
) -> None:
    datagrams, listener = (
        make_socket(family, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    )
    for sock, port in ((datagrams, 7), (listener, 80)):
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await sock.bind((wildcard, port))
    listener.listen(50)
    nursery.start_soon(echo.datagram_handler, datagrams)
    nursery.start_soon(trio.serve_listeners, echo.handler, [trio.SocketListener(listener)])


# What is compared

_TIMES: Final = (
    (re.compile(r"[0-9.]+ ?ms|\([0-9.]+s latency\)|[0-9.]+ seconds"), "TIME"),
    (re.compile(r"^(rtt|Starting Nmap|Host is up, received user-set).*", re.MULTILINE), r"\1"),
    (re.compile(r"\t\d+( absolute| not-standard)?$", re.MULTILINE), r"\tTIME\1"),
    (re.compile(r" {2,}"), "  "),
)


def without_times(text: str) -> list[str]:
    for pattern, replacement in _TIMES:
        text = pattern.sub(replacement, text)
    return text.splitlines()


def summary(packet: bytes) -> tuple[Any, ...] | None:
    """What counts of a packet; None for what a kernel asks of routers."""
    datagram = decode_datagram(packet)
    if len(datagram.dst) == 16 and datagram.dst[0] == 0xFF:
        return None
    ip = (
        datagram.ttl,
        datagram.tos,
        datagram.identification != 0 or datagram.dont_fragment,
        datagram.dont_fragment,
        datagram.more_fragments,
        datagram.fragment_offset,
        datagram.flow_label != 0,
        datagram.protocol,
        len(datagram.payload),
        datagram.options[:3],
    )
    if datagram.more_fragments or datagram.fragment_offset:
        return ip
    if datagram.protocol in (ICMP, ICMPV6):
        try:
            message = decode_icmp(datagram)
        except Discard:  # It quotes a packet without a payload.
            return (*ip, bytes(datagram.payload[:2]), bytes(datagram.payload[4:10]))
        quoted = message.quoted
        if quoted is None:
            return (*ip, message.type, message.code)
        about = (quoted.protocol, quoted.tos, len(quoted.payload))
        return (*ip, message.type, message.code, message.rest, message.quoted_length, about)
    if datagram.protocol == TCP:
        _, _, segment = decode_segment(datagram)
        options = (segment.mss, segment.sack_permitted, segment.wscale is None, segment.sack)
        return (*ip, segment.flags, segment.seq == 0, segment.ts_val is None, options)
    return ip


ROUTES: Final = "-n -N1 -q2 -w2"
COMMANDS: Final[dict[str, list[str]]] = {
    "ping": [
        f"ping -n -c2 -i0.5 -s20000 {V4}",
        f"ping -6 -n -c2 -i0.5 -s20000 {V6}",
        f"ping -n -c1 -t1 {V4}",
        f"ping -6 -n -c1 -t1 {V6}",
        f"ping -n -c1 -Mdo -s1472 {V4}",
        f"ping -n -c1 -Q0x2e {V4}",
        f"ping -6 -n -c1 -Q0x2e -F0x12345 {V6}",
        f"ping -n -c1 -R {V4}",
        f"ping -n -c1 -R -s1000 {V4}",
        f"ping -n -c1 -T tsonly {V4}",
        f"ping -n -c1 -T tsandaddr {V4}",
        f"ping -n -c1 -T tsprespec {V4} {V4}",
    ],
    "tracepath": [f"tracepath -n {V4}", f"tracepath -6 -n {V6}"],
    "traceroute": [
        f"traceroute {ROUTES} {V4}",
        f"traceroute {ROUTES} {V4} 3000",
        f"traceroute {ROUTES} -t 0x2e {V4}",
        f"traceroute {ROUTES} --mtu {V4}",
        f"traceroute {ROUTES} -U {V4}",
        f"traceroute {ROUTES} -U -p 9 {V4}",
        f"traceroute {ROUTES} -I {V4}",
        f"traceroute {ROUTES} -T -p 80 {V4}",
        f"traceroute {ROUTES} -T -p 81 {V4}",
        f"traceroute {ROUTES} -P 132 {V4}",
        f"traceroute -6 {ROUTES} {V6}",
        f"traceroute -6 {ROUTES} {V6} 3000",
        f"traceroute -6 {ROUTES} -t 0x2e {V6}",
        f"traceroute -6 {ROUTES} --mtu {V6}",
        f"traceroute -6 {ROUTES} -U {V6}",
        f"traceroute -6 {ROUTES} -I {V6}",
        f"traceroute -6 {ROUTES} -T -p 80 {V6}",
        f"traceroute -6 {ROUTES} -T -p 81 {V6}",
        f"traceroute -6 {ROUTES} -P 132 {V6}",
    ],
    "nmap": [
        f"nmap -n -Pn --reason -sU -p7,9,19,1-40 {V4}",
        f"nmap -6 -n -Pn --reason -sU -p7,9,19,1-40 {V6}",
        f"nmap -n -Pn --reason -sS -p1-1000 {V4}",
        f"nmap -6 -n -Pn --reason -sS -p1-1000 {V6}",
        f"nmap -n -Pn --reason -sA -p79-81 {V4}",
        f"nmap -n -Pn --reason -sY -p79-81 {V4}",
        f"nmap -n -Pn --reason -sO -p47,58,132,253 {V4}",
        f"nmap -6 -n -Pn --reason -sO -p44,47,132,253 {V6}",
        f"nmap -n -sn --reason -PP {V4}",
    ],
}


@pytest.mark.parametrize("tool", COMMANDS)
async def test_a_tool_prints_the_same_of_both(
    require_tool: Callable[[str], str], tool: str
) -> None:
    path = require_tool(tool)
    printed: dict[Who, dict[str, list[str]]] = {}
    packets: dict[Who, dict[str, set[tuple[Any, ...]]]] = {}

    async def try_on(who: Who) -> None:
        printed[who], packets[who] = {}, {}
        async with client(who) as at:
            for command in COMMANDS[tool]:
                at.came.clear()
                text = await at.run([path, *command.split()[1:]])
                printed[who][command] = without_times(text)
                packets[who][command] = set(filter(None, map(summary, at.came)))

    async with trio.open_nursery() as nursery:
        for who in BOTH:
            nursery.start_soon(try_on, who)
    assert printed["ours"] == printed["kernel"]
    assert packets["ours"] == packets["kernel"]
    assert all(packets["ours"].values()), "each command is answered"


@pytest.mark.parametrize("address", [V4, V6], ids=["IPv4", "IPv6"])
async def test_errors_are_paced_by_default_as_linux_paces_them(address: str) -> None:
    """Six at once; of IPv6 there are ten a second besides, of which a busy machine may see some."""
    told: dict[Who, int] = {}
    family = socket.AF_INET if address == V4 else socket.AF_INET6
    for who in BOTH:
        async with client(who, limited=True) as at:
            with at.namespace.socket(family, socket.SOCK_DGRAM) as sock:
                for _ in range(50):
                    await sock.sendto(b"anybody?", (address, 9))
                await trio.sleep(0.05)
            told[who] = len([each for each in at.came if decode_datagram(each).dst[0] != 0xFF])
    if address == V4:
        assert told == {"ours": 6, "kernel": 6}
    assert 6 <= min(told.values()) <= max(told.values()) < 20
