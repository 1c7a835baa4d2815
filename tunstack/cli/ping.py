"""``tunstack ping``: send echo requests from an address of tunstack's, as ping does."""

from __future__ import annotations

import math
import signal
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click
import trio

import tunstack
from tunstack.cli import destination
from tunstack.cli.options import host_options, network_options
from tunstack.cli.parameters import STANDARD, Number
from tunstack.cli.running import execute
from tunstack.cli.status import Failure
from tunstack.cli.watching import watching

if TYPE_CHECKING:
    from tunstack.path.impair import Impairments

NO_REPLY: Final = 1

_HEADER: Final = struct.Struct(">BBHHH")
_INT: Final = struct.Struct("i")
_LONGEST: Final = 65507
"""Octets of data that fit in an IPv4 packet, in fragments."""
_ROOM: Final = 65536
_ANCILLARY: Final = 64


@dataclass(frozen=True, slots=True)
class _Family:
    """What a family's echo requests need.

    Attributes:
        number: AF_INET or AF_INET6.
        protocol: Of its ICMP.
        request: The type of an echo request.
        options: Level and number of the options that tell the time to live, and all errors.
        headers: Octets before the data in a packet, for the first line.
    """

    number: int
    protocol: int
    request: int
    options: tuple[tuple[int, int], ...]
    headers: int


# Linux's numbers: IP_RECVTTL and IP_RECVERR, IPV6_RECVHOPLIMIT and IPV6_RECVERR.
_IPV4: Final = _Family(
    socket.AF_INET, socket.IPPROTO_ICMP, 8, ((socket.IPPROTO_IP, 12), (socket.IPPROTO_IP, 11)), 28
)
_IPV6: Final = _Family(
    socket.AF_INET6,
    socket.IPPROTO_ICMPV6,
    128,
    ((socket.IPPROTO_IPV6, 51), (socket.IPPROTO_IPV6, 25)),
    48,
)

_FAMILIES: Final = {each.number: each for each in (_IPV4, _IPV6)}

_EPILOG = f"""\b
Examples:
  sudo tunstack ping --address 10.9.0.2/24 10.9.0.1
  tunstack run -- tunstack ping --address 198.51.100.130/25 -c 3 198.51.100.129

\b
Exit status:
  0    at least one reply came
  {NO_REPLY}    none did
  2    a usage error, or the device could not be created
"""


@click.command(epilog=_EPILOG)
@click.argument("host")
@network_options
@click.option("-c", "--count", type=click.IntRange(1), metavar="N", help="Stop after N requests.")
@click.option(
    "-i",
    "--interval",
    type=Number(min=0.001),
    default=1.0,
    metavar="SECONDS",
    help="The time between requests; 1 s by default.",
)
@click.option(
    "-s",
    "--size",
    type=click.IntRange(0, _LONGEST),
    default=56,
    metavar="N",
    help="Bytes of data in each request; 56 by default. What is too large for a packet is"
    " fragmented.",
)
@click.option(
    "-W",
    "--wait",
    type=Number(min=0, min_open=True),
    default=10.0,
    metavar="SECONDS",
    help="How long to wait for replies after the last request; 10 s by default.",
)
@host_options
def ping(
    host: str,
    addresses: tuple[str, ...],
    kernel_addresses: tuple[str, ...],
    device_name: str | None,
    count: int | None,
    interval: float,
    size: int,
    wait: float,
    mtu: int | None,
    impair: tuple[Impairments, Impairments],
    offload: bool,
    pcap: str | None,
    trace: bool,
    seed: int | None,
) -> int:
    """Send ICMP echo requests to HOST from an address of tunstack's.

    Each reply is a line; at the end, or after Ctrl-C, come the statistics.

    tunstack is reached through a TUN device in the current network namespace, which needs root or
    the capability CAP_NET_ADMIN. The kernel is HOST, or has a route to it and forwards.
    """
    if pcap == STANDARD:
        raise click.UsageError("--pcap needs a file: standard output has the replies")
    running = trio.CancelScope()

    def interrupted(number: int) -> bool:
        """Ctrl-C ends the requests, and the statistics follow."""
        if number != signal.SIGINT or running.cancel_called:
            return False
        running.cancel()
        return True

    async def main() -> int:
        async with (
            watching("tunstack ping", pcap=pcap, trace=trace) as tap,
            tunstack.open_host(
                *addresses,
                name=device_name,
                peer=kernel_addresses or None,
                mtu=mtu,
                seed=seed,
                tap=tap,
                impair=impair,
                offload=offload,
            ) as ours,
        ):
            number, address = await destination.find(ours, host)
            family = _FAMILIES[number]
            with ours.socket(family.number, socket.SOCK_DGRAM, family.protocol) as sock:
                for level, option in family.options:
                    sock.setsockopt(level, option, 1)
                try:
                    await sock.connect((address, 0))
                except OSError as error:
                    raise Failure(f"{host}: {error.strerror or error}", NO_REPLY) from None
                run = Run(sock, family.request, bytes(index & 0xFF for index in range(size)))
                click.echo(f"PING {host} {size}({size + family.headers}) bytes of data.")
                with running:
                    await run(count, interval, wait)
                click.echo(f"\n--- {host} ping statistics ---")
                for line in run.summary():
                    click.echo(line)
                return 0 if run.times else NO_REPLY

    return execute("tunstack ping", main, ignore=interrupted)


@dataclass
class Run:
    """Requests and replies on one connected ping socket.

    Attributes:
        times: Round-trip times of the replies, in seconds.
        duplicates: Further replies to the same request.
        errors: ICMP errors, and requests that could not be sent.
    """

    sock: trio.socket.SocketType
    request: int
    data: bytes
    sent: int = 0
    times: list[float] = field(default_factory=list)
    duplicates: int = 0
    errors: int = 0
    _began: float = 0.0
    _ended: float = 0.0
    _sent_at: dict[int, float] = field(default_factory=dict)
    """When each request was sent, by sequence number."""
    _answered: set[int] = field(default_factory=set)

    async def __call__(self, count: int | None, interval: float, wait: float) -> None:
        """Send `count` requests, or go on for ever, and receive until `wait` after the last."""
        self._began = self._ended = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive)
            at = self._began
            while count is None or self.sent < count:
                await trio.sleep_until(at)
                await self._send()
                at = max(at + interval, trio.current_time())
            with trio.move_on_after(wait):
                while self._outstanding:  # noqa: ASYNC110 # Once, at the end.
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()

    @property
    def _outstanding(self) -> int:
        return self.sent - len(self.times) - self.errors

    async def _send(self) -> None:
        self.sent += 1
        number = self.sent & 0xFFFF
        self._answered.discard(number)
        self._sent_at[number] = self._ended = trio.current_time()
        try:
            await self.sock.send(_HEADER.pack(self.request, 0, 0, 0, number) + self.data)
        except OSError as error:
            self._fail(error)

    async def _receive(self) -> None:
        while True:
            try:
                data, ancillary, _, source = await self.sock.recvmsg(_ROOM, _ANCILLARY)
            except OSError as error:
                self._fail(error)
                continue
            now = self._ended = trio.current_time()
            number = _HEADER.unpack_from(data)[4]
            if number not in self._sent_at:
                continue
            elapsed = now - self._sent_at[number]
            note = " (DUP!)" if number in self._answered else ""
            if note:
                self.duplicates += 1
            else:
                self._answered.add(number)
                self.times.append(elapsed)
            ttl = "".join(f" ttl={_INT.unpack(value)[0]}" for *_, value in ancillary)
            assert isinstance(source, tuple)
            click.echo(
                f"{len(data)} bytes from {source[0]}: icmp_seq={number}{ttl}"
                f" time={_milliseconds(elapsed)} ms{note}"
            )

    def _fail(self, error: OSError) -> None:
        self.errors += 1
        self._ended = trio.current_time()
        click.echo(f"icmp_seq={self.sent & 0xFFFF}: {error.strerror}")

    def summary(self) -> list[str]:
        """The lines of the statistics."""
        received, loss = len(self.times), 100 * (self.sent - len(self.times)) / max(1, self.sent)
        parts = [f"{self.sent} packets transmitted", f"{received} received"]
        if self.duplicates:
            parts.append(f"+{self.duplicates} duplicates")
        if self.errors:
            parts.append(f"+{self.errors} errors")
        elapsed = (self._ended - self._began) * 1000
        lines = [", ".join([*parts, f"{loss:g}% packet loss", f"time {elapsed:.0f}ms"])]
        if received:
            mean = sum(self.times) / received
            deviation = math.sqrt(sum((each - mean) ** 2 for each in self.times) / received)
            figures = (min(self.times), mean, max(self.times), deviation)
            shown = "/".join(f"{figure * 1000:.3f}" for figure in figures)
            lines.append(f"rtt min/avg/max/mdev = {shown} ms")
        return lines


def _milliseconds(seconds: float) -> str:
    """With three digits at least, as ping prints them."""
    number = seconds * 1000
    digits = 3 if number < 1 else 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:.{digits}f}"


__all__ = ["Run", "ping"]
