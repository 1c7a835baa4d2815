"""``tunstack serve``: the small services on an address of the current network namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import trio

import tunstack
from tunstack.apps import APPS, App
from tunstack.cli.counting import CountedStream, describe
from tunstack.cli.options import on_this_network, read_apps, watched
from tunstack.cli.running import execute
from tunstack.cli.watching import watching

if TYPE_CHECKING:
    from pathlib import Path

_EPILOG = f"""\b
Examples:
  sudo tunstack serve http --address 198.51.100.2/24     then: curl http://198.51.100.2/
  sudo tunstack serve echo chargen http:8080 --address 10.9.0.2/24 --device-name tun7
  tunstack run -- sh -c 'tunstack serve echo --address 203.0.113.2/24 & sh'     without root

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
    pcap: Path | None,
    trace: bool,
    seed: int | None,
) -> int:
    """Serve each APP on an address that tunstack answers for, until a signal.

    A TUN device leads there, in the current network namespace: that takes root, or the capability
    CAP_NET_ADMIN. A line is printed when a connection opens and when it closes.
    """

    async def main() -> int:
        totals = Totals()
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
                ) as host,
                trio.open_nursery() as nursery,
            ):
                for app, port in apps:
                    await nursery.start(host.serve_tcp, Reported(app, port, totals), port)
                    click.echo(f"{app.name} on {host.addresses[0].ip}:{port}")
        finally:
            if totals.connections:
                click.echo(str(totals))
        return 0

    return execute("tunstack serve", main)


@dataclass
class Totals:
    """What was served in all."""

    connections: int = 0
    broken: int = 0
    received: int = 0
    sent: int = 0

    def __str__(self) -> str:
        plural = "" if self.connections == 1 else "s"
        return (
            f"{self.connections} connection{plural}, {self.broken} of them broken;"
            f" {self.received} bytes in, {self.sent} bytes out"
        )


class Reported:
    """A handler that runs an app's, and prints how each connection begins and ends."""

    def __init__(self, app: App, port: int, totals: Totals) -> None:
        self._label = f"{app.name}:{port}"
        self._handler = app.handler
        self._totals = totals

    async def __call__(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        address, port = stream.socket.getpeername()[:2]
        who = f"{address}:{port} {self._label}"
        counted = CountedStream(stream)
        begun = trio.current_time()
        self._totals.connections += 1
        click.echo(f"{who} open")
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
            self._end(who, how, counted, trio.current_time() - begun)

    def _end(self, who: str, how: str, counted: CountedStream, seconds: float) -> None:
        self._totals.broken += how != "closed"
        self._totals.received += counted.received
        self._totals.sent += counted.sent
        click.echo(
            f"{who} {how}: {counted.received} bytes in, {counted.sent} bytes out, {seconds:.3f} s"
        )
