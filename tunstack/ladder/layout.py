"""Format rows as lines of text, for a terminal of a given width.

Columns, in 80 characters with our side's states and in as many without::

          ms #1 kernel 198.51.100.1:40312    198.51.100.2:80 tunstack
       0.000 #1 ── SYN seq 0 win 64240 ──────────────────▶ LISTEN → SYN-RECEIVED
       time  label  the arrow                              state

Words that do not fit on the arrow are below it, except for an `ack` or a `win` that has not changed
since it was last shown in this direction.

A line is a sequence of pieces, each with its style; without colour the text is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from textwrap import wrap
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tunstack.ladder.conversation import Conversation, Flow
from tunstack.ladder.packets import ECHO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tunstack.ladder.fold import Row, Side
    from tunstack.ladder.packets import Endpoint


class Piece(NamedTuple):
    """Some text of a line, and its style in rich's words."""

    text: str
    style: str = ""


Line: TypeAlias = tuple[Piece, ...]


class Parts(NamedTuple):
    """The texts of a row.

    Attributes:
        time: Its time, with a space behind it.
        label: Its conversation.
        text: The words on the arrow.
        state: Our side's state.
        below: The lines below the arrow.
        note: The lines of the remark.
    """

    time: str
    label: str
    text: str
    state: str
    below: tuple[str, ...]
    note: tuple[str, ...]


def plain_text(line: Line) -> str:
    """The text of a line, without colour."""
    return "".join(piece.text for piece in line)


@dataclass(frozen=True, slots=True)
class Symbols:
    """The characters that a ladder is drawn with."""

    dash: str
    right: str
    left: str
    to_right: str
    to_left: str
    ellipsis: str

    @property
    def arrows(self) -> dict[Side, str]:
        """The symbol of each direction in text."""
        return {"right": self.to_right, "left": self.to_left}


UNICODE: Final = Symbols("─", "▶", "◀", "→", "←", "…")
ASCII: Final = Symbols("-", ">", "<", "->", "<-", "...")


def symbols_for(encoding: str | None) -> Symbols:
    """The symbols that an encoding can represent."""
    try:
        "".join((*UNICODE.arrows.values(), UNICODE.dash, UNICODE.right, UNICODE.left)).encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


TIME_UNIT: Final = "ms"
"""The unit of all times."""
_REPEATED: Final = ("win ", "ack ")  # left out first if unchanged
_PREFIX: Final = 12  # time, label and a space after each
_STATE: Final = 26  # "SYN-RECEIVED -> ESTABLISHED", the longest, with a one-character arrow
_ARROW_ENDS: Final = 5  # characters of an arrow beside its words
_MINIMUM: Final = 24  # characters of the shortest arrow
_MAXIMUM: Final = 60  # characters of the longest arrow
_COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "red")


class Layout:
    """Formats rows as lines.

    Args:
        width: Of the terminal, in characters.
        symbols: To draw with.
        states: Whether there is a column for our side's state.
        names: The names of the left and the right column; empty for no names.
    """

    def __init__(
        self,
        width: int,
        symbols: Symbols,
        *,
        states: bool = True,
        names: tuple[str, str] = ("", ""),
    ) -> None:
        self._symbols = symbols
        self._names = names
        self._width = width
        room = width - _PREFIX - (_STATE + 1 if states else 0)
        self._arrow_end = _PREFIX + min(max(room, _MINIMUM), _MAXIMUM)
        self._began = False
        self._shown: dict[tuple[int | None, Side | None, str], str] = {}

    def heading(self, conversation: Conversation | Flow) -> Iterator[Line]:
        """The heading of a conversation, with IPv6 addresses shortened where it is too long."""
        left, behind = self.named_ends(conversation)
        right = behind.removesuffix(f" {self._names[1]}") if self._names[1] else behind
        label = f"{f'#{conversation.number}':<2}"
        # The right end is above the arrow's, or as near to it as the width allows.
        most = self._width - len(f"{TIME_UNIT:>8} {label} {left}{behind}")
        gap = max(2, min(self._arrow_end - _PREFIX - len(left) - len(right), most))
        style = f"bold {_colour(conversation.number)}"
        yield (
            Piece(f"{TIME_UNIT:>8} ", "dim"),
            Piece(f"{label} {left}{' ' * gap}{behind}", style),
        )
        self._began = True
        if isinstance(conversation, Conversation) and not conversation.knows_scales:
            text = "(its beginning was not seen: windows are as on the wire)"
            yield Piece(" " * (_PREFIX + 3)), Piece(text, "dim")

    def named_ends(self, conversation: Conversation | Flow) -> tuple[str, str]:
        """Both ends, with the names of the columns."""
        left, right = self._ends(conversation)
        return _join(self._names[0], left), _join(right, self._names[1])

    def _ends(self, conversation: Conversation | Flow) -> tuple[str, str]:
        """Both ends as a heading shows them, each in half of the room if there is not enough."""
        ends = conversation.left, conversation.right
        names = sum(len(name) + 1 for name in self._names if name)
        label = max(2, len(f"#{conversation.number}"))
        room = self._width - len(f"{TIME_UNIT:>8}  ") - label - names - 2
        left, right = (write_end(end, conversation.protocol) for end in ends)
        if len(left) + len(right) > room:
            ellipsis, protocol = self._symbols.ellipsis, conversation.protocol
            left = write_end(ends[0], protocol, max(room // 2, room - len(right)), ellipsis)
            right = write_end(ends[1], protocol, room - len(left), ellipsis)
        return left, right

    def row(self, row: Row) -> Iterator[Line]:
        """The lines of one row: its arrow, and the words that do not fit on it."""
        if not self._began:
            self._began = True
            yield (Piece(f"{TIME_UNIT:>8}", "dim"),)
        parts = self.parts(row)
        label = f"{parts.label:<2} "
        colour = _colour(row.number)
        arrow = self._arrow(row.toward, parts.text, self._arrow_end - len(parts.time + label))
        line = [Piece(parts.time, "dim"), Piece(label, colour), Piece(arrow, colour)]
        if parts.state:
            line += [Piece(" "), Piece(parts.state, "bold" if row.changed else "dim")]
        yield tuple(line)
        for text in parts.below:
            yield Piece(" " * (_PREFIX + 3)), Piece(text, colour)
        for text in parts.note:
            yield Piece(" " * (_PREFIX + 3)), Piece(text, "bold red")

    def parts(self, row: Row) -> Parts:
        """The texts of one row, of which each fits where it belongs."""
        label = "" if row.number is None else f"#{row.number}"
        time = f"{row.time * 1000:8.3f} "
        words, rest = self._fit(row, self._arrow_end - len(f"{time}{label:<2} "))
        below = chain(self._wrap((*rest, *row.details)), *map(self._wrap, row.messages))
        note = wrap(_printable(row.note), self._detail_width - 2)
        return Parts(
            time,
            label,
            row.separator.join(words),
            row.state.replace("->", self._symbols.to_right),
            tuple(below),
            tuple(f"{'  ' if number else '! '}{text}" for number, text in enumerate(note)),
        )

    def _fit(self, row: Row, length: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Split the words into those that fit on an arrow of `length` and the rest."""
        room = length if row.toward is None else length - _ARROW_ENDS
        words = row.words
        for kind in _REPEATED:
            if len(row.separator.join(words)) > room:
                words = tuple(word for word in words if not self._is_repeated(row, kind, word))
        for kind in _REPEATED:
            for word in words:
                if word.startswith(kind):
                    self._shown[row.number, row.toward, kind] = word
        count = len(words)
        while count > 1 and len(row.separator.join(words[:count])) > room:
            count -= 1
        return words[:count], words[count:]

    def _is_repeated(self, row: Row, kind: str, word: str) -> bool:
        """Whether a word of this kind is unchanged since it was last shown in this direction."""
        return word.startswith(kind) and self._shown.get((row.number, row.toward, kind)) == word

    def _arrow(self, toward: Side | None, text: str, length: int) -> str:
        symbols = self._symbols
        if toward is None:
            return f"{text:<{length}}"
        if toward == "left":
            return f"{symbols.left}{symbols.dash} {text} ".ljust(length, symbols.dash)
        return f"{symbols.dash * 2} {text} ".ljust(length - 1, symbols.dash) + symbols.right

    @property
    def _detail_width(self) -> int:
        """Characters of a line below an arrow."""
        return max(self._width - _PREFIX - 3, _MINIMUM)

    def _wrap(self, texts: Iterable[str]) -> Iterator[str]:
        """Join details with commas, in as many lines as they need."""
        line = ""
        for text in texts:
            longer = f"{line}, {text}" if line else text
            if line and len(longer) > self._detail_width - 1:  # A comma may follow.
                yield f"{line},"
                longer = text
            line = longer
        if line:
            yield line


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def write_end(
    endpoint: Endpoint, protocol: str, most: int | None = None, ellipsis: str = ""
) -> str:
    """An address and its port, or the identifier of an echo.

    Args:
        endpoint: Address and port.
        protocol: Of the conversation.
        most: Characters to shorten an IPv6 address to, as far as its first and last group allow.
        ellipsis: Stands for the groups that are left out.
    """
    address, port = endpoint
    if protocol == ECHO or not port:
        suffix = f" id {port}" if port else ""
        return _shorten(address, most and most - len(suffix), ellipsis) + suffix
    if ":" not in address:
        return f"{address}:{port}"
    suffix = f"]:{port}"
    return f"[{_shorten(address, most and most - len(suffix) - 1, ellipsis)}{suffix}"


def _shorten(address: str, most: int | None, ellipsis: str) -> str:
    """Leave out groups in the middle of an IPv6 address."""
    first, *groups = address.split(":")
    while most is not None and len(address) > most and len(groups) > 1:
        groups = groups[1:]
        address = f"{first}:{ellipsis}:{':'.join(groups)}"
    return address


def _printable(text: str) -> str:
    """The text without control characters, which a comment of a capture may have."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _colour(number: int | None) -> str:
    return "white" if number is None else _COLOURS[(number - 1) % len(_COLOURS)]
