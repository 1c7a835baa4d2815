"""``tunstack serve``: run the apps on an address in the current network namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tunstack.apps import APPS
from tunstack.cli.options.apps import WORKERS, check_workers, read_apps
from tunstack.cli.options.host import host_options, network_options
from tunstack.cli.options.names import names_options, read_names
from tunstack.cli.options.page import PAGE, check_page
from tunstack.cli.options.watch import WATCH, check_watch

if TYPE_CHECKING:
    from tunstack.cli.running.device import Device
    from tunstack.cli.running.serve import Apps
    from tunstack.dns.names import Names
    from tunstack.path.impair import Impairments

_EPILOG = f"""\b
Examples:
  sudo tunstack serve http --address 198.51.100.2/24
      then: curl http://198.51.100.2/
  sudo tunstack serve http --workers 4 --address 198.51.100.2/24
  sudo tunstack serve echo http:80,reset-after=4096 --address 10.9.0.2/24
  sudo tunstack serve echo http:8080 --address 10.9.0.2/24 --device-name tun7
  sudo tunstack serve http --watch --address 198.51.100.2/24
  sudo tunstack serve http --page --address 198.51.100.2/24
      then, in a browser: http://198.51.100.2:8000/
  tunstack run -- sh -c 'tunstack serve echo --address 198.51.100.130/25 & sh'
      without root

\b
Apps:
{chr(10).join(f"  {app.name:<17} {app.port:>4} {app.summary}" for app in APPS.values())}
  asgi=module:application     an ASGI application, on 80 and over TLS on 443
  module:function:PORT        a trio handler of your own

How an app misbehaves is written behind it: tunstack behaviours lists it.

Echo, discard, chargen and dns are served over UDP as well. What is served over TLS shows a
certificate for its addresses and peer.test, by an authority whose certificate is in the file that
is named.

It serves until a signal ends it, and then exits with 130 (SIGINT) or 143 (SIGTERM); with 2 when it
could not start.
"""


@click.command(epilog=_EPILOG)
@click.argument("apps", callback=read_apps, nargs=-1, required=True, metavar="APP[:PORT][,HOW]...")
@names_options
@network_options
@PAGE
@WATCH
@host_options
@WORKERS
def serve(
    apps: Apps,
    names: tuple[str, ...],
    zones: tuple[str, ...],
    faults: tuple[str, ...],
    addresses: tuple[str, ...],
    kernel_addresses: tuple[str, ...],
    device_name: str | None,
    mtu: int | None,
    impair: tuple[Impairments, Impairments],
    offload: bool,
    pcap: str | None,
    trace: bool,
    seed: int | None,
    page: int | None,
    watch: bool,
    workers: int | None,
) -> int:
    """Serve each APP on addresses of tunstack's, until a signal.

    They are reached through a TUN device in the current network namespace, which needs root or the
    capability CAP_NET_ADMIN. A line is printed when a connection opens and when it closes,
    on standard error with --pcap -.
    """
    check_workers(workers, pcap=pcap, trace=trace, apps=apps)
    check_page(page, apps, workers=workers)
    check_watch(watch, trace=trace, workers=workers)
    known = None
    if names or zones or faults or any(app.name == "dns" for app, _ in apps):
        from tunstack.deploy.naming import own_addresses

        known = read_names(names, zones, faults, own_addresses(addresses))
        apps = _with_names(apps, known)
    device: Device = {
        "name": device_name,
        "peer": kernel_addresses or None,
        "mtu": mtu,
        "seed": seed,
        "impair": impair,
        "offload": offload,
    }

    from tunstack.cli.running import serve as running

    return running.serve(
        apps,
        addresses,
        device,
        names=known.names() if known else (),
        pcap=pcap,
        trace=trace,
        page=page,
        watch=watch,
        workers=workers,
    )


def _with_names(apps: Apps, names: Names) -> Apps:
    """Let the app that serves names serve these.

    Raises:
        click.UsageError: there is none.
    """
    if all(app.name != "dns" for app, _ in apps):
        raise click.UsageError("--name, --zone and --name-fault are for the app dns")
    return tuple((app.with_names(names), port) for app, port in apps)
