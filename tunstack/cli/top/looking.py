"""What somebody looks at: the order, the filter, the chosen connection; changed by keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from tunstack.host.ss import state_name
from tunstack.live import Followed, Order, Wanted
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunstack.ladder import Line
    from tunstack.live import ConnectionRow, Sample, View

Page: TypeAlias = Literal["table", "ladder", "help"]

MOST: Final = 100
"""Connections in the table."""
_ORDERS: Final[tuple[Order, ...]] = get_args(Order)
_STATES: Final = tuple(state_name(state.value) for state in State)
_MOST_TYPED: Final = 40
"""Characters of a filter."""


class FilterError(ValueError):
    """A filter that is none; the message is for the user."""


def read_filter(text: str) -> tuple[int | None, str | None]:
    """The port and the state that a filter names, as ``80``, ``estab``, ``time 80``.

    Raises:
        FilterError: it names something else, or several of one.
    """
    port: int | None = None
    state: str | None = None
    for word in text.split():
        if word.isdecimal() and port is None and int(word) < 1 << 16:
            port = int(word)
            continue
        found = [each for each in _STATES if each.startswith(word.upper())]
        if not found or state is not None:
            raise FilterError(f"{word}: neither a port nor a state")
        if len(found) > 1 and word.upper() not in found:
            raise FilterError(f"{word}: {' or '.join(found)}?")
        state = word.upper() if word.upper() in found else found[0]
    return port, state


@dataclass
class Looking:
    """What is looked at, and how.

    Attributes:
        view: The view of the host.
        quit: Called when the user wants to leave.
        wanted: Order and filter.
        sample: The last sample; None before the first.
        page: What is shown: the table, the ladder of the chosen connection, or the keys.
        picked: The `id` of the connection that was chosen by a key; None for the first, whichever
            that is.
        typed: The filter as it is being typed; None when none is.
        filter: The filter as it was typed.
        message: What to tell the user, until the next key.
        paused: Whether there are no samples.
        due: Whether a sample is wanted at once.
        rows: Lines of the table that fit, which the last frame has found out.
        first: The index of the first row that is shown.
        frozen: The lines of the ladder, while it is scrolled back; None at its end.
        back: Lines that it is scrolled back by.
        to_end: Whether the last connection of the next sample is to be chosen.
        ladder: All of its lines, as they were last drawn.
    """

    view: View
    quit: Callable[[], None]
    wanted: Wanted
    sample: Sample | None = None
    page: Page = "table"
    picked: int | None = None
    typed: str | None = None
    filter: str = ""
    message: str = ""
    paused: bool = False
    due: bool = True
    rows: int = MOST
    first: int = 0
    frozen: Sequence[Line] | None = None
    back: int = 0
    to_end: bool = False
    ladder: Sequence[Line] = ()

    # What is shown

    def take(self, sample: Sample) -> None:
        """Show a sample; the place of a chosen connection that is gone goes to its successor."""
        place = self.place
        self.sample, self.due = sample, False
        if self.to_end:
            self.to_end = False
            self._choose(MOST)
        elif self.page != "ladder" and all(row.id != self.picked for row in self.table):
            self._choose(place)

    @property
    def needed(self) -> Wanted:
        """What a sample must have: of the table two pages, until somebody moves in it."""
        if self.picked is None and not self.to_end:
            return replace(self.wanted, most=min(MOST, 2 * self.rows))
        return self.wanted

    @property
    def table(self) -> Sequence[ConnectionRow]:
        """The rows of the table."""
        return () if self.sample is None else self.sample.connections

    @property
    def chosen(self) -> int | None:
        """The `id` of the chosen connection; None if there is none."""
        if self.picked is not None:
            return self.picked
        return self.table[0].id if self.table else None

    @property
    def place(self) -> int:
        """The index of the chosen connection in the table; 0 if it is not there."""
        return next((place for place, row in enumerate(self.table) if row.id == self.chosen), 0)

    @property
    def followed(self) -> Followed | None:
        """The connection whose ladder is shown."""
        return None if self.chosen is None else self.view.followed.get(self.chosen)

    def scroll(self, rows: int) -> Sequence[ConnectionRow]:
        """The part of the table that is shown in so many lines, with the chosen connection."""
        self.rows = max(1, rows)
        place, last = self.place, max(0, len(self.table) - self.rows)
        self.first = min(max(self.first, place - self.rows + 1), place, last)
        return self.table[self.first : self.first + max(0, rows)]

    # Keys

    def press(self, key: str) -> None:
        """Do what a key means."""
        self.message = ""
        if self.typed is not None:
            self._type(key)
        elif key == "q":
            self.quit()
        elif key == "p":
            self.paused = not self.paused
            self.due = not self.paused
        elif key == "?":
            self.page = "table" if self.page == "help" else "help"
        elif self.page == "help":
            self.page = "table"
        elif self.page == "ladder":
            self._press_in_ladder(key)
        else:
            self._press_in_table(key)

    def _press_in_table(self, key: str) -> None:
        steps = {
            "up": -1,
            "k": -1,
            "down": 1,
            "j": 1,
            "page up": -self.rows,
            "page down": self.rows,
            "home": -MOST,
            "g": -MOST,
        }
        if key in ("end", "G"):
            self.to_end = self.due = True
        elif key in steps:
            self.due = self.picked is None
            self._choose(self.place + steps[key])
        elif key in ("s", "S"):
            step = 1 if key == "s" else -1
            order = _ORDERS[(_ORDERS.index(self.wanted.order) + step) % len(_ORDERS)]
            self._want(replace(self.wanted, order=order))
        elif key in ("/", "f"):
            self.typed = self.filter
        elif key == "escape" and self.filter:
            self._filter("")
        elif key in ("enter", "right"):
            self._follow()

    def _choose(self, place: int) -> None:
        place = min(place, len(self.table) - 1)
        self.picked = self.table[place].id if place > 0 else None

    def _want(self, wanted: Wanted) -> None:
        self.wanted, self.due, self.first, self.picked = wanted, True, 0, None

    def _follow(self) -> None:
        if self.chosen is None:
            return
        try:
            self.view.follow(self.chosen)
        except LookupError:
            self.message = "this connection has ended"
            return
        self.picked, self.page, self.due = self.chosen, "ladder", True
        self.frozen, self.back = None, 0

    # The ladder

    def _press_in_ladder(self, key: str) -> None:
        most = len(self.frozen or self.ladder)
        steps = {
            "up": 1,
            "k": 1,
            "down": -1,
            "j": -1,
            "page up": self.rows,
            "page down": -self.rows,
            "home": most,
            "g": most,
            "end": -most,
            "G": -most,
        }
        if key in ("escape", "enter", "left", "backspace"):
            if self.chosen is not None:
                self.view.unfollow(self.chosen)
            self.page = "table"
            self.take_again()
        elif key in steps:
            self.back = min(max(0, self.back + steps[key]), max(0, most - self.rows))
            self.frozen = (self.frozen or self.ladder) if self.back else None

    def take_again(self) -> None:
        """Choose among what is in the table, after a ladder whose connection may be gone."""
        if self.sample is not None:
            self.take(self.sample)
            self.due = True

    def scroll_ladder(self, lines: Sequence[Line], rows: int) -> Sequence[Line]:
        """The part of the ladder that is shown: its end, or where it was scrolled back to."""
        self.rows = max(1, rows)
        self.ladder = lines
        shown = lines if self.frozen is None else self.frozen
        end = len(shown) - self.back
        return shown[max(0, end - rows) : end] if rows > 0 else ()

    # The filter

    def _type(self, key: str) -> None:
        assert self.typed is not None
        if key == "enter":
            self._filter(self.typed)
        elif key == "escape":
            self.typed = None
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif key == "clear":
            self.typed = ""
        elif len(key) == 1 and len(self.typed) < _MOST_TYPED:
            self.typed += key

    def _filter(self, text: str) -> None:
        try:
            port, state = read_filter(text)
        except FilterError as error:
            self.message = str(error)
            return
        self.typed, self.filter = None, text.strip()
        self._want(replace(self.wanted, port=port, state=state))
