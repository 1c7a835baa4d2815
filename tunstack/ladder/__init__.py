"""The time-sequence ladder: two columns, and an arrow for each packet between them.

Time runs downwards. The left column is the peer and the right one our side, with its state at each
step; in a capture that was not written by tunstack the client is on the left, and there are no
states. Packets are of both families. A TCP connection, a UDP flow and a ping have a number each; an
ICMP error has that of the conversation which it is about, and names the packet; a fragment has that
of its datagram.

`packets` decodes packets, with the names of `names`; `step` adds what our side made of them;
`conversation` makes sequence numbers relative, and `reader` reads what is above: `dns` and `tls`,
whose octets `streams` puts in order. `rows` makes rows of it all, in which a `message` is what DNS
or TLS say; `fold` folds long runs of data, and `layout` formats lines, or `picture` makes a
`drawing` (SVG) in the colours of `palette`, which plots have too. `timing` says where the time of a
connection went. All of it is sans-IO: packets in, lines out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.ladder.fold import Row
from tunstack.ladder.layout import (
    ASCII,
    UNICODE,
    Layout,
    Line,
    Piece,
    Symbols,
    plain_text,
    symbols_for,
    write_end,
)
from tunstack.ladder.rows import Rows
from tunstack.ladder.step import (
    Step,
    read_packet,
    step_from_capture,
    step_from_observation,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection

    from tunstack.ladder.rows import Item

__all__ = [
    "Ladder",
    "Step",
    "read_packet",
    "step_from_capture",
    "step_from_observation",
    "Line",
    "Piece",
    "plain_text",
    "write_end",
    "Symbols",
    "symbols_for",
    "ASCII",
    "UNICODE",
]


class Ladder:
    """Formats packets as a ladder, incrementally.

    Call :meth:`add` for each packet in order of time, and :meth:`flush` at the end or after a
    pause; print the lines that they return.

    Args:
        width: Of the terminal, in characters.
        symbols: To draw with.
        states: Whether there is a column for our side's state.
        names: The names of the left and the right column; empty for no names.
        full: Whether to show every packet: unfolded, and what a kernel sends on every device, as
            when it solicits routers.
        only: Ports of TCP and UDP to show, with the ICMP errors about them; empty for all.
    """

    def __init__(
        self,
        *,
        width: int = 80,
        symbols: Symbols = UNICODE,
        states: bool = True,
        names: tuple[str, str] = ("", ""),
        full: bool = False,
        only: Collection[int] = (),
    ) -> None:
        self._layout = Layout(width, symbols, states=states, names=names)
        self._rows = Rows(symbols, full=full, only=only)

    @property
    def left_out(self) -> Counter[str]:
        """Packets not shown, apart from those excluded by `only`, counted by kind."""
        return self._rows.left_out

    @property
    def empty(self) -> bool:
        """Whether no packet was added that is shown."""
        return self._rows.empty

    def add(self, step: Step) -> list[Line]:
        """Add the next packet; returns the lines to print."""
        return self._draw(self._rows.add(step))

    def flush(self) -> list[Line]:
        """Return the lines of folded runs."""
        return self._draw(self._rows.flush())

    def _draw(self, items: list[Item]) -> list[Line]:
        return [
            line
            for item in items
            for line in (
                self._layout.row(item) if isinstance(item, Row) else self._layout.heading(item)
            )
        ]
