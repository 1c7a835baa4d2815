"""The states of a connection: RFC 9293's Figure 5 as SVG, made of the table of transitions.

Where a state stands is said here; which arrows there are, and what is on them, is the table's. A
transition for which there is no arrow here fails the build.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import tunstack.tcp.connection.state as states
from tunstack.tcp.connection.state import TRANSITIONS, State, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH, _HEIGHT = 132, 34
_COLUMNS: Final = (120, 420, 720)
_ROW: Final = 106
_AT: Final = {
    State.CLOSED: (1, 0),
    State.LISTEN: (1, 1),
    State.SYN_RECEIVED: (0, 2),
    State.SYN_SENT: (2, 2),
    State.ESTABLISHED: (1, 3),
    State.FIN_WAIT_1: (0, 4),
    State.CLOSE_WAIT: (2, 4),
    State.FIN_WAIT_2: (0, 5),
    State.CLOSING: (1, 5),
    State.LAST_ACK: (2, 5),
    State.TIME_WAIT: (1, 6),
}
"""Column and row of each state."""
_TO_CLOSED: Final = "→ CLOSED"


def sources() -> Iterable[Path]:
    """The table."""
    return [Path(states.__file__ or "")]


def picture() -> str:
    """The diagram."""
    arrows = [each for each in TRANSITIONS if each.after is not State.CLOSED]
    ends = {each.before: each for each in TRANSITIONS if each.after is State.CLOSED}
    assert len(arrows) + len(ends) == len(TRANSITIONS), "two ways to CLOSED from one state"
    lines = [
        '<svg class="drawing states" viewBox="-10 -20 880 690" width="880" role="img"'
        ' aria-label="The states of a connection and its transitions">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8Z"/></marker></defs>',
        *(_arrow(each, arrows) for each in arrows),
        *(_box(state, ends.get(state)) for state in State),
        "</svg>",
    ]
    return "```{raw} html\n" + "\n".join(lines) + "\n```\n"


def table() -> str:
    """Every row of the table of transitions."""
    lines = ["| from | to | cause | RFC 9293 |", "|---|---|---|---|"]
    lines += [
        f"| {each.before} | {each.after} | {each.cause} | {each.section} |" for each in TRANSITIONS
    ]
    return "\n".join(lines) + "\n"


def _centre(state: State) -> tuple[float, float]:
    column, row = _AT[state]
    return _COLUMNS[column], row * _ROW


def _box(state: State, to_closed: Transition | None) -> str:
    x, y = _centre(state)
    text = (
        f'<rect class="box" x="{x - _WIDTH / 2}" y="{y - _HEIGHT / 2}" width="{_WIDTH}"'
        f' height="{_HEIGHT}" rx="6"/><text class="state" x="{x}" y="{y + 5}">{state}</text>'
    )
    if to_closed is not None:
        text += (
            f'<text class="end" x="{x}" y="{y + _HEIGHT / 2 + 14}">{_TO_CLOSED}:'
            f" {_short(to_closed.cause)}</text>"
        )
    return text


def _short(cause: str) -> str:
    return cause.replace(" or timeout", ", timeout").replace("rcv ", "").replace(" of quiet", "")


def _arrow(row: Transition, arrows: list[Transition]) -> str:
    (x1, y1), (x2, y2) = _centre(row.before), _centre(row.after)
    back = any((each.before, each.after) == (row.after, row.before) for each in arrows)
    if y1 == y2:
        step = _WIDTH / 2 * (1 if x2 > x1 else -1)
        x1, x2 = x1 + step, x2 - step
        middle = (x1 + x2) / 2, y1 - 8
        d = f"M{x1} {y1}L{x2} {y2}"
    else:
        down = 1 if y2 > y1 else -1
        shift = 26 * down if back else 0
        y1, y2 = y1 + _HEIGHT / 2 * down, y2 - _HEIGHT / 2 * down
        x1, x2 = x1 - shift, x2 - shift
        d = f"M{x1} {y1}L{x2} {y2}"
        along = 0.4 if back else 0.5  # Of two arrows beside each other the texts are not.
        middle = x1 + (x2 - x1) * along, y1 + (y2 - y1) * along + 4
    text = f'<text class="cause" x="{middle[0]}" y="{middle[1]}">{row.cause}</text>'
    return f'<path class="edge" marker-end="url(#arrow)" d="{d}"/>{text}'
