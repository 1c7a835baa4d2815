"""The time-sequence ladder as SVG: two columns, and an arrow for each packet between them.

A ladder is a value; :func:`ladder_svg` renders it, for light and dark backgrounds: the viewer's
preference decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from tunstack.ladder.palette import DARK, LIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunstack.ladder.palette import Palette

_FONT: Final = 12
_CHARACTER: Final = 7.23
"""Pixels: the width of a character of the usual monospaced fonts."""
_LINE: Final = 15
_PADDING: Final = 9
_TIME: Final = 68
_LABEL: Final = 78
_LEFT: Final = 112
_BETWEEN: Final = 460
_RIGHT: Final = _LEFT + _BETWEEN
_STATE: Final = _RIGHT + 14
_MARGIN: Final = 14
_STATE_CHARACTERS: Final = 26
_HEAD: Final = 7
_TOP: Final = 40


@dataclass(frozen=True)
class Heading:
    """The begin of a conversation.

    Attributes:
        number: Of the conversation.
        left: The end of the left column.
        right: The end of the right column.
    """

    number: int
    left: str
    right: str


@dataclass(frozen=True)
class Arrow:
    """A packet, or several that are folded.

    Attributes:
        time: As a text.
        number: Of its conversation, or None.
        toward: The column that the arrow points to; None for packets that are folded.
        text: On the arrow.
        below: Lines below it.
        note: Lines of a remark.
        state: Of our side.
        changed: Whether that is a transition.
    """

    time: str
    number: int | None
    toward: Literal["left", "right"] | None
    text: str
    below: tuple[str, ...] = ()
    note: tuple[str, ...] = ()
    state: str = ""
    changed: bool = False


Rung: TypeAlias = Heading | Arrow


@dataclass(frozen=True)
class Ladder:
    """A ladder to be drawn.

    Attributes:
        title: Above it.
        unit: Of the times.
        rungs: From top to bottom.
        states: Whether there is a column for our side's state.
    """

    title: str
    unit: str
    rungs: Sequence[Rung]
    states: bool = True

    @property
    def width(self) -> float:
        """In pixels."""
        most = _STATE_CHARACTERS * _CHARACTER if self.states else 0
        texts = [line for each in self.rungs for line in getattr(each, "below", ())]
        longest = max(map(len, texts), default=0) * _CHARACTER + _LEFT + _MARGIN
        return round(max(_STATE + most + _MARGIN, longest))


def ladder_svg(ladder: Ladder) -> str:
    """Draw a ladder; returns the whole file."""
    drawn: list[str] = []
    columns = ""
    y = begin = float(_TOP)
    for rung in ladder.rungs:
        if isinstance(rung, Heading):
            columns += _columns(begin, y)
            y += _PADDING
            drawn += _heading(rung, y)
            y += _LINE + 6
            begin = y
        else:
            drawn += _arrow(rung, y)
            y += _height(rung)
    columns += _columns(begin, y)
    height = y + _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {ladder.width:g} {height:g}"'
            f' width="{ladder.width:g}" height="{height:g}" font-size="{_FONT}"'
            ' font-family="DejaVu Sans Mono, Menlo, Consolas, monospace">',
            f"<title>{escape(ladder.title)}</title>",
            f"<style>{_style()}</style>",
            '<rect width="100%" height="100%" class="paper"/>',
            _text(_MARGIN, 24, ladder.title, "ink bold"),
            _text(_TIME, _TOP - 2, ladder.unit, "dim", anchor="end"),
            f'<path d="{columns}" class="column"/>',
            *drawn,
            "</svg>",
            "",
        ]
    )


def _columns(begin: float, end: float) -> str:
    """Both columns, between headings."""
    if end <= begin:
        return ""
    return "".join(f"M{x} {begin:g}V{end:g}" for x in (_LEFT, _RIGHT))


def _style() -> str:
    """The classes, in both colour schemes."""
    base = ".bold{font-weight:bold}text{white-space:pre}"
    return f"{base}{_rules(LIGHT)}@media (prefers-color-scheme:dark){{{_rules(DARK)}}}"


def _rules(palette: Palette) -> str:
    rules = [f".{each}{{fill:{getattr(palette, each)}}}" for each in ("paper", "ink", "dim", "bad")]
    rules.append(f".column{{stroke:{palette.column};fill:none}}")
    for number, color in enumerate(palette.colors):
        rules.append(f".c{number}{{stroke:{color};fill:{color}}}")
    return "".join(rules)


def _height(arrow: Arrow) -> float:
    return _LINE * (1 + len(arrow.below) + len(arrow.note)) + _PADDING


def _class(number: int | None) -> str:
    return "ink" if number is None else f"c{(number - 1) % 6}"


def _heading(heading: Heading, y: float) -> Iterator[str]:
    base = y + _LINE - 3
    yield (
        f'<rect x="{_MARGIN}" y="{y:g}" width="4" height="{_LINE}"'
        f' class="{_class(heading.number)}" stroke-width="0"/>'
    )
    yield _text(_MARGIN + 10, base, f"#{heading.number}", "ink bold")
    yield _text(_LEFT - 50, base, heading.left, "ink bold")
    yield _text(_RIGHT + 4, base, heading.right, "ink bold", anchor="end")


def _arrow(arrow: Arrow, y: float) -> Iterator[str]:
    base = y + _LINE - 4
    yield _text(_TIME, base, arrow.time, "dim", anchor="end")
    if arrow.number is not None:
        yield _text(_LABEL, base, f"#{arrow.number}", "dim")
    yield _text(_LEFT + 12, base, arrow.text, "ink" if arrow.toward else "dim")
    if arrow.state:
        yield _text(_STATE, base, arrow.state, "ink bold" if arrow.changed else "dim")
    line = y + _LINE + 1
    if arrow.toward is not None:
        yield _line(arrow.toward, line, _class(arrow.number))
    base += 4
    for css, texts in (("dim", arrow.below), ("bad", arrow.note)):
        for text in texts:
            base += _LINE
            yield _text(_LEFT + 12, base, text, css)


def _line(toward: Literal["left", "right"], y: float, css: str) -> str:
    """The shaft, with its head at the column that it points to."""
    tip, tail = (_RIGHT, _LEFT) if toward == "right" else (_LEFT, _RIGHT)
    back = -_HEAD if toward == "right" else _HEAD
    return (
        f'<path d="M{tail} {y:g}H{tip + back}M{tip} {y:g}l{back} -3.5v7z" class="{css}"'
        ' stroke-width="1.4"/>'
    )


def _text(x: float, y: float, text: str, css: str, *, anchor: str = "") -> str:
    more = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:g}" y="{y:g}" class="{css}"{more}>{escape(text)}</text>'
