"""Pictures of the terminal view, for the pages: of a host in virtual time, by rich.

``python -m tests.cli.top.pictures`` draws them anew, and ``make snapshot`` does.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME
from rich.text import Text

import tunstack
from tests.cli.top.scene import busy

if TYPE_CHECKING:
    from tunstack.ladder import Line

FOLDER: Final = Path(__file__).parents[3] / "docs" / "_static" / "watch"
SIZE: Final = (96, 26)
THEMES: Final = {"light": DEFAULT_TERMINAL_THEME, "dark": SVG_EXPORT_THEME}
# Nothing is fetched from elsewhere: the font is the reader's.
FORMAT: Final = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
FORMAT_OF_FONT: Final = FORMAT.replace("Fira Code, monospace", "monospace")


def picture(lines: list[Line], name: str, theme: str) -> str:
    """A frame as SVG."""
    console = Console(
        file=io.StringIO(), record=True, width=SIZE[0], force_terminal=True, highlight=False
    )
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)
    drawn = console.export_svg(
        title="tunstack serve --watch",
        theme=THEMES[theme],
        code_format=FORMAT_OF_FONT,
        unique_id=f"watch-{name}-{theme}",
    )
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


async def _frames() -> dict[str, list[Line]]:
    async with busy() as seen:
        frames = {"table": seen.lines(*SIZE)}
        seen.type("down", "enter")
        await seen.grow()
        frames["ladder"] = seen.lines(*SIZE)
    return frames


def pictures() -> dict[str, str]:
    """All pictures, by the names of their files."""
    frames = tunstack.run_virtual(_frames)
    return {
        f"{name}-{theme}.svg": picture(lines, name, theme)
        for name, lines in frames.items()
        for theme in THEMES
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, drawn in pictures().items():
        (FOLDER / name).write_text(drawn)
