"""The kinds of values of behaviours, as texts: ``4kB``, ``20ms``, ``1%``, ``10mbit``, ``3``."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final, NamedTuple

from tunstack.path.spec import RATE as _RATE
from tunstack.path.spec import SHARE as _SHARE
from tunstack.path.spec import TIME as _TIME
from tunstack.path.spec import Quantity, read_value, write_value

_LONGEST: Final = 86400.0
"""Seconds of the longest time: a day."""


class Kind(NamedTuple):
    """A kind of value.

    Attributes:
        quantity: Its units, and how errors describe it.
        least: The smallest value.
        most: The largest.
        whole: Whether it is an integer.
        choices: The words that it may be instead of a number.
    """

    quantity: Quantity
    least: float
    most: float
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        """What a value has to be, for errors."""
        return " or ".join(self.choices) if self.choices else self.quantity.wanted

    def read(self, text: str) -> float | str | None:
        """Parse a value; None if it is not of this kind."""
        if self.choices:
            return text if text in self.choices else None
        value = read_value(text, self.quantity.units)
        if value is None or (self.whole and value % 1):
            return None
        return int(value) if self.whole else value

    def allows(self, value: object) -> bool:
        """Whether a value is in range, and of the right type."""
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return self.least <= value <= self.most

    def write(self, value: float | str) -> str:
        """Write a value as :meth:`read` reads it."""
        if isinstance(value, str):
            return value
        return str(value) if self.whole else write_value(float(value), self.quantity.units)

    def range(self) -> str:
        """The values that it allows, for errors."""
        if self.choices:
            return " or ".join(self.choices)
        least, most = (self._short(each) for each in (self.least, self.most))
        return f"{least} or more" if math.isinf(self.most) else f"{least} to {most}"

    def _short(self, value: float) -> str:
        if self.whole or math.isinf(value) or not value:
            return f"{Decimal(value):f}"
        return self.write(value)


OCTETS: Final = Kind(
    Quantity("a number of octets, or kB or MB", "4096", {"MB": 6, "kB": 3, "B": 0, "": 0}),
    0,
    1 << 40,
    whole=True,
)
COUNT_OF_OCTETS: Final = OCTETS._replace(least=1)
SECONDS: Final = Kind(_TIME, 0.0, _LONGEST)
SHARE: Final = Kind(_SHARE, 0.0, 1.0)
RATE: Final = Kind(_RATE, 1.0, 1e12)
COUNT: Final = Kind(Quantity("a number", "2", {"": 0}), 1, 1 << 31, whole=True)
NUMBER: Final = COUNT._replace(least=0)


def choice(*words: str) -> Kind:
    """Return the kind of value that is one of some words."""
    return Kind(Quantity(" or ".join(words), words[0], {}), 0, 0, choices=words)
