"""``tunstack serve``: run the apps on an address in the current network namespace."""

from __future__ import annotations

from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_interface
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, TypedDict

import click
import trio

import tunstack
from tunstack.apps import APPS, App
from tunstack.apps.serving import identities_for, need_tls, open_handlers, start_app
from tunstack.cli.options import (
    WORKERS,
    check_workers,
    host_options,
    names_options,
    network_options,
    read_apps,
    read_names,
    stdout_beside,
)
from tunstack.cli.page import NAMES, PAGE, check_page, page_served
from tunstack.cli.reporting import Report, Reported
from tunstack.cli.running import execute
from tunstack.cli.status import Failure, OutputClosed
from tunstack.cli.top.option import WATCH, check_watch, watched
from tunstack.cli.watching import watching
from tunstack.cli.worker_service import serve_apps
from tunstack.deploy.naming import own_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager

    from tunstack.cli.watching import Tap
    from tunstack.deploy.authority import Identity
    from tunstack.dns.names import Names
    from tunstack.path.impair import Impairments


_Apps: TypeAlias = "tuple[tuple[App, int], ...]"


class _Device(TypedDict):
    name: str | None
    peer: tuple[str, ...] | None
    mtu: int | None
    seed: int | None
    impair: tuple[Impairments, Impairments]
    offload: bool


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
    apps: _Apps,
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
        known = read_names(names, zones, faults, own_addresses(addresses))
        apps = _with_names(apps, known)
    tapped = partial(watching, "tunstack serve", pcap=pcap, trace=trace)
    shown = partial(watched, watch=watch, program="tunstack serve", page=page)
    paged = partial(page_served, page=page, names=(*NAMES, *(known.names() if known else ())))
    device: _Device = {
        "name": device_name,
        "peer": kernel_addresses or None,
        "mtu": mtu,
        "seed": seed,
        "impair": impair,
        "offload": offload,
    }

    async def main() -> int:
        async with trio.open_nursery() as nursery:
            report = Report(nursery.cancel_scope, stderr=stdout_beside(pcap) is not None)
            try:
                with _certified(apps, addresses, report) as served:
                    if workers is None:
                        views = partial(shown, quit=nursery.cancel_scope.cancel), paged
                        await _in_this_process(served, addresses, device, report, tapped, views)
                    else:
                        await _in_workers(served, addresses, device, report, workers)
            finally:
                report.print_totals()
        if report.closed:
            raise OutputClosed
        return 0

    return execute("tunstack serve", main)


def _with_names(apps: _Apps, names: Names) -> _Apps:
    """Let the app that serves names serve these.

    Raises:
        click.UsageError: there is none.
    """
    if all(app.name != "dns" for app, _ in apps):
        raise click.UsageError("--name, --zone and --name-fault are for the app dns")
    return tuple((app.with_names(names), port) for app, port in apps)


@dataclass(frozen=True)
class _Served:
    apps: _Apps
    identities: dict[str, Identity]


@contextmanager
def _certified(apps: _Apps, addresses: tuple[str, ...], report: Report) -> Iterator[_Served]:
    """Issue the certificates of apps over TLS, and say where their authority's is."""
    if not need_tls(apps):
        yield _Served(apps, {})
        return
    with tunstack.Authority() as authority:
        names = [*NAMES, *_single(addresses)]
        report.say(f"authority: {authority.certificate}")
        yield _Served(apps, identities_for(apps, authority, names))


def _single(addresses: tuple[str, ...]) -> Iterator[str]:
    """The addresses; those of a network that the host has whole, up to 256 of them."""
    for text in addresses:
        try:
            interface = ip_interface(text)
        except ValueError:  # Opening the host says what is wrong.
            continue
        if interface.ip == interface.network.network_address:
            yield from map(str, islice(interface.network, 256))
        else:
            yield str(interface.ip)


async def _in_this_process(
    served: _Served,
    addresses: tuple[str, ...],
    device: _Device,
    report: Report,
    tapped: Callable[[], AbstractAsyncContextManager[Tap | None]],
    views: Iterable[Callable[[tunstack.Host], AbstractAsyncContextManager[None]]],
) -> None:
    """Serve until cancelled, with one host in this process, which `views` show."""
    async with (
        tapped() as tap,
        tunstack.open_host(*addresses, tap=tap, **device) as host,
        open_handlers(served.apps, served.identities) as handlers,
        AsyncExitStack() as showing,
    ):
        for view in views:
            await showing.enter_async_context(view(host))
        async with trio.open_nursery() as serving:
            for (app, port), handler in zip(served.apps, handlers, strict=True):
                await start_app(serving, host, app, port, Reported(app, port, report, handler))
                report.serves(app, addresses, port)


async def _in_workers(
    served: _Served, addresses: tuple[str, ...], device: _Device, report: Report, count: int
) -> None:
    """Serve until cancelled, with a host in `count` worker processes."""
    apps = served.apps
    service = partial(serve_apps, apps=apps, identities=served.identities, reports=True)
    try:
        async with tunstack.open_workers(
            service, count, *addresses, on_message=report.handle_message, **device
        ):
            for app, port in apps:
                report.serves(app, addresses, port)
            await trio.sleep_forever()
    except OSError as error:
        raise Failure(error.strerror or str(error)) from error
