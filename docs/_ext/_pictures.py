"""SVG in one colour scheme: the site has a switch, which a picture's own style does not know."""

from __future__ import annotations

import re
from typing import Final

_DARK: Final = re.compile(r"@media\s*\(prefers-color-scheme:\s*dark\)\s*{")


def in_scheme(svg: str, scheme: str) -> str:
    """Return the picture in the ``"light"`` or ``"dark"`` scheme, whatever its reader prefers."""
    while match := _DARK.search(svg):
        end = _end_of_block(svg, match.end())
        rules = svg[match.end() : end - 1] if scheme == "dark" else ""
        svg = svg[: match.start()] + rules + svg[end:]
    return svg


def _end_of_block(text: str, start: int) -> int:
    """Where the block ends that has begun before `start`: behind its brace."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    raise ValueError("a style of the picture does not end")
