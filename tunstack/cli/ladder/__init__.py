"""The time-sequence ladder: two columns, and an arrow for each packet between them.

Time runs downwards. The left column is the peer and the right one our side, with its state at each
step; in a capture that was not written by tunstack the client is on the left, and there are no
states. `step` decodes packets, `conversation` makes sequence numbers relative, `fold` folds long
runs of data, and `layout` formats lines. All of it is sans-IO: packets in, lines out.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from tunstack.cli.ladder.conversation import Conversation, is_plain
from tunstack.cli.ladder.fold import Folder, Row
from tunstack.cli.ladder.layout import (
    ASCII,
    UNICODE,
    Layout,
    Line,
    Piece,
    Symbols,
    plain_text,
    symbols_for,
)
from tunstack.cli.ladder.step import (
    Endpoint,
    Step,
    read_packet,
    step_from_capture,
    step_from_observation,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from tunstack.cli.ladder.fold import Side

__all__ = [
    "Ladder",
    "Step",
    "read_packet",
    "step_from_capture",
    "step_from_observation",
    "Line",
    "Piece",
    "plain_text",
    "Symbols",
    "symbols_for",
    "ASCII",
    "UNICODE",
]

_Pair: TypeAlias = frozenset[Endpoint]


class Ladder:
    """Formats packets as a ladder, incrementally.

    Call :meth:`add` for each packet in order of time, and :meth:`flush` at the end or after a
    pause; print the lines that they return.

    Args:
        width: Of the terminal, in characters.
        symbols: To draw with.
        states: Whether there is a column for our side's state.
        names: The names of the left and the right column; empty for no names.
        full: Whether to show every packet: unfolded, and IPv6 too, in which a kernel solicits
            routers on every device.
        only: Ports to show; empty for all.

    Attributes:
        left_out: Packets not shown, apart from those excluded by `only`, counted by kind.
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
        self._folder = Folder(symbols.arrows, symbols.ellipsis)
        self._full = full
        self._only = frozenset(only)
        self._conversations: dict[_Pair, Conversation] = {}
        self._pairs: dict[_Pair, Endpoint] = {}
        self._count = 0
        self._packets = 0
        self._start: float | None = None
        self.left_out: Counter[str] = Counter()

    def add(self, step: Step) -> list[Line]:
        """Add the next packet; returns the lines to print."""
        if step.version == 6 and not self._full:
            self.left_out[step.kind] += 1
            return []
        if self._only and self._only.isdisjoint((step.source[1], step.destination[1])):
            return []
        self._packets += 1
        if self._start is None:
            self._start = step.time
        if step.segment is None:
            return self._draw(self._folder.add(self._other(step), plain=False))
        lines: list[Line] = []
        pair = frozenset((step.source, step.destination))
        conversation = self._conversations.get(pair)
        if conversation is None or conversation.is_new(step):
            self._count += 1
            conversation = self._conversations[pair] = Conversation(self._count, step)
            lines += self.flush()
            lines += self._layout.heading(conversation)
        words, details = conversation.words(step, step.segment)
        row = self._row(
            step,
            conversation.number,
            "right" if step.source == conversation.left else "left",
            words,
            details,
            len(step.segment.payload),
        )
        plain = is_plain(step, step.segment) and not self._full
        return lines + self._draw(self._folder.add(row, plain=plain))

    @property
    def empty(self) -> bool:
        """Whether no packet was added that is shown."""
        return not self._packets

    def flush(self) -> list[Line]:
        """Return the lines of folded runs."""
        return self._draw(self._folder.flush())

    def _other(self, step: Step) -> Row:
        """The row of a packet other than TCP."""
        toward: Side
        if step.direction is not None:
            toward = "right" if step.direction == "in" else "left"
        else:
            pair = frozenset((step.source, step.destination))
            left = self._pairs.setdefault(pair, step.source)
            toward = "right" if step.source == left else "left"
        return self._row(step, None, toward, [step.text], [], 0)

    def _row(
        self,
        step: Step,
        number: int | None,
        toward: Side,
        words: list[str],
        details: list[str],
        size: int,
    ) -> Row:
        before, after = step.before, step.after
        if after is None and before is not None:
            after = "CLOSED"
        changed = before != after
        state = f"{before or 'CLOSED'} -> {after}" if changed else before or ""
        note = "" if step.verdict == "accepted" else step.verdict
        time = step.time - (self._start or step.time)
        return Row(
            self._packets,
            time,
            number,
            toward,
            tuple(words),
            tuple(details),
            state,
            changed,
            note,
            size,
        )

    def _draw(self, rows: list[Row]) -> list[Line]:
        return [line for row in rows for line in self._layout.row(row)]
