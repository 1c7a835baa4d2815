"""Output to a terminal, or to where one might be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tunstack.cli.status import OutputClosed, print_error

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from tunstack.ladder import Line


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise `OutputClosed`, where rich would exit the process."""
        raise OutputClosed


def console(*, stderr: bool = False, color: bool | None = None, soft_wrap: bool = True) -> Console:
    """Create a console that prints text unchanged.

    Args:
        stderr: Whether to print on standard error.
        color: Whether to use colours; None for a terminal only, or by FORCE_COLOR and NO_COLOR.
        soft_wrap: Whether to leave long lines unwrapped.
    """
    return _Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=soft_wrap,
        force_terminal=True if color else None,
        color_system={None: "auto", True: "standard", False: None}[color],
        no_color=False if color else None,
    )


def print_lines(to: Console, lines: Iterable[Line]) -> None:
    """Print lines of a ladder."""
    for line in lines:
        text = Text.assemble(*line)
        text.rstrip()
        to.print(text)


def report_left_out(program: str, counts: Counter[str]) -> None:
    """Report on standard error how many packets are not shown, by kind."""
    total = counts.total()
    if total:
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        be = "packet is" if total == 1 else "packets are"
        print_error(program, f"{total} {be} left out: {kinds}")
