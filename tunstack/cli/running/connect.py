"""What ``tunstack connect`` does: data between the standard streams and a connection."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Final, Protocol

import trio

import tunstack
from tunstack.cli.output.counting import describe, error_number
from tunstack.cli.running import destination
from tunstack.cli.running.execution import execute, leaves, settle
from tunstack.cli.running.views import watching
from tunstack.cli.status import (
    BROKEN,
    OUTPUT_CLOSED,
    REFUSED,
    RESET,
    TIMED_OUT,
    UNREACHABLE,
    Failure,
)

if TYPE_CHECKING:
    from typing import Unpack

    from tunstack.cli.running.device import Device

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


def connect(
    host: str,
    port: int,
    addresses: tuple[str, ...],
    *,
    udp: bool,
    wait: float | None,
    pcap: str | None,
    trace: bool,
    **device: Unpack[Device],
) -> int:
    """Connect from `addresses`, and copy; returns the exit status.

    Args:
        host: The destination, by address or name.
        port: Its port.
        addresses: tunstack's.
        udp: The option.
        wait: The option.
        pcap: The option.
        trace: The option.
        device: The options of the device.
    """

    async def main() -> int:
        async with (
            watching("tunstack connect", pcap=pcap, trace=trace) as tap,
            tunstack.open_host(
                *addresses,
                tap=tap,
                **device,
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
                status = _STATUS.get(error_number(error) or 0, BROKEN)
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
            status = _STATUS.get(error_number(error) or 0, BROKEN)
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
            raise Failure("standard output was closed by its reader", OUTPUT_CLOSED) from None
        first = errors[0]
        if not isinstance(first, OSError):
            raise
        raise _failed(first, host, port) from None


def _failed(error: OSError, host: str, port: int) -> Failure:
    if isinstance(error, socket.gaierror) or (error.errno or 0) < 0:
        return Failure(f"{host}: not an address, nor the name of one")
    status = _STATUS.get(error_number(error) or 0, BROKEN)
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
            raise Failure("standard output was closed by its reader", OUTPUT_CLOSED) from None
        if all(isinstance(error, trio.BrokenResourceError) for error in errors):
            # One task gets the connection's error, the other ENOTCONN.
            first = min(errors, key=lambda error: error_number(error) == errno.ENOTCONN)
            raise first from first.__cause__
        raise
