"""The measured server: one trio program, over tunstack or over kernel sockets.

``python -m tunstack.bench.server BACKEND ADDRESS`` runs in the current network namespace. The
backends differ only in what creates trio's sockets. It prints its usage as a line of JSON when it
listens, and once for each line of standard input, and ends at the end of that. Some services are
served by `Host.serve_tcp` as well, and over kernel sockets by `trio.serve_tcp`, at ports of their
own.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import resource
import signal
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import trio

import tunstack
from tunstack.bench.answering import ANSWER, Answers
from tunstack.bench.iperf import Iperf, IperfError
from tunstack.bench.ports import ECHO, HOLD, HTTP, IPERF, PROTOCOL, SERVED, SINK, SOURCE
from tunstack.bench.sampling import fold, sample
from tunstack.bench.usage import usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

HOST_BITS: Final = 4
"""Bits of an address in each server's network: sixteen networks fit into 198.51.100.0/24."""

_WRITE_SIZE: Final = 1 << 18
_LONGEST_DATAGRAM: Final = 65535


async def sink(stream: trio.SocketStream) -> None:
    """Receive and discard, up to the end of the stream."""
    async for _ in stream:
        pass


async def source(stream: trio.SocketStream) -> None:
    """Send until the peer closes the connection."""
    piece = bytes(_WRITE_SIZE)
    while True:
        await stream.send_all(piece)


async def echo(stream: trio.SocketStream) -> None:
    """Send back everything received."""
    async for data in stream:
        await stream.send_all(data)


async def echo_datagrams(address: str) -> None:
    """Send back every datagram that comes to `ECHO`."""
    family = trio.socket.AF_INET6 if ":" in address else trio.socket.AF_INET
    sock = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
    with sock:
        await sock.bind((address, ECHO))
        while True:
            data, source = await sock.recvfrom(_LONGEST_DATAGRAM)
            await sock.sendto(data, source)


async def answer(stream: trio.SocketStream) -> None:
    """Answer HTTP requests without a body; HTTP/1.1 connections are persistent."""
    pending = b""
    async for data in stream:
        pending += data
        if pending.endswith(b"\r\n\r\n"):
            await stream.send_all(ANSWER * pending.count(b"\r\n\r\n"))
            if b"HTTP/1.0\r\n" in pending:
                return
            pending = b""


class AnswerProtocol(Answers, tunstack.Protocol):
    """The same by callbacks."""


SERVICES: Final = {ECHO: echo, SINK: sink, SOURCE: source, HTTP: answer, IPERF: Iperf().serve}
"""The handler of each port, run in a task per connection; connections to `HOLD` have no task."""


@final
class _Connections:
    """Accepts and counts connections, and reports usage."""

    def __init__(self) -> None:
        self.accepted = 0

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        handler: Callable[[trio.SocketStream], Awaitable[None]],
    ) -> None:
        """Run `handler` in a task for each connection."""
        await trio.serve_listeners(self.counted(handler), listeners)

    def counted(
        self, handler: Callable[[trio.SocketStream], Awaitable[None]]
    ) -> Callable[[trio.SocketStream], Awaitable[None]]:
        """Return `handler`, whose connections are counted and may break."""

        async def handle(stream: trio.SocketStream) -> None:
            self.accepted += 1
            # Clients end in the middle of a transfer when their time is up.
            with suppress(trio.BrokenResourceError, IperfError):
                await handler(stream)

        return handle

    async def hold(self, listeners: list[trio.SocketListener]) -> None:
        """Accept connections, and keep them open without a task."""
        held = []
        while True:
            sock, _ = await listeners[0].socket.accept()
            held.append(sock)
            self.accepted += 1

    async def report(self) -> None:
        """Print the usage, now and for each line of standard input."""
        print(json.dumps(self._usage()), flush=True)
        async with trio.lowlevel.FdStream(sys.stdin.fileno()) as questions:
            async for lines in questions:
                for _ in range(lines.count(b"\n")):
                    print(json.dumps(self._usage()), flush=True)

    def _usage(self) -> dict[str, float]:
        return usage() | {"accepted": self.accepted}


@asynccontextmanager
async def _open_backend(
    backend: str, address: str, *, crowd: bool, offload: bool
) -> AsyncIterator[tunstack.Host | None]:
    """Have trio create its sockets on the backend; yields the host, if there is one."""
    if backend == "kernel":
        await trio.lowlevel.checkpoint()
        yield None
        return
    ours = ip_address(address)
    prefix = ours.max_prefixlen - HOST_BITS
    limits = tunstack.Limits(connections=1 << 17, memory=1 << 30) if crowd else None
    async with tunstack.open_host(
        f"{address}/{prefix}", peer=ours - 1, limits=limits, offload=offload
    ) as host:
        with host.socket_factory():
            yield host


async def _serve(backend: str, address: str, *, crowd: bool, offload: bool, tls: bool) -> None:
    services = SERVICES | _tls_services(backend) if tls else SERVICES
    connections = _Connections()
    async with (
        _open_backend(backend, address, crowd=crowd, offload=offload) as host,
        trio.open_nursery() as nursery,
    ):
        for port, handler in services.items():
            listeners = await trio.open_tcp_listeners(port, host=address)
            nursery.start_soon(connections.serve, listeners, handler)
        for port, served in SERVED.items():
            counted = connections.counted(services[port])
            serve = trio.serve_tcp if host is None else host.serve_tcp
            await nursery.start(partial(serve, counted, served, host=address))
        if host is not None:
            await nursery.start(host.serve_protocol, AnswerProtocol, PROTOCOL)
        nursery.start_soon(echo_datagrams, address)
        nursery.start_soon(connections.hold, await trio.open_tcp_listeners(HOLD, host=address))
        await connections.report()
        nursery.cancel_scope.cancel()


def _tls_services(backend: str) -> dict[int, Callable[[trio.SocketStream], Awaitable[None]]]:
    from tunstack.bench.tls import services  # It takes long to import.

    return services(backend)


@contextmanager
def _profiled(samples: Path | None, calls: Path | None) -> Iterator[None]:
    """Profile the block into one of these files, if given."""
    if samples is not None:
        with sample() as found:
            yield
        samples.write_text(fold(found))
    elif calls is not None:
        with cProfile.Profile() as profile:
            yield
        profile.dump_stats(calls)
    else:
        yield


def allow_descriptors(wanted: int) -> None:
    """Raise RLIMIT_NOFILE to `wanted`, or as far as permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # Only root may raise the hard limit.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("backend", choices=["tunstack", "kernel"])
    parser.add_argument("address")
    parser.add_argument("--crowd", action="store_true", help="allow for 100,000 connections")
    parser.add_argument("--no-offload", action="store_true", help="as tunstack's own option")
    parser.add_argument("--tls", action="store_true", help="serve over TLS as well")
    parser.add_argument(
        "--uvloop", action="store_true", help="over kernel sockets: HTTP by asyncio on uvloop"
    )
    parser.add_argument("--files", type=int, default=20_000, help="that may be open")
    parser.add_argument("--samples", type=Path, help="where to write sampled stacks")
    parser.add_argument("--calls", type=Path, help="where to write cProfile's profile")
    arguments = parser.parse_args()
    # The parent handles Ctrl-C, and then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    allow_descriptors(arguments.files)
    if arguments.uvloop:
        from tunstack.bench.uvloop_server import serve

        serve(arguments.address)
        return
    try:
        with _profiled(arguments.samples, arguments.calls):
            crowd, offload = arguments.crowd, not arguments.no_offload
            trio.run(
                lambda: _serve(
                    arguments.backend,
                    arguments.address,
                    crowd=crowd,
                    offload=offload,
                    tls=arguments.tls,
                )
            )
    except tunstack.SetupError as error:
        print(json.dumps({"error": str(error)}), flush=True)


if __name__ == "__main__":
    main()
