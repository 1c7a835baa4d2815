"""``tunstack connect``: copy standard input and output over TCP or UDP, as netcat does."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Final, Protocol

import click
import trio

import tunstack
from tunstack.cli import destination
from tunstack.cli.counting import describe, error_number
from tunstack.cli.options import host_options, network_options
from tunstack.cli.parameters import STANDARD, Number
from tunstack.cli.running import execute, leaves, settle
from tunstack.cli.status import OUTPUT_CLOSED, Failure
from tunstack.cli.watching import watching

if TYPE_CHECKING:
    from tunstack.path.impair import Impairments

OTHER: Final = 1
REFUSED: Final = 3
RESET: Final = 4
TIMED_OUT: Final = 5
UNREACHABLE: Final = 6
BROKEN_PIPE: Final = OUTPUT_CLOSED

_STATUS: Final = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.EPIPE: RESET,
    errno.ETIMEDOUT: TIMED_OUT,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETUNREACH: UNREACHABLE,
    errno.EHOSTDOWN: UNREACHABLE,
}
_CHUNK: Final = 65536
_QUIET: Final = 1.0
"""Seconds after the end of input for which datagrams are awaited."""

_EPILOG = f"""\b
Examples:
  echo hello | sudo tunstack connect --address 10.9.0.2/24 10.9.0.1 7
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' |
      sudo tunstack connect --address 10.9.0.2/24 10.9.0.1 80
  echo hello | sudo tunstack connect --udp --address 10.9.0.2/24 10.9.0.1 7
  tunstack run -- sh -c 'nc -l -p 9000 & sleep 1;
      echo hello |
      tunstack connect --address 198.51.100.130/25 198.51.100.129 9000'

\b
Exit status:
  0    both sides have closed the connection
  {OTHER}    the connection broke in another way
  2    a usage error, or the device could not be created
  {REFUSED}    refused: a RST answered the SYN
  {RESET}    reset by the other side
  {TIMED_OUT}    timed out
  {UNREACHABLE}    unreachable: an ICMP message said so
  {BROKEN_PIPE}  standard output was closed by its reader
"""


@click.command(epilog=_EPILOG)
@click.argument("host")
@click.argument("port", type=click.IntRange(1, 65535))
@network_options
@click.option(
    "--wait",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="Time out when the connection is not open after so long; with --udp, end when nothing has "
    "come for so long after the end of input, 1 by default.",
)
@click.option(
    "--udp",
    is_flag=True,
    help="Send datagrams: each line of input is one. It ends a second after the last answer.",
)
@host_options
def connect(
    host: str,
    port: int,
    addresses: tuple[str, ...],
    kernel_addresses: tuple[str, ...],
    device_name: str | None,
    wait: float | None,
    udp: bool,
    mtu: int | None,
    impair: tuple[Impairments, Impairments],
    offload: bool,
    pcap: str | None,
    trace: bool,
    seed: int | None,
) -> int:
    """Connect to PORT of HOST from an address of tunstack's.

    Standard input is sent, and received data is written to standard output. At the end of input our
    half of the connection is closed; the other half stays open until the peer closes it. When the
    peer closes first, input is still sent to its end, unless it is a terminal.

    tunstack is reached through a TUN device in the current network namespace, which needs root or
    the capability CAP_NET_ADMIN. The kernel is HOST, or has a route to it and forwards.
    """
    if pcap == STANDARD:
        raise click.UsageError("--pcap needs a file: standard output has the received data")

    async def main() -> int:
        async with (
            watching("tunstack connect", pcap=pcap, trace=trace) as tap,
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
            if udp:
                await exchange_datagrams(ours, host, port, wait)
                return 0
            stream = await _open(ours, host, port, wait)
            try:
                async with stream:
                    await copy_both_ways(stream, StandardStreams())
            except trio.BrokenResourceError as error:
                status = _STATUS.get(error_number(error) or 0, OTHER)
                raise Failure(f"{host} port {port}: {describe(error)}", status) from None
            await settle(ours)
        return 0

    return execute("tunstack connect", main)


async def _open(ours: tunstack.Host, host: str, port: int, wait: float | None) -> trio.SocketStream:
    with trio.move_on_after(float("inf") if wait is None else wait):
        try:
            return await ours.open_tcp_stream(host, port)
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EAFNOSUPPORT:
                await destination.find(ours, host)  # It says what is wrong.
            status = _STATUS.get(error_number(error) or 0, OTHER)
            raise Failure(f"{host} port {port}: {describe(error)}", status) from None
    raise Failure(f"{host} port {port}: timed out after {wait:g} s", TIMED_OUT)


async def exchange_datagrams(ours: tunstack.Host, host: str, port: int, wait: float | None) -> None:
    """Send each line of standard input as a datagram, and write what comes to standard output.

    It returns when nothing has come for `wait` seconds, 1 if None, after the end of input.

    Raises:
        Failure: the destination cannot be reached; standard output was closed by its reader.
    """
    family, address = await destination.find(ours, host)
    quiet = trio.CancelScope()
    seconds = _QUIET if wait is None else wait
    ends = StandardStreams()
    try:
        with ours.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect((address, port))
            async with trio.open_nursery() as nursery:
                quiet = nursery.cancel_scope

                async def receive() -> None:
                    while True:
                        data = await sock.recv(_CHUNK)
                        if quiet.deadline != float("inf"):
                            quiet.deadline = trio.current_time() + seconds
                        await ends.write(data)

                nursery.start_soon(receive)
                rest = b""
                while data := await ends.read():
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        await sock.send(line + b"\n")
                if rest:
                    await sock.send(rest)
                quiet.deadline = trio.current_time() + seconds
    except OSError as error:
        raise _failed(error, host, port) from None
    except BaseExceptionGroup as group:
        errors = list(leaves(group))
        if any(isinstance(error, BrokenPipeError) for error in errors):
            raise Failure("standard output was closed by its reader", BROKEN_PIPE) from None
        first = errors[0]
        if not isinstance(first, OSError):
            raise
        raise _failed(first, host, port) from None


def _failed(error: OSError, host: str, port: int) -> Failure:
    if isinstance(error, socket.gaierror) or (error.errno or 0) < 0:
        return Failure(f"{host}: not an address, nor the name of one")
    status = _STATUS.get(error_number(error) or 0, OTHER)
    return Failure(f"{host} port {port}: {describe(error)}", status)


class Ends(Protocol):
    """The local source and sink of data."""

    async def read(self) -> bytes:
        """Read some data; empty at the end."""
        ...

    async def write(self, data: bytes | bytearray) -> None:
        """Write all of `data`."""
        ...

    def is_interactive(self) -> bool:
        """Whether input is a terminal."""
        ...


class StandardStreams:
    """Standard input and output, each in a thread, as they may be files, which epoll refuses."""

    async def read(self) -> bytes:
        """Read some data; empty at the end."""
        return await trio.to_thread.run_sync(os.read, 0, _CHUNK, abandon_on_cancel=True)

    async def write(self, data: bytes | bytearray) -> None:
        """Write all of `data`."""
        await trio.to_thread.run_sync(self._write, bytes(data), abandon_on_cancel=True)

    def is_interactive(self) -> bool:
        """Whether input is a terminal."""
        return sys.stdin is not None and sys.stdin.isatty()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]


async def copy_both_ways(stream: trio.abc.HalfCloseableStream, ends: Ends) -> None:
    """Copy in both directions until both have ended.

    Raises:
        trio.BrokenResourceError: the connection broke.
        Failure: standard output was closed by its reader.
    """

    async def send() -> None:
        while data := await ends.read():
            await stream.send_all(data)
        await stream.send_eof()

    async def receive(nursery: trio.Nursery) -> None:
        while data := await stream.receive_some(_CHUNK):
            await ends.write(data)
        if ends.is_interactive():
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await receive(nursery)
    except BaseExceptionGroup as group:
        errors = list(leaves(group))
        if any(isinstance(error, BrokenPipeError) for error in errors):
            raise Failure("standard output was closed by its reader", BROKEN_PIPE) from None
        if all(isinstance(error, trio.BrokenResourceError) for error in errors):
            # One task gets the connection's error, the other ENOTCONN.
            first = min(errors, key=lambda error: error_number(error) == errno.ENOTCONN)
            raise first from first.__cause__
        raise
