"""``tunstack run``: run a command in a private network with tunstack as its peer."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypedDict

import click
import trio

import tunstack
from tunstack.apps import APPS, App
from tunstack.apps.serving import identities_for, need_tls, open_handlers, start_app
from tunstack.cli.options import (
    IPV6,
    WORKERS,
    check_workers,
    host_options,
    names_options,
    read_apps,
    read_names,
    stdout_beside,
)
from tunstack.cli.page import NAMES, PAGE, check_page, page_served
from tunstack.cli.running import execute, in_foreground, run_inside, settle
from tunstack.cli.top.option import WATCH, check_watch, watched
from tunstack.cli.watching import watching
from tunstack.cli.worker_service import serve_apps
from tunstack.deploy.addresses import default_addresses
from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from typing import Unpack

    from tunstack.deploy.authority import Identity
    from tunstack.dns.names import Names
    from tunstack.path.impair import Impairments

_Apps: TypeAlias = "tuple[tuple[App, int], ...]"


class _Device(TypedDict):
    mtu: int | None
    seed: int | None
    impair: tuple[Impairments, Impairments]
    offload: bool


ADDRESS: Final = "198.51.100.2"
PORT: Final = 53
"""The name server's."""
_DEFAULT_APPS: Final = ("http", "https")
_SETTLE_SECONDS: Final = 0.25
"""Seconds for connections to close after the command has ended."""

_EPILOG = f"""\b
Examples:
  tunstack run -- curl http://{ADDRESS}/
  tunstack run -- curl https://{ADDRESS}/
  tunstack run -- curl 'http://[2001:db8::2]/'
  tunstack run --trace -- ping -c 3 {ADDRESS}
  tunstack run --stats -- curl https://peer.test/
  tunstack run --pcap x.pcapng -- curl -o f http://{ADDRESS}/bytes/1000000
  tunstack run --pcap - -- curl http://{ADDRESS}/ | tunstack trace -
  tunstack run --impair loss=1%,delay=20ms -- ab -n 9 http://{ADDRESS}/
  tunstack run --trace --serve echo -- socat - TCP:{ADDRESS}:7
  tunstack run --serve http,reset-after=99 -- curl peer.test/bytes/9999
  tunstack run --serve asgi=module:application -- curl https://{ADDRESS}/
  tunstack run --serve echo --serve http:8080 -- sh   (look around, then exit)
  tunstack run -- curl http://peer.test/
  tunstack run --name 'www.test=198.51.100.2,2001:db8::2' -- dig www.test AAAA
  tunstack run --name-fault '*.slow.test=delay:3' -- getent hosts a.slow.test
  tunstack run --watch -- ab -n 100000 -c 20 http://{ADDRESS}/
  tunstack run --page -- sh   (then: chromium http://{ADDRESS}:8000/)

The exit status is COMMAND's: 128+N when signal N ended it, 127 when it was not found, 126 when it
cannot be executed; 2 when the network could not be created. With --pcap -, COMMAND's output is on
standard error.
"""


@click.command(
    epilog=_EPILOG,
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "--serve",
    "apps",
    callback=read_apps,
    multiple=True,
    metavar="APP[:PORT][,HOW]...",
    help=f"Serve this on {ADDRESS}, http and https by default; may be repeated. Or serve"
    " asgi=module:application[:PORT], or the trio handler module:function:PORT."
    " How it misbehaves may follow, as in http:80,reset-after=4096: see tunstack behaviours."
    f" Apps: {', '.join(APPS)}.",
)
@names_options
@click.option(
    "--dns/--no-dns",
    default=True,
    help="Whether tunstack is a DNS server too, on port 53, which COMMAND finds in its"
    " /etc/resolv.conf; it is by default.",
)
@click.option(
    "--stats",
    is_flag=True,
    help="Print at the end where the time of each TCP connection went, on standard error.",
)
@PAGE
@WATCH
@host_options
@IPV6
@WORKERS
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    apps: _Apps,
    names: tuple[str, ...],
    zones: tuple[str, ...],
    faults: tuple[str, ...],
    dns: bool,
    pcap: str | None,
    trace: bool,
    stats: bool,
    page: int | None,
    watch: bool,
    ipv6: bool,
    workers: int | None,
    command: tuple[str, ...],
    **device: Unpack[_Device],
) -> int:
    """Run COMMAND in a private network, with tunstack at 198.51.100.2 and 2001:db8::2.

    The network is a network namespace of its own: COMMAND has the addresses 198.51.100.1 and
    2001:db8::1, and reaches tunstack, whose addresses are in the environment as TUNSTACK_HOST and
    TUNSTACK_HOST6, through a TUN device. With an MTU below 1280 there is no IPv6. No root is
    needed where /dev/net/tun may be opened, and nothing on the machine is changed.

    For COMMAND, and for it only, names are looked up at tunstack: peer.test, and all names below
    it, are tunstack's address.

    Certificates are for these names and tunstack's addresses. Their authority is in the environment
    too, as SSL_CERT_FILE, CURL_CA_BUNDLE and what else programs read, so that they verify them.
    """
    apps = apps or tuple((APPS[name], APPS[name].port) for name in _DEFAULT_APPS)
    known = _names(names, zones, faults, apps) if dns else None
    if known is not None:
        apps = tuple((app, port) for app, port in apps if port != PORT)
    check_workers(workers, pcap=pcap, trace=trace, stats=stats, apps=apps)
    check_page(page, apps, workers=workers, dns=dns)
    check_watch(watch, trace=trace, workers=workers)
    it = _Run(
        command,
        apps,
        known,
        device,
        ipv6=ipv6,
        pcap=pcap,
        trace=trace,
        stats=stats,
        page=page,
        watch=watch,
    )
    return execute("tunstack run", partial(it.main, workers), ignore=it.is_for_the_command)


class _Run:
    """The network, the host and the command."""

    def __init__(
        self,
        command: tuple[str, ...],
        apps: _Apps,
        names: Names | None,
        device: _Device,
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

    def is_for_the_command(self, number: int) -> bool:
        """Whether a signal is the command's to handle.

        The terminal has sent SIGINT to the command too, which decides what it means.
        """
        if number != signal.SIGINT or not self._running:
            return False
        return in_foreground(controlling=self._watch)

    async def main(self, workers: int | None) -> int:
        """Return the exit status of the command."""
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

    async def _in_workers(
        self, count: int, namespace: tunstack.Namespace, addresses: tuple[str, ...]
    ) -> int:
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


def _names(
    names: tuple[str, ...],
    zones: tuple[str, ...],
    faults: tuple[str, ...],
    apps: _Apps,
) -> Names:
    """The names of the network.

    Raises:
        click.UsageError: they are malformed, or another app has the name server's port.
    """
    for app, port in apps:
        if port == PORT and app.name != "dns":
            raise click.UsageError(
                f"port {PORT} is the DNS server's: write --no-dns, or another port for {app.name}"
            )
        if port == PORT and app.behaviours:
            raise click.UsageError(
                f"the DNS server of the network has no behaviours: write --no-dns for"
                f" --serve {app}, or --name-fault"
            )
    try:
        return read_names(names, zones, faults, ())
    except SetupError as error:
        raise click.UsageError(f"{error}, or write --no-dns") from None
