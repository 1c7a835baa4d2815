"""A private network of the kernel's, and a host of ours or of Linux's at the end of its path.

The path is the test's: it keeps what passes, and may add packets of its own.
"""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final

import trio

import tunstack
from tests.kernel.beside import without_limits
from tunstack import Host, Limits, memory_pair
from tunstack.apps import echo
from tunstack.link.netns import open_network_namespace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.kernel.beside import Who
    from tunstack.link.base import Link

CLIENT: Final = ("198.51.100.1/24", "2001:db8::1/64")
SERVER: Final = ("198.51.100.2/24", "2001:db8::2/64")
V4: Final = "198.51.100.2"
V6: Final = "2001:db8::2"
FLOOD: Final = 10
"""Packets of a flood for each packet that is carried."""


class Client:
    """A private network, and who is tried at the far end of its path.

    Attributes:
        namespace: Where the tools run.
        came: The packets from the far end.
        make_socket: Makes a socket of the far end's.
        statistics: Returns the statistics of a host of ours.
    """

    def __init__(
        self,
        namespace: tunstack.Namespace,
        make_socket: Callable[..., trio.socket.SocketType],
        statistics: Callable[[], dict[str, int]],
    ) -> None:
        self.namespace = namespace
        self.make_socket = make_socket
        self.statistics = statistics
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

    async def answers_to(self, sock: trio.socket.SocketType, address: str) -> None:
        """Have the service answer a datagram, and with that all that was sent before."""
        with trio.fail_after(10):
            await sock.sendto(b"marker", (address, 7))
            assert await sock.recv(10) == b"marker"


async def carry(
    source: Link, sink: Link, seen: list[bytes] | None = None, flood: Iterator[bytes] | None = None
) -> None:
    """Carry packets one way.

    Args:
        source: Where they come from.
        sink: Where they go.
        seen: Keeps them.
        flood: What else goes there: `FLOOD` packets before each of them.
    """
    while True:
        await source.wait_readable()
        for packet in source.receive():
            if seen is not None:
                seen.append(bytes(packet))
            for each in (*(islice(flood, FLOOD) if flood is not None else ()), packet):
                while not sink.send([each]):
                    await sink.wait_writable()


@asynccontextmanager
async def client(
    who: Who, *, limited: bool = False, flood: Iterator[bytes] | None = None
) -> AsyncIterator[Client]:
    """Somebody with an echo service at port 7 (UDP) and port 80 (TCP), in both families.

    Args:
        who: That is.
        limited: Whether it limits its ICMP errors as it does by default, or not at all.
        flood: Packets that come to it besides.
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
            statistics = host.statistics
        else:
            network = await stack.enter_async_context(open_network_namespace())
            if not limited:
                without_limits(network)
            far = await network.open_tun(*CLIENT, peer=list(_plain(SERVER)))
            make_socket = network.socket
            statistics = dict
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        seen = Client(namespace, make_socket, statistics)
        nursery.start_soon(carry, near, far, None, flood)
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
