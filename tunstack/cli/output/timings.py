"""Where the time of each connection went, as a table."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from tunstack.socket.addresses import printed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tunstack.ladder.timing import Timing, Timings

_PHASES: Final = ("look-up", "connect", "TLS", "first octet", "transfer", "total")
_NOTHING: Final = "-"
_MOST: Final = 40
_SHOWN: Final = 20


def print_timings(page: Console, timings: Timings, *, full: bool = False) -> None:
    """Print a table of the connections, a row each.

    Of more than 40, the 20 that took longest are shown, and the median of all, unless it is `full`.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", width=min(page.width, 100))
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("connection, times in ms", ratio=1, overflow="fold")
    for phase in _PHASES:
        table.add_column(phase, justify="right", max_width=8)
    connections, count = timings.connections, len(timings.connections)
    folded = count > _MOST and not full
    for timing in _slowest(connections) if folded else connections:
        total = _time(timing.phases[-1])
        if timing.ended:
            total = timing.ended if total == _NOTHING else f"{total}\n{timing.ended}"
        cells = [_time(phase) for phase in timing.phases[:-1]]
        style = "red" if timing.ended else "bold"
        table.add_row(str(timing.number), _to(timing), *cells, Text(total, style))
    if folded:
        phases = zip(*(timing.phases for timing in connections), strict=True)
        known = ([time for time in times if time is not None] for times in phases)
        medians = [_time(median(times) if times else None) for times in known]
        table.add_row("", f"the {_SHOWN} longest; the median of all {count}", *medians)
    page.print(table)


def _slowest(connections: Sequence[Timing]) -> list[Timing]:
    """Those that took longest, and what failed before them, in their order."""

    def took(timing: Timing) -> tuple[bool, float]:
        return bool(timing.ended), timing.phases[-1] or 0.0

    chosen = sorted(connections, key=took, reverse=True)[:_SHOWN]
    return sorted(chosen, key=lambda timing: timing.number)


def _to(timing: Timing) -> Text:
    """Whom it was to: by name, with the address below."""
    address, port = timing.server
    if not timing.name:
        return Text(printed((address, port)))
    return Text.assemble(printed((timing.name, port)), "\n", (address, "dim"))


def _time(seconds: float | None) -> str:
    """Milliseconds, with three digits at least."""
    if seconds is None:
        return _NOTHING
    milliseconds = seconds * 1000
    for most, digits in ((10, 3), (100, 2), (1000, 1)):
        if milliseconds < most:
            return f"{milliseconds:.{digits}f}"
    return f"{milliseconds:.0f}"
