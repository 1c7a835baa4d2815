"""``tunstack run``: run a command in a private network with tunstack as its peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from tunstack.apps import APPS
from tunstack.cli.options.apps import WORKERS, check_workers, read_apps
from tunstack.cli.options.host import IPV6, host_options
from tunstack.cli.options.names import names_options, read_names
from tunstack.cli.options.page import PAGE, check_page
from tunstack.cli.options.watch import WATCH, check_watch
from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from typing import Unpack

    from tunstack.cli.running.device import Common as Device
    from tunstack.cli.running.run import Apps
    from tunstack.dns.names import Names

ADDRESS: Final = "198.51.100.2"
PORT: Final = 53
"""The name server's."""
_DEFAULT_APPS: Final = ("http", "https")

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
    apps: Apps,
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
    **device: Unpack[Device],
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
    from tunstack.cli.running.run import Run

    return Run(
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
    ).execute(workers)


def _names(
    names: tuple[str, ...],
    zones: tuple[str, ...],
    faults: tuple[str, ...],
    apps: Apps,
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
