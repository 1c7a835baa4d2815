"""The kernel and a host of ours in the same place: a test says the same to both, packet by packet.

Each is HERE, at the near end of a link whose far end the test plays as THERE. Whatever a test asks
of sockets, it asks trio's of the kernel and ours of the host.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import trio

from tunstack import Config, Host, Limits, memory_pair
from tunstack.ip.datagram import ICMP, TCP, Datagram
from tunstack.link.netns import open_network_namespace
from tunstack.tcp.segment import ACK, SYN, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import decode_datagram, decode_icmp, decode_segment, encode_segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tunstack.ip.icmp import IcmpMessage
    from tunstack.link.base import Buffer, Link
    from tunstack.link.netns import NetworkNamespace

Who: TypeAlias = Literal["kernel", "ours"]

BOTH: Final[tuple[Who, Who]] = ("kernel", "ours")
HERE: Final = "198.51.100.1"
THERE: Final = "198.51.100.2"
HERE_PACKED: Final = ip_address(HERE).packed
THERE_PACKED: Final = ip_address(THERE).packed

_SILENCE: Final = 0.15
"""Seconds within which whoever answers has answered, however busy the machine."""


def without_limits(namespace: NetworkNamespace) -> None:
    """Have a kernel send all the ICMP errors that it wants to.

    The limit of all together is of one network in newer kernels, and of the machine in older ones.
    """
    namespace.sysctl("net.ipv4.icmp_ratelimit", 0)
    namespace.sysctl("net.ipv6.icmp.ratelimit", 0)
    for name in ("per_sec", "burst"):
        with suppress(FileNotFoundError):
            namespace.sysctl(f"net.ipv4.icmp_msgs_{name}", 100_000)


class Endpoint:
    """Who is tried, and the far end of its link.

    Attributes:
        packets: IPv4 packets that came, and were not looked at yet.
    """

    def __init__(self, link: Link, make_socket: Callable[[], trio.socket.SocketType]) -> None:
        self.packets: list[bytes] = []
        self._link = link
        self._make_socket = make_socket
        self._sockets: list[trio.socket.SocketType] = []

    def socket(self) -> trio.socket.SocketType:
        """A TCP socket of its, that is closed at the end."""
        self._sockets.append(self._make_socket())
        return self._sockets[-1]

    async def accept(self, listener: trio.socket.SocketType) -> trio.socket.SocketType:
        """The socket of the next connection, that is closed at the end."""
        with trio.fail_after(10):
            sock, _ = await listener.accept()
        self._sockets.append(sock)
        return sock

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._sockets:
            sock.close()

    def inject(self, packet: Buffer | list[Buffer]) -> None:
        """Give it a packet."""
        self._link.send(packet if isinstance(packet, list) else [packet])

    def say(self, port: int, to: int, segment: Segment) -> None:
        """Give it a segment from `port`."""
        self.inject(encode_segment(THERE_PACKED, HERE_PACKED, port, to, segment))

    async def datagram(self) -> Datagram:
        """The next IPv4 packet from it."""
        with trio.fail_after(10):
            while not self.packets:
                await self._link.wait_readable()
                self._take()
        return decode_datagram(self.packets.pop(0))

    async def heard(self) -> tuple[int, int, Segment]:
        """The next packet from it, which is a segment: its ports, from and to, and itself."""
        datagram = await self.datagram()
        assert datagram.protocol == TCP, datagram
        return decode_segment(datagram)

    async def icmp(self) -> IcmpMessage:
        """The next packet from it, which is an ICMP message."""
        datagram = await self.datagram()
        assert datagram.protocol == ICMP, datagram
        return decode_icmp(datagram)

    async def expect_silence(self) -> None:
        """It says nothing, though it has had the time."""
        await trio.sleep(_SILENCE)
        self._take()
        assert not self.packets

    def _take(self) -> None:
        # A kernel asks for routers by IPv6.
        self.packets += [bytes(packet) for packet in self._link.receive() if packet[0] >> 4 == 4]

    async def listen(self, port: int = 80) -> trio.socket.SocketType:
        """A socket of its that listens."""
        listener = self.socket()
        await listener.bind((HERE, port))
        listener.listen()
        return listener

    async def shake_hands(self, port: int, to: int = 80, **options: Any) -> tuple[Segment, Segment]:
        """Open a connection from `port`: our SYN with these options; returns its answer, our ACK.

        What follows that, `replace` makes of it.
        """
        syn = Segment(1000, flags=SYN, wnd=60000, **options)
        self.say(port, to, syn)
        _, _, answer = await self.heard()
        assert answer.flags & (SYN | ACK) == SYN | ACK
        ack = Segment(1001, (answer.seq + 1) & MASK, ACK, 60000)
        if syn.ts_val is not None and answer.ts_val is not None:
            ack = replace(ack, ts_val=syn.ts_val + 1, ts_ecr=answer.ts_val)
        self.say(port, to, ack)
        return answer, ack


@asynccontextmanager
async def endpoint(
    who: Who,
    *,
    mtu: int = 1500,
    config: Config | None = None,
    limits: Limits | None = None,
    **sysctls: str | int,
) -> AsyncIterator[Endpoint]:
    """Whoever is tried, until the end of the block.

    Args:
        who: That is.
        mtu: Of its link.
        config: The host's, if it is ours.
        limits: The host's as well.
        sysctls: Parameters of ``net.ipv4``, if it is the kernel.
    """
    async with AsyncExitStack() as stack:
        if who == "ours":
            link, far = memory_pair(mtu)
            host = Host(link, [f"{HERE}/24"], seed=1, config=config, limits=limits)
            at = Endpoint(far, (await stack.enter_async_context(host)).socket)
        else:
            namespace = await stack.enter_async_context(open_network_namespace())
            for name, value in sysctls.items():
                namespace.sysctl(f"net.ipv4.{name}", value)
            at = Endpoint(await namespace.open_tun(f"{THERE}/24", mtu=mtu), namespace.socket)
        stack.callback(at.close)
        yield at
