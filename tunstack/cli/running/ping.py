"""What ``tunstack ping`` does: echo requests, and a line for each reply."""

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
from tunstack.cli.running import destination
from tunstack.cli.running.execution import execute
from tunstack.cli.running.views import watching
from tunstack.cli.status import NO_REPLY, Failure

if TYPE_CHECKING:
    from typing import Unpack

    from tunstack.cli.running.device import Device

_HEADER: Final = struct.Struct(">BBHHH")
_INT: Final = struct.Struct("i")
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


def ping(
    host: str,
    addresses: tuple[str, ...],
    *,
    count: int | None,
    interval: float,
    size: int,
    wait: float,
    pcap: str | None,
    trace: bool,
    **device: Unpack[Device],
) -> int:
    """Ping from `addresses`; returns the exit status.

    Args:
        host: The destination, by address or name.
        addresses: tunstack's.
        count: The option.
        interval: The option.
        size: The option.
        wait: The option.
        pcap: The option.
        trace: The option.
        device: The options of the device.
    """
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
                tap=tap,
                **device,
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
