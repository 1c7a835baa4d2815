"""One end of a wire, a kernel's or ours, whose peer the test plays packet by packet."""

from __future__ import annotations

import struct
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio
from trio.socket import IPPROTO_TCP, TCP_INFO, TCP_NODELAY

from tests.socket.network import OURS, THEIRS, Peer
from tunstack import Config, Host, memory_pair
from tunstack.tcp.connection.ecn import REQUEST
from tunstack.tcp.segment import ACK, SYN, Segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tunstack import Namespace
    from tunstack.link.tun import TunLink

PORT: Final = 4711
WAIT: Final = 5.0
"""Seconds that a packet may take on a busy machine."""


class Near(NamedTuple):
    """One end, a kernel's or ours, and the peer that the test plays."""

    make_socket: Callable[[], trio.socket.SocketType]
    peer: Peer
    at_the_end: ExitStack

    def socket(self) -> trio.socket.SocketType:
        return self.at_the_end.enter_context(self.make_socket())

    async def listening(self, backlog: int = 5) -> trio.socket.SocketType:
        sock = self.socket()
        await sock.bind((OURS, PORT))
        sock.listen(backlog)
        return sock

    async def accepted(self, **syn: Any) -> trio.socket.SocketType:
        """A connection that the peer has opened; `syn` is what its SYN offers."""
        with await self.listening() as listener:
            self.peer.host_port = PORT
            self.peer.send(SYN, **{"mss": 1460, **syn})
            answer = await self.segment()
            assert answer.flags == SYN | ACK
            self.peer.send(ts_val=syn.get("ts_val"), ts_ecr=answer.ts_val or 0)
            sock, _ = await listener.accept()
        self.at_the_end.enter_context(sock)
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        return sock

    async def segment(self) -> Segment:
        with trio.fail_after(WAIT):
            return await self.peer.segment()

    async def handled(self, **fields: Any) -> None:
        """Wait until it has handled what it was sent: it answers an old segment, and does no more.

        Args:
            fields: Of that segment, as those of the connection are.
        """
        self.peer.send(seq=self.peer.nxt - 1, **fields)
        assert (await self.segment()).ack == self.peer.nxt

    async def silent(self, seconds: float = 0.1) -> bool:
        with trio.move_on_after(seconds):
            await self.peer.segment()
            return False
        return True


async def open_tun(
    ns: Namespace, address: str, *, peer: str | None = None, offload: bool = False
) -> TunLink:
    """A device in `ns` that has no host: the test is its far end, or wraps it for a host."""
    return await ns.network.open_tun(address, peer=peer, offload=offload)


@asynccontextmanager
async def linux(ns: Namespace) -> AsyncIterator[Near]:
    """A kernel's end, in a network in which nothing else is."""
    ns.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    ns.sysctl("net.ipv4.tcp_early_retrans", 0)
    ns.sysctl("net.ipv4.tcp_ecn", REQUEST)
    ns.sysctl("net.ipv4.tcp_fastopen", 3)
    link = await open_tun(ns, f"{THEIRS}/24", peer=OURS)
    with ExitStack() as stack:
        yield Near(ns.socket, Peer(link, 9), stack)


@asynccontextmanager
async def tunstack(_: Namespace) -> AsyncIterator[Near]:
    """An end of ours, which needs no network."""
    link, far = memory_pair()
    config = Config(tail_loss_probe=False, ecn=REQUEST)
    async with Host(link, [f"{OURS}/24"], config=config) as host:
        with ExitStack() as stack:
            yield Near(host.socket, Peer(far, 9), stack)


def tcp_info(sock: trio.socket.SocketType, offset: int) -> int:
    """A number in ``struct tcp_info``."""
    (number,) = struct.unpack_from("I", sock.getsockopt(IPPROTO_TCP, TCP_INFO, 256), offset)
    assert isinstance(number, int)
    return number


def unacknowledged(sock: trio.socket.SocketType) -> int:
    return tcp_info(sock, 24)
