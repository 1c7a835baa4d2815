"""``tunstack bench``: compare one program over tunstack and over kernel sockets."""

from __future__ import annotations

import click

from tunstack.bench.groups import NAMES
from tunstack.cli.options.parameters import OUTPUT, Number, refuse_to_share

_EPILOG = """\b
Examples:
  tunstack bench
  tunstack bench --quick --json result.json --plot result.svg
  tunstack bench --only requests --only roundtrip --pairs 10
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--json",
    "file",
    type=OUTPUT,
    metavar="FILE",
    help="Write every figure to FILE, or to standard output: -.",
)
@click.option(
    "--plot",
    type=OUTPUT,
    metavar="FILE",
    help="Draw the ratios into FILE, SVG or PNG as it ends, or on standard output in SVG: -.",
)
@click.option("--quick", is_flag=True, help="Take four minutes, not sixteen, with less precision.")
@click.option(
    "--pairs", type=click.IntRange(1, 100), help="Runs over tunstack, and over kernel sockets.  [5]"
)
@click.option("--seconds", type=Number(0.1, 60), help="Of each run.  [2]")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(NAMES),
    metavar="NAME",
    help=f"Measure only this; may be given again: {', '.join(NAMES)}.",
)
@click.option("--no-offload", is_flag=True, help="Run tunstack without offload.")
@click.option("--own-clients", is_flag=True, help="Do not use wrk, ab and iperf3.")
def bench(
    file: str | None,
    plot: str | None,
    quick: bool,
    pairs: int | None,
    seconds: float | None,
    only: tuple[str, ...],
    no_offload: bool,
    own_clients: bool,
) -> int:
    """Compare tunstack with kernel sockets, in alternate runs.

    The same trio program serves over both, in one private network; the result is the ratio of the
    medians. Figures of different machines are not comparable. The group crowd, one busy connection
    beside 50,000 idle ones, is measured only with --only crowd.
    """
    refuse_to_share(json=file, plot=plot)
    from tunstack.cli.running import bench as running

    return running.bench(
        file=file,
        plot=plot,
        quick=quick,
        pairs=pairs,
        seconds=seconds,
        only=only,
        offload=not no_offload,
        own_clients=own_clients,
    )
