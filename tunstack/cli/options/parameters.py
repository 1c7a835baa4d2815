"""Parameter types: finite numbers and file names."""

from __future__ import annotations

import math
import os.path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from typing import Any

STANDARD: Final = "-"
"""The file name for standard input and standard output."""


class Number(click.FloatRange):
    """A finite number in a range; click's own accepts NaN."""

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Read it."""
        number: float = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", parameter, context)
        return number


class _Output(click.ParamType):  # type: ignore[type-arg, unused-ignore] # generic since click 8.5
    """The name of a file to write, or `-`; not a directory."""

    name = "file"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> str:
        name = str(value)
        if name.endswith("/") or os.path.isdir(name):
            self.fail(f"{name!r} is a directory: name a file.", parameter, context)
        if not name:
            self.fail("the name of a file is missing.", parameter, context)
        return name


OUTPUT: Final = _Output()
INPUT: Final = click.STRING

COLOR: Final = click.option(
    "--color/--no-color",
    default=None,
    help="Use colours, or not; by default on a terminal only.",
)


def refuse_to_share(**outputs: str | None) -> None:
    """Refuse to write two things to standard output.

    Args:
        outputs: The names of files, by the option that gave them.

    Raises:
        click.UsageError: two of them are `-`.
    """
    shared = [f"--{option}" for option, name in outputs.items() if name == STANDARD]
    if len(shared) > 1:
        raise click.UsageError(f"{' and '.join(shared)} cannot both be written to standard output")
