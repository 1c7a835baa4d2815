"""What ``tunstack serve`` does: the apps on a host, until a signal."""

from __future__ import annotations

from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_interface
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import trio

import tunstack
from tunstack.apps.serving import identities_for, need_tls, open_handlers, start_app
from tunstack.cli.options.host import stdout_beside
from tunstack.cli.options.page import NAMES
from tunstack.cli.output.reporting import Report, Reported
from tunstack.cli.running.execution import execute
from tunstack.cli.running.views import page_served, watched, watching
from tunstack.cli.running.worker_service import serve_apps
from tunstack.cli.status import Failure, OutputClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager

    from tunstack.apps import App
    from tunstack.cli.running.device import Device
    from tunstack.deploy.authority import Identity

    Apps: TypeAlias = tuple[tuple[App, int], ...]
    View: TypeAlias = Callable[[tunstack.Host], AbstractAsyncContextManager[None]]


def serve(
    apps: Apps,
    addresses: tuple[str, ...],
    device: Device,
    *,
    names: Iterable[str],
    pcap: str | None,
    trace: bool,
    page: int | None,
    watch: bool,
    workers: int | None,
) -> int:
    """Serve until a signal; returns the exit status.

    Args:
        apps: What is served, and its ports.
        addresses: tunstack's.
        device: Its options.
        names: Under which the host may be reached, beside those that it always has.
        pcap: The option.
        trace: The option.
        page: The option.
        watch: The option.
        workers: The option.
    """
    tapped = partial(watching, "tunstack serve", pcap=pcap, trace=trace)
    shown = partial(watched, watch=watch, program="tunstack serve", page=page)
    paged = partial(page_served, page=page, names=(*NAMES, *names))

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


@dataclass(frozen=True)
class _Served:
    apps: Apps
    identities: dict[str, Identity]


@contextmanager
def _certified(apps: Apps, addresses: tuple[str, ...], report: Report) -> Iterator[_Served]:
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
    device: Device,
    report: Report,
    tapped: Callable[[], AbstractAsyncContextManager[Callable[..., None] | None]],
    views: Iterable[View],
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
    served: _Served, addresses: tuple[str, ...], device: Device, report: Report, count: int
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
