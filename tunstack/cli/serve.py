"""``tunstack serve``: the small services on an address of the current network namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import trio

import tunstack
from tunstack.apps import APPS, App
from tunstack.cli.counting import CountedStream, describe
from tunstack.cli.options import on_this_network, read_apps, watched
from tunstack.cli.running import Unread, execute
from tunstack.cli.watching import watching

if TYPE_CHECKING:
    from pathlib import Path

    from tunstack.link.impair import Impairments

_EPILOG = f"""\b
Examples:
  sudo tunstack serve http --address 198.51.100.2/24     then: curl http://198.51.100.2/
  sudo tunstack serve echo chargen http:8080 --address 10.9.0.2/24 --device-name tun7
  tunstack run -- sh -c 'tunstack serve echo --address 198.51.100.130/25 & sh'     without root

\b
Apps:
{chr(10).join(f"  {app.name:<8} {app.port:>3}  {app.summary}" for app in APPS.values())}

It serves until a signal ends it, and then exits with 130 (SIGINT) or 143 (SIGTERM); with 2 when it
could not begin.
"""


@click.command(short_help="Serve small services on an address.", epilog=_EPILOG)
@click.argument("apps", callback=read_apps, nargs=-1, required=True, metavar="APP[:PORT]...")
@on_this_network
@watched
def serve(
    apps: tuple[tuple[App, int], ...],
    address: str,
    kernel_address: str | None,
    device_name: str | None,
    mtu: int | None,
    impair: tuple[Impairments, Impairments],
    offload: bool,
    pcap: Path | None,
    trace: bool,
    seed: int | None,
) -> int:
    """Serve each APP on an address that tunstack answers for, until a signal.

    A TUN device leads there, in the current network namespace: that takes root, or the capability
    CAP_NET_ADMIN. A line is printed when a connection opens and when it closes.
    """

    async def main() -> int:
        async with trio.open_nursery() as nursery:
            report = Report(nursery.cancel_scope)
            try:
                async with (
                    watching(pcap=pcap, trace=trace) as tap,
                    tunstack.open_host(
                        address,
                        name=device_name,
                        peer=kernel_address,
                        mtu=mtu,
                        seed=seed,
                        tap=tap,
                        impair=impair,
                        offload=offload,
                    ) as host,
                    trio.open_nursery() as serving,
                ):
                    for app, port in apps:
                        handler = Reported(app, port, report)
                        await serving.start(host.serve_tcp, handler, port)
                        report.say(f"{app.name} on {host.addresses[0].ip}:{port}")
            finally:
                report.sum_up()
        if report.unread:
            raise Unread
        return 0

    return execute("tunstack serve", main)


class Report:
    """The lines that are printed, and what was served in all.

    Args:
        scope: Cancelled when nobody reads the lines any more.

    Attributes:
        unread: Whether that is so.
    """

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self._connections = self._broken = self._received = self._sent = 0
        self.unread = False

    def say(self, line: str) -> None:
        """Print a line."""
        if self.unread:
            return
        try:
            click.echo(line)
        except BrokenPipeError:
            self.unread = True
            self._scope.cancel()

    def count(self, stream: CountedStream, *, broken: bool) -> None:
        """Add a connection that has ended."""
        self._connections += 1
        self._broken += broken
        self._received += stream.received
        self._sent += stream.sent

    def sum_up(self) -> None:
        """Print the totals, if there were connections."""
        if self._connections:
            plural = "" if self._connections == 1 else "s"
            self.say(
                f"{self._connections} connection{plural}, {self._broken} of them broken;"
                f" {self._received} bytes in, {self._sent} bytes out"
            )


class Reported:
    """A handler that runs an app's, and reports how each connection begins and ends."""

    def __init__(self, app: App, port: int, report: Report) -> None:
        self._label = f"{app.name}:{port}"
        self._handler = app.handler
        self._report = report

    async def __call__(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        who = f"{_peer_of(stream)} {self._label}"
        counted = CountedStream(stream)
        begun = trio.current_time()
        self._report.say(f"{who} open")
        how = "closed"
        try:
            await self._handler(counted)
        except trio.Cancelled:
            how = "interrupted"
            raise
        except BaseException as error:
            how = f"failed: {error!r}"
            raise
        finally:
            if counted.broken is not None:
                how = describe(counted.broken)
            self._report.count(counted, broken=how != "closed")
            self._report.say(
                f"{who} {how}: {counted.received} bytes in, {counted.sent} bytes out,"
                f" {trio.current_time() - begun:.3f} s"
            )


def _peer_of(stream: trio.SocketStream) -> str:
    try:
        address, port = stream.socket.getpeername()[:2]
    except OSError:  # It has reset the connection before its turn came.
        return "(gone)"
    return f"{address}:{port}"
