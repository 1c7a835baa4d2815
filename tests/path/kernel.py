"""The kernel as the other side of a path that does something to packets."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, final

import trio

from tunstack import Host
from tunstack.ip.family import IPV4, IPV6, Family, family_of
from tunstack.link.netns import open_network_namespace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.path.middlebox import Fate
    from tunstack.link.base import Buffer
    from tunstack.link.netns import NetworkNamespace
    from tunstack.link.tun import TunLink
    from tunstack.tcp.config import Config

OURS = {IPV4: "198.51.100.2", IPV6: "2001:db8::2"}
KERNEL = {IPV4: "198.51.100.1", IPV6: "2001:db8::1"}
PREFIX = {IPV4: "/24", IPV6: "/64"}


@final
class BoxedLink:
    """A TUN device with a middlebox before it: what comes and what goes passes through it."""

    def __init__(self, link: TunLink, middlebox: Callable[[bytes], Fate]) -> None:
        self.name = link.name
        self.mtu = link.mtu
        self.offload = link.offload  # A middlebox sees packets as a wire carries them: without.
        self._link = link
        self._middlebox = middlebox
        self._answers: list[Buffer] = []

    def receive(self, limit: int = 256) -> list[Buffer]:
        arrived, self._answers = self._answers, []
        for packet in self._link.receive(limit):
            onward, back = self._middlebox(bytes(packet))
            if onward is not None:
                arrived.append(onward)
            if back is not None:
                self._link.send([back])
        return arrived

    def send(self, packet: Sequence[Buffer]) -> bool:
        onward, back = self._middlebox(b"".join(packet))
        if back is not None:
            self._answers.append(back)
        return onward is None or self._link.send([onward])

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._answers:
            await self._link.wait_readable()

    async def wait_writable(self) -> None:
        await self._link.wait_writable()

    def close(self) -> None:
        self._link.close()


@asynccontextmanager
async def kernel_and_host(
    middlebox: Callable[[bytes], Fate],
    config: Config | None = None,
    family: Family = IPV4,
    **sysctls: str | int,
) -> AsyncIterator[tuple[NetworkNamespace, Host]]:
    """A host of ours with the kernel at the other end, beyond a middlebox.

    `sysctls` are parameters of ``net.ipv4``, IPv6's TCP has them too, set before anything is there.
    """
    async with open_network_namespace() as namespace:
        for name, value in sysctls.items():
            namespace.sysctl(f"net.ipv4.{name}", value)
        address = OURS[family] + PREFIX[family]
        link = BoxedLink(await namespace.open_tun(address), middlebox)
        async with Host(link, [address], seed=1, config=config) as host:
            yield namespace, host


@asynccontextmanager
async def connection(
    namespace: NetworkNamespace, host: Host, *, by_kernel: bool
) -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """A connection, opened by the kernel or by us; yields the kernel's end and ours."""
    family = family_of(host.addresses[0].ip.packed)
    with trio.fail_after(30):
        if by_kernel:
            (listener,) = await host.open_tcp_listeners(80)
            sock = namespace.socket(family.number)
            await sock.connect((OURS[family], 80))
            ours = await listener.accept()
            kernel = trio.SocketStream(sock)
        else:
            waiting = namespace.socket(family.number)
            await waiting.bind((KERNEL[family], 80))
            waiting.listen()
            ours = await host.open_tcp_stream(KERNEL[family], 80)
            kernel = trio.SocketStream((await waiting.accept())[0])
            waiting.close()
    async with kernel, ours:
        yield kernel, ours


async def send_and_receive(
    sender: trio.SocketStream, receiver: trio.SocketStream, data: bytes
) -> bytes:
    """Send `data` one way; returns what arrives."""
    arrived = bytearray()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, data)
            while len(arrived) < len(data):
                piece = await receiver.receive_some()
                assert piece
                arrived += piece
    return bytes(arrived)


async def kernel_counters(namespace: NetworkNamespace) -> dict[str, int]:
    """What nstat counts in the namespace, since it began."""
    shown = await namespace.run_process(["nstat", "-asz", "--json"], capture_stdout=True)
    counters: dict[str, int] = json.loads(shown.stdout)["kernel"]
    return counters


async def kernel_info(namespace: NetworkNamespace) -> list[str]:
    """What `ss -tio` says of the kernel's end of the one connection, word by word."""
    shown = await namespace.run_process(
        ["ss", "-Htino", "state", "established"], capture_stdout=True
    )
    text: Any = shown.stdout.decode()
    return str(text).split()
