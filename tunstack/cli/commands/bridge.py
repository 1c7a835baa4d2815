"""``tunstack bridge``: run a command across an impaired path to another kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from tunstack.cli.options.host import IMPAIR, IPV6, MTU, SEED
from tunstack.cli.options.keylog import KEYLOG
from tunstack.cli.options.parameters import OUTPUT

if TYPE_CHECKING:
    from tunstack.path.impair import Impairments

RIGHT: Final = "198.51.100.2"
RIGHT6: Final = "2001:db8::2"

_EPILOG = f"""\b
Examples:
  tunstack bridge --impair delay=10ms -- ping -c 3 {RIGHT}
  tunstack bridge --impair loss=5% -- ping -c 3 -s 4000 {RIGHT6}
  tunstack bridge --impair loss=1%,delay=10ms,rate=100mbit \\
      --server 'iperf3 -s' -- iperf3 -c {RIGHT} -C reno
  tunstack bridge --impair out:loss=5% --pcap x.pcapng \\
      --server 'nc -l -p 9000 >f' -- sh -c 'nc -N {RIGHT} 9000 </bin/sh'

The exit status is COMMAND's, as with `tunstack run`. With --pcap -, its output and the server's
are on standard error.
"""


@click.command(
    epilog=_EPILOG,
    context_settings={"allow_interspersed_args": False},
)
@IMPAIR
@click.option(
    "--server",
    metavar="COMMAND",
    help=f"Run this in a shell at {RIGHT} while COMMAND runs, which starts once it listens.",
)
@MTU
@IPV6
@click.option(
    "--pcap",
    type=OUTPUT,
    metavar="FILE",
    help="Write all packets to FILE (pcapng), with their fate on the path as a comment; - is"
    " standard output.",
)
@KEYLOG
@SEED
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def bridge(
    impair: tuple[Impairments, Impairments],
    server: str | None,
    mtu: int | None,
    ipv6: bool,
    pcap: str | None,
    seed: int | None,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND at 198.51.100.1, in a private network that a bridge connects to another one.

    The kernel is at both ends of a path with the impairments of --impair: `out:` applies to packets
    from COMMAND's network. The other end, 198.51.100.2, is in COMMAND's environment as
    TUNSTACK_HOST. The ends are 2001:db8::1 and 2001:db8::2 as well, if the MTU is at least 1280. At
    the end the path's packet counters are printed on standard error.
    """
    from tunstack.cli.running import bridge as running

    return running.bridge(command, impair, server=server, mtu=mtu, ipv6=ipv6, pcap=pcap, seed=seed)
