"""What is drawn on a terminal, or where one might be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tunstack.cli.status import Unread, complain

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from tunstack.cli.ladder import Line


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let it be known to who runs the command; rich would exit here and now."""
        raise Unread


def console(*, stderr: bool = False, color: bool | None = None, soft_wrap: bool = True) -> Console:
    """A console that prints what it is given as it is.

    Args:
        stderr: Whether it is standard error, in place of standard output.
        color: Whether to have colours; None for on a terminal only, or as FORCE_COLOR and NO_COLOR
            have it.
        soft_wrap: Whether lines are left as long as they are.
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
    """Say on standard error how many packets are not shown, and what they are."""
    total = counts.total()
    if total:
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        be = "packet is" if total == 1 else "packets are"
        complain(program, f"{total} {be} left out: {kinds}")
