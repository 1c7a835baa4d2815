"""Lines of styled text that fit a terminal, whatever is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from tunstack.ladder import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.ladder import Line


def printable(text: str) -> str:
    """The text with a ``?`` for each control character, and for what else is not printable.

    Names, and what a command writes, come from elsewhere: none of it may move the cursor.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def fitted(line: Line, width: int) -> Line:
    """The line without what is beyond `width` cells, and without control characters."""
    pieces: list[Piece] = []
    left = width
    for text, style in line:
        clean = printable(text)
        size = cell_len(clean)
        if size > left:
            clean, size = set_cell_size(clean, left), left
        if clean:
            pieces.append(Piece(clean, style))
        left -= size
        if not left:
            break
    return tuple(pieces)


def filled(line: Line, width: int, style: str) -> Line:
    """The line as a bar of `width` cells."""
    line = fitted(line, width)
    size = sum(cell_len(piece.text) for piece in line)
    merged = [Piece(text, f"{style} {own}".strip()) for text, own in line]
    return (*merged, Piece(" " * (width - size), style)) if size < width else tuple(merged)


def joined(parts: Iterable[Line], between: str = "  ") -> Line:
    """Lines as one, with spaces between those that are not empty."""
    pieces: list[Piece] = []
    for part in parts:
        if part:
            pieces += [Piece(between), *part] if pieces else part
    return tuple(pieces)


def wrapped(words: Iterable[str], width: int) -> list[str]:
    """Words in as many lines as they need."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
