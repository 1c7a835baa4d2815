"""``tunstack bench-loss``: measure goodput across lossy and across fast paths."""

from __future__ import annotations

import click

from tunstack.cli.options.parameters import OUTPUT, Number, refuse_to_share

_EPILOG = """\b
Examples:
  tunstack bench-loss
  tunstack bench-loss --quick
  tunstack bench-loss --only fast
  tunstack bench-loss --json loss.json --plot loss.svg
"""


@click.command(epilog=_EPILOG)
@click.option("--quick", is_flag=True, help="Take two minutes: fewer paths, less precision.")
@click.option("--only", type=click.Choice(["lossy", "fast"]), help="Only one kind of paths.")
@click.option("--seconds", type=Number(1, 600), help="Of each transfer.  [6; fast 5]")
@click.option("--repeats", type=click.IntRange(1, 100), help="Transfers in a lossy cell.  [3]")
@click.option("--rate", type=Number(1, 1000), help="Of lossy paths, in Mbit/s.  [20]")
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
    help="Draw them into FILE, SVG or PNG as it ends, or on standard output in SVG: -.",
)
def bench_loss(
    quick: bool,
    only: str | None,
    seconds: float | None,
    repeats: int | None,
    rate: float | None,
    file: str | None,
    plot: str | None,
) -> int:
    """Measure goodput across lossy and across fast paths, tunstack's and the kernel's.

    Each transfer has a bridge of its own between two private networks, with the same losses for
    all. The tables of lossy paths have the median goodput in Mbit/s, and its ratio to that of the
    kernel's Reno on the same path; then, of all transfers together, the segments retransmitted, the
    packets that the path lost, spurious retransmissions, and timeouts.

    The tables of fast paths, which drop packets at a full queue only, have the goodput in per cent
    of the path's capacity for application data, with offload (segments of up to 64 KiB) and
    without. The last two fifths of each transfer count, after slow start.

    It takes about eight minutes.
    """
    refuse_to_share(json=file, plot=plot)
    from tunstack.cli.running import bench_loss as running

    return running.bench_loss(
        quick=quick,
        only=only,
        seconds=seconds,
        repeats=repeats,
        rate=rate,
        file=file,
        plot=plot,
    )
