"""What ``tunstack run`` does: a private network, a host in it, and the command."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

import tunstack
from tunstack.apps.serving import identities_for, need_tls, open_handlers, start_app
from tunstack.cli.options.host import stdout_beside
from tunstack.cli.options.page import NAMES
from tunstack.cli.running.execution import execute, in_foreground, run_inside, settle
from tunstack.cli.running.views import page_served, watched, watching
from tunstack.deploy.addresses import default_addresses

if TYPE_CHECKING:
    from tunstack.apps import App
    from tunstack.cli.running.device import Common as Device
    from tunstack.deploy.authority import Identity
    from tunstack.dns.names import Names

    Apps: TypeAlias = tuple[tuple[App, int], ...]

_SETTLE_SECONDS: Final = 0.25
"""Seconds for connections to close after the command has ended."""


class Run:
    """The network, the host and the command."""

    def __init__(
        self,
        command: tuple[str, ...],
        apps: Apps,
        names: Names | None,
        device: Device,
        *,
        ipv6: bool,
        pcap: str | None,
        trace: bool,
        stats: bool,
        page: int | None,
        watch: bool,
    ) -> None:
        self._command = command
        self._apps = apps
        self._names = names
        self._device = device
        self._ipv6 = ipv6
        self._pcap = pcap
        self._page = page
        self._is_recorded = pcap is not None or trace or stats
        self._watch = watch
        self._watching = partial(
            watching,
            "tunstack run",
            pcap=pcap,
            trace=trace,
            stats=stats,
            names=("kernel", "tunstack"),
        )
        self._environment: dict[str, str] = {}
        self._identities: dict[str, Identity] = {}
        self._running = False

    def _is_for_the_command(self, number: int) -> bool:
        """Whether a signal is the command's to handle.

        The terminal has sent SIGINT to the command too, which decides what it means.
        """
        if number != signal.SIGINT or not self._running:
            return False
        return in_foreground(controlling=self._watch)

    def execute(self, workers: int | None) -> int:
        """Return the exit status."""
        main = partial(self._main, workers)
        return execute("tunstack run", main, ignore=self._is_for_the_command)

    async def _main(self, workers: int | None) -> int:
        """Return the exit status of the command."""
        if self._is_recorded:
            self._load()
        with ExitStack() as stack:
            tls = need_tls(self._apps)
            authority = stack.enter_context(tunstack.Authority()) if tls else None
            async with tunstack.open_namespace(self._names) as namespace:
                addresses = default_addresses(
                    self._device["mtu"], ipv6=self._ipv6, sysctl=namespace.sysctl
                )
                if authority is not None:
                    self._environment.update(authority.environment())
                    certified = {*self._all_names, *(_alone(each) for each in addresses)}
                    self._identities.update(
                        identities_for(self._apps, authority, sorted(certified))
                    )
                if workers is None:
                    return await self._in_this_process(namespace, addresses)
                return await self._in_workers(workers, namespace, addresses)

    @property
    def _all_names(self) -> tuple[str, ...]:
        """The names of the host."""
        return (*NAMES, *(() if self._names is None else self._names.names()))

    async def _in_this_process(
        self, namespace: tunstack.Namespace, addresses: tuple[str, ...]
    ) -> int:
        command = trio.CancelScope()
        async with (
            self._watching() as tap,
            namespace.open_host(*addresses, tap=tap, **self._device) as host,
            open_handlers(self._apps, self._identities) as handlers,
            watched(host, self._watch, "tunstack run", command.cancel, page=self._page),
            page_served(host, self._page, self._all_names),
            trio.open_nursery() as nursery,
        ):
            for (app, port), handler in zip(self._apps, handlers, strict=True):
                await start_app(nursery, host, app, port, handler, by_protocol=True)
            status = await self._run_and_settle(namespace, host, addresses, command)
            nursery.cancel_scope.cancel()
        return status

    def _load(self) -> None:
        """Import what the first connections and look-ups would otherwise have to wait for."""
        for app, _ in self._apps:
            app.load()
        if self._names is not None:
            _ = self._names.zones

    async def _in_workers(
        self, count: int, namespace: tunstack.Namespace, addresses: tuple[str, ...]
    ) -> int:
        from tunstack.cli.running.worker_service import serve_apps

        service = partial(serve_apps, apps=self._apps, identities=self._identities, reports=False)
        async with namespace.open_workers(service, count, *addresses, **self._device) as workers:
            return await self._run_and_settle(namespace, workers, addresses, trio.CancelScope())

    async def _run_and_settle(
        self,
        namespace: tunstack.Namespace,
        host: tunstack.Host | tunstack.Workers,
        addresses: tuple[str, ...],
        command: trio.CancelScope,
    ) -> int:
        """Run the command, and give connections some time to close.

        When the scope `command` is cancelled, SIGTERM ends the command.
        """
        self._running = True
        status = 128 + signal.SIGTERM
        with command:
            status = await run_inside(
                namespace,
                self._command,
                *map(_alone, addresses),
                stdout=stdout_beside(self._pcap),
                environment=self._environment,
            )
        self._running = False
        with trio.move_on_after(_SETTLE_SECONDS):
            await settle(host)
        return status


def _alone(address: str) -> str:
    """An address without the length of its prefix."""
    return address.partition("/")[0]
