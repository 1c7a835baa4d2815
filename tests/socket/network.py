"""Two hosts back to back in memory, or one host whose far end the test plays packet by packet."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tunstack import Config, Host, Limits, Socket, memory_pair
from tunstack.host.host import loop_of
from tunstack.ip.datagram import ICMP, TCP, Datagram
from tunstack.tcp.segment import ACK, FIN, SYN, Segment
from tunstack.wire import decode_datagram, decode_icmp, decode_segment, encode_icmp, encode_segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractContextManager

    from tunstack.ip.icmp import IcmpMessage
    from tunstack.link.base import Buffer, Link

OURS, THEIRS = "198.51.100.2", "198.51.100.1"
OURS_PACKED, THEIRS_PACKED = socket.inet_aton(OURS), socket.inet_aton(THEIRS)
PORT = 80
SMALL = 4096
"""Octets of a buffer that is full soon."""


def fails(number: int) -> AbstractContextManager[pytest.ExceptionInfo[OSError]]:
    """Expect an OSError with this errno."""
    return pytest.raises(OSError, check=lambda error: error.errno == number)


def as_it_is(link: Link) -> Link:
    """Put nothing around a link."""
    return link


@asynccontextmanager
async def host_pair(
    *, mtu: int = 1500, wrap: Callable[[Link], Link] = as_it_is, **parameters: Any
) -> AsyncIterator[tuple[Host, Host]]:
    """Two hosts, OURS and THEIRS, on one cable.

    Args:
        mtu: Of the cable.
        wrap: What to put around the first one's end of it.
        parameters: Of `Config`, where both differ from the default.
    """
    config = replace(Config(mss=mtu - 40), **parameters)
    left, right = memory_pair(mtu)
    async with (
        Host(wrap(left), [f"{OURS}/24"], seed=1, config=config) as ours,
        Host(right, [f"{THEIRS}/24"], seed=2, config=config) as theirs,
    ):
        yield ours, theirs


async def listening(host: Host, port: int = PORT, *, backlog: int = 128) -> Socket:
    """A socket that listens on every address of `host`."""
    sock = host.socket()
    await sock.bind(("", port))
    sock.listen(backlog)
    return sock


async def connected(client: Host, server: Host, *, buffer: int = 0) -> tuple[Socket, Socket]:
    """Both ends of a connection, with buffers of another size than the default if it is not 0."""
    listener, near = await listening(server, 0), client.socket()
    for sock in (listener, near) if buffer else ():
        for option in (trio.socket.SO_SNDBUF, trio.socket.SO_RCVBUF):
            sock.setsockopt(trio.socket.SOL_SOCKET, option, buffer)
    await near.connect((str(server.addresses[0].ip), listener.getsockname()[1]))
    far, _ = await listener.accept()
    listener.close()
    return near, far


def is_gathering(host: Host) -> bool:
    """Whether what applications answer to the latest batch waits, to go to the device together."""
    return loop_of(host)._coalesce_until > 0


async def fill(sock: Socket) -> int:
    """Send until it blocks, the peer's buffer being full as well; returns how many octets."""
    total = 0
    while True:
        with trio.move_on_after(1) as scope:
            total += await sock.send(bytes(SMALL))
        if scope.cancelled_caught:
            return total


async def read_to_end(sock: Socket) -> bytes:
    """All that comes before the end of the stream."""
    pieces = []
    while data := await sock.recv(1 << 16):
        pieces.append(data)
    return b"".join(pieces)


class Valve:
    """A link that fails in the ways in which links fail.

    Attributes:
        loses: Tells which packets that are sent get lost.
        full: While True it takes no packet; :meth:`empty` ends that.
    """

    def __init__(self, link: Link) -> None:
        self.name = link.name
        self.mtu = link.mtu
        self.offload = link.offload
        self.loses: Callable[[bytes], bool] = lambda packet: False
        self.full = False
        self._link = link
        self._broken: OSError | None = None
        self._reading = trio.CancelScope()
        self._emptied = trio.Event()

    def break_down(self, error: OSError) -> None:
        """From now on the device is gone: every call raises `error`."""
        self.fail(error)
        self._reading.cancel()
        self.empty()

    def fail(self, error: OSError) -> None:
        """From now on every call raises `error`; who waits for a packet does not hear of it."""
        self._broken = error

    def empty(self) -> None:
        """Take packets again."""
        self.full = False
        self._emptied.set()
        self._emptied = trio.Event()

    def receive(self, limit: int = 256) -> list[Buffer]:
        self._check()
        return self._link.receive(limit)

    def send(self, packet: Sequence[Buffer]) -> bool:
        self._check()
        return not self.full and (self.loses(b"".join(packet)) or self._link.send(packet))

    async def wait_readable(self) -> None:
        with trio.CancelScope() as self._reading:
            await self._link.wait_readable()

    async def wait_writable(self) -> None:
        while self.full:
            await self._emptied.wait()
        await self._link.wait_writable()

    def close(self) -> None:
        self._link.close()

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken


class Peer:
    """The far end of a host's link, as the test plays it: THEIRS, with one port.

    Attributes:
        link: Its end of the link.
        port: Its own.
        host_port: The host's; that of the last segment which came.
        nxt: The sequence number that it sends next.
        expected: The one that it expects next.
        tos: The Differentiated Services and ECN octet of its packets.
        latest: The last datagram that came.
    """

    def __init__(self, link: Link, port: int = PORT) -> None:
        self.link = link
        self.port = port
        self.host_port = 0
        self.nxt = 1000
        self.expected = 0
        self.tos = 0
        self.latest: Datagram | None = None

    async def datagram(self) -> Datagram:
        """The next packet from the host."""
        await self.link.wait_readable()
        (packet,) = self.link.receive(1)
        self.latest = decode_datagram(packet)
        return self.latest

    async def segment(self) -> Segment:
        """The next packet from the host, which must be a segment to `port`."""
        datagram = await self.datagram()
        assert datagram.protocol == TCP
        self.host_port, port, segment = decode_segment(datagram)
        assert port == self.port
        self.expected = (segment.seq + segment.length) % 2**32
        return segment

    async def icmp(self) -> IcmpMessage:
        """The next packet from the host, which must be an ICMP message."""
        datagram = await self.datagram()
        assert datagram.protocol == ICMP
        return decode_icmp(datagram)

    def segments(self) -> list[Segment]:
        """All segments that are there now."""
        return [decode_segment(decode_datagram(packet))[2] for packet in self.link.receive()]

    def packet(self, flags: int = ACK, payload: bytes = b"", **fields: Any) -> bytes:
        """A packet to the host: the next in order, but for the segment's `fields`."""
        segment = Segment(self.nxt, self.expected, flags, 65535, payload=payload)
        for name, value in fields.items():
            setattr(segment, name, value)
        ports = self.port, self.host_port
        packet = encode_segment(THEIRS_PACKED, OURS_PACKED, *ports, segment, tos=self.tos)
        return b"".join(packet)

    def send(self, flags: int = ACK, payload: bytes = b"", **fields: Any) -> None:
        """Send such a packet, and count what it takes of the sequence numbers."""
        self.link.send([self.packet(flags, payload, **fields)])
        self.nxt += len(payload) + bool(flags & SYN) + bool(flags & FIN)

    def send_icmp(self, message: IcmpMessage) -> None:
        """Send an ICMP message to the host."""
        self.link.send(encode_icmp(THEIRS_PACKED, OURS_PACKED, message))

    async def accept(self, **fields: Any) -> None:
        """Answer a connection that the host opens; `fields` are of the SYN,ACK."""
        assert (await self.segment()).flags == SYN
        self.send(SYN | ACK, **fields)
        assert (await self.segment()).flags == ACK

    async def connect(self, host_port: int = PORT, **fields: Any) -> None:
        """Open a connection to the host; `fields` are of the SYN."""
        self.host_port = host_port
        self.send(SYN, **fields)
        assert (await self.segment()).flags == SYN | ACK
        self.send()


@asynccontextmanager
async def host_and_peer(
    *, limits: Limits | None = None, **parameters: Any
) -> AsyncIterator[tuple[Host, Peer]]:
    """A host that offers no TCP options but the MSS, and the test at the far end of its cable.

    Its ACKs may wait as long as they ever do, so that an answer is alone however slow the machine.
    """
    plain = Config(timestamps=False, window_scaling=False, sack=False, quick_acks=0)
    config = replace(plain, **parameters)
    link, far = memory_pair()
    async with Host(link, [f"{OURS}/24"], seed=1, config=config, limits=limits) as host:
        yield host, Peer(far)


async def accepted(host: Host, peer: Peer) -> Socket:
    """Our end of a connection that the peer opened."""
    listener = await listening(host)
    await peer.connect(mss=1460)
    server, _ = await listener.accept()
    listener.close()
    return server
