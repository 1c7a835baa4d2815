"""The colours of ladders and plots, for light and for dark backgrounds.

The colours of conversations and series are Okabe and Ito's, which people with any colour vision
tell apart; on dark backgrounds, lighter ones of the same hues.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as ``#rrggbb``; no two of one palette are the same.

    Attributes:
        paper: The background.
        ink: Text.
        dim: Less important text and lines.
        bad: Errors and losses.
        column: The ladder's columns.
        grid: A plot's grid.
        blue, orange, green, purple, sky, yellow: Of conversations and series.
    """

    paper: str
    ink: str
    dim: str
    bad: str
    column: str
    grid: str
    blue: str
    orange: str
    green: str
    purple: str
    sky: str
    yellow: str

    @property
    def colors(self) -> tuple[str, ...]:
        """Those of conversations, in the order of their numbers."""
        return self.blue, self.orange, self.green, self.purple, self.sky, self.yellow


LIGHT: Final = Palette(
    paper="#ffffff",
    ink="#222222",
    dim="#6a6a6a",
    bad="#c00000",
    column="#c8c8c8",
    grid="#e4e4e4",
    blue="#0072b2",
    orange="#d55e00",
    green="#009e73",
    purple="#cc79a7",
    sky="#56b4e9",
    yellow="#e69f00",
)
DARK: Final = Palette(
    paper="#15181c",
    ink="#e4e4e4",
    dim="#9a9a9a",
    bad="#ff7b72",
    column="#4a4f57",
    grid="#2c3138",
    blue="#56b4e9",
    orange="#ff9d5c",
    green="#3fd0a3",
    purple="#cc79a7",
    sky="#8cc8f0",
    yellow="#f0c24a",
)
