"""A frame: what is looked at, as as many lines as the terminal has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.cli.top.columns import Columns, is_single, state_style
from tunstack.cli.top.lines import filled, fitted, joined, wrapped
from tunstack.cli.top.units import count, duration, short, with_unit
from tunstack.ladder import UNICODE, Piece
from tunstack.ladder.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunstack.cli.top.looking import Looking
    from tunstack.ladder import Line, Symbols
    from tunstack.live import ConnectionRow, Followed, Sample

_BARS: Final = "▁▂▃▄▅▆▇█"
_HISTORY: Final = 30.0
"""Seconds of the line of the congestion window."""
_LEAST_WITH_STATES: Final = 64
"""Characters of a terminal whose ladder has our state beside it."""
_KEYS: Final = (
    ("q", "leave; Ctrl-C as well"),
    ("up, down, k, j", "choose a connection, or scroll its ladder"),
    ("page up, page down", "by a page; home, end, g, G: to the ends"),
    ("Enter", "the ladder of the chosen connection, and back again"),
    ("s, S", "sort by rate, state, retransmissions, age; S backwards"),
    ("/ or f", "show connections with a port or in a state only: 80, estab, time 80"),
    ("Esc", "no filter; back from a ladder"),
    ("p", "pause, and go on"),
    ("Ctrl-L", "draw the screen anew"),
    ("Ctrl-Z", "suspend; fg continues"),
)


class Frames:
    """Makes frames.

    Args:
        program: What is written in the first line.
        symbols: To draw with.
    """

    def __init__(self, program: str, symbols: Symbols = UNICODE) -> None:
        self._program = program
        self._symbols = symbols

    def lines(
        self, looking: Looking, width: int, height: int, output: Sequence[str] = ()
    ) -> list[Line]:
        """A line for each row of the terminal.

        Args:
            looking: What is looked at.
            width: Columns of the terminal.
            height: Rows of it.
            output: The last lines of what was printed meanwhile.
        """
        if looking.sample is None or width < 1 or height < 1:
            return [()] * max(0, height)
        footer = [self._footer(looking, width)]
        pane = self._pane(output, width, height)
        top = self._header(looking, looking.sample, height)
        room = height - len(top) - len(pane) - len(footer)
        body = self._body(looking, looking.sample, width, room)[: max(0, room)]
        body += [()] * (room - len(body))
        lines = [fitted(line, width) for line in (*top, *body, *pane)]
        return [*lines, *footer][-height:] if height < 2 else [*lines, *footer][:height]

    def _body(self, looking: Looking, sample: Sample, width: int, room: int) -> list[Line]:
        if looking.page == "help":
            return [(Piece(f"  {key:<20}", "bold"), Piece(what)) for key, what in _KEYS]
        if looking.page == "ladder":
            return self._ladder(looking, width, room)
        return self._table(looking, sample, width, room)

    # The whole host

    def _header(self, looking: Looking, sample: Sample, height: int) -> list[Line]:
        lines = [self._title(looking, sample)]
        if height >= 6:
            lines.append(_traffic(sample))
        if height >= 8:
            lines.append(_states(sample))
        if height >= 12 and looking.page == "table":
            lines.append(_sockets(sample))
        return lines if height >= 3 else []

    def _title(self, looking: Looking, sample: Sample) -> Line:
        addresses = ", ".join(
            each.partition("/")[0] if is_single(each) else each for each in sample.addresses
        )
        parts: list[Line] = [
            (Piece(self._program, "bold"),),
            (Piece(addresses),),
            (Piece(f"{sample.name}, MTU {sample.mtu}", "dim"),),
            (Piece(f"up {duration(sample.uptime)}"),),
        ]
        if looking.paused:
            parts.insert(1, (Piece(" PAUSED ", "reverse"),))
        return joined(parts)

    # Connections

    def _table(self, looking: Looking, sample: Sample, width: int, room: int) -> list[Line]:
        detail = self._detail(looking, width) if room >= 9 else []
        rows = looking.scroll(room - 1 - len(detail))
        columns = Columns(rows, sample.addresses, width, self._symbols.ellipsis)
        lines = [filled(columns.heading(), width, "bold underline")]
        for row in rows:
            line = columns.row(row)
            chosen = row.id == looking.chosen
            lines.append(filled(line, width, "bold reverse") if chosen else line)
        if not rows and room > 2:
            nothing = "no connection matches the filter" if looking.filter else "no connections"
            lines.append((Piece(nothing, "dim"),))
        lines += [()] * (room - len(detail) - len(lines))
        return [*lines, *detail]

    def _detail(self, looking: Looking, width: int) -> list[Line]:
        """The chosen connection's numbers, as ``ss -ti`` has them; always as many lines."""
        row = next((row for row in looking.table if row.id == looking.chosen), None)
        count = 2 if width >= 120 else 3
        texts = [] if row is None else wrapped(row.numbers.split(), width - 1)[:count]
        return [(Piece(f" {text}", "dim"),) for text in texts] + [()] * (count - len(texts))

    # A connection

    def _ladder(self, looking: Looking, width: int, room: int) -> list[Line]:
        followed = looking.followed
        if followed is None:
            return [(Piece("this connection is not followed any more", "dim"),)]
        head = self._connection(followed, width, room)
        states = width >= _LEAST_WITH_STATES
        layout = Layout(width, self._symbols, states=states, names=("peer", "tunstack"))
        lines: list[Line] = []
        if followed.conversation is not None:
            lines += layout.heading(followed.conversation)
        for row in followed.rows:
            lines += layout.row(row)
        if not lines:
            lines = [(Piece("its next packets will be here", "dim"),)]
        return [*head, *looking.scroll_ladder(lines, room - len(head))]

    def _connection(self, followed: Followed, width: int, room: int) -> list[Line]:
        row = followed.row
        if row is None:
            return []
        state = "ended" if followed.ended else row.state
        lines = [filled(_summary(row, state, followed.packets), width, "bold underline")]
        if room >= 8:
            lines += [
                (Piece(f" {text}", "dim"),) for text in wrapped(row.numbers.split(), width - 1)
            ]
        if room >= 12 and self._symbols is UNICODE:
            lines += _window_line(followed, width)
        return lines

    # What is below

    def _pane(self, output: Sequence[str], width: int, height: int) -> list[Line]:
        """The last lines of output, with a rule above."""
        most = min((height - 12) // 3, 8)
        if not output or most < 2:
            return []
        rule = f"{self._symbols.dash * 2} output ".ljust(width, self._symbols.dash)
        return [(Piece(rule, "dim"),), *((Piece(text),) for text in output[-(most - 1) :])]

    def _footer(self, looking: Looking, width: int) -> Line:
        if looking.typed is not None:
            hint = looking.message or "a port or a state, and Enter"
            style = "bold red" if looking.message else "dim"
            prompt = (Piece("show only: ", "bold"), Piece(looking.typed), Piece(" ", "reverse"))
            return fitted((*prompt, Piece(f"  {hint}", style)), width)
        if looking.message:
            return fitted((Piece(looking.message, "bold red"),), width)
        if looking.page == "ladder":
            keys = [("Esc", "back"), ("↑↓" if self._unicode else "k j", "scroll"), ("p", "pause")]
            if looking.frozen is not None:
                keys.insert(0, ("End", "to the latest"))
        else:
            keys = [
                ("↑↓" if self._unicode else "k j", "choose"),
                ("Enter", "ladder"),
                ("s", f"sort: {looking.wanted.order}"),
                ("/", f"only: {looking.filter}" if looking.filter else "filter"),
                ("p", "go on" if looking.paused else "pause"),
            ]
        keys = [("q", "quit"), *keys, ("?", "help")]
        return fitted(joined((Piece(key, "bold"), Piece(f" {what}")) for key, what in keys), width)

    @property
    def _unicode(self) -> bool:
        return self._symbols is UNICODE


def _traffic(sample: Sample) -> Line:
    totals = sample.totals
    ways: list[Line] = [
        (Piece(f"{way} {_rate(rate)}", "bold"), Piece(f", {short(packets)} pkt/s"))
        for way, rate, packets in (
            ("in", totals.rate_in, totals.packet_rate_in),
            ("out", totals.rate_out, totals.packet_rate_out),
        )
    ]
    troubles: list[Line] = [
        (Piece(f"{what} {short(number)}", "red" if number else "dim"),)
        for what, number in (("retrans", totals.retransmitted), ("dropped", totals.dropped))
    ]
    return joined((*ways, *troubles))


def _states(sample: Sample) -> Line:
    totals = sample.totals
    pieces = [Piece(count(sum(sample.states.values()), "connection"), "bold")]
    for number, (state, connections) in enumerate(sample.states.items()):
        pieces.append(Piece(": " if not number else ", "))
        pieces.append(Piece(f"{connections:,} {state}", state_style(state)))
    return joined(
        (
            tuple(pieces),
            (Piece(f"{totals.opened:,} opened, {short(totals.open_rate)}/s"),),
            (Piece(f"memory {with_unit(totals.memory, 'B')}", "dim"),),
        )
    )


def _sockets(sample: Sample) -> Line:
    listening = [row.local for row in sample.listeners]
    datagrams = [row.local for row in sample.datagrams]
    parts = []
    if listening:
        parts.append(f"listening: {', '.join(listening)}")
    if datagrams:
        parts.append(f"UDP: {', '.join(datagrams)}")
    return (Piece("  ".join(parts), "dim"),)


def _rate(rate: float) -> str:
    """Octets per second, as bits per second."""
    return with_unit(rate * 8, "bit/s")


def _summary(row: ConnectionRow, state: str, packets: int) -> Line:
    rates = f"in {_rate(row.rate_in)}  out {_rate(row.rate_out)}"
    parts = [state, f"{row.local} {row.remote}", rates, count(packets, "packet")]
    if row.age is not None:
        parts.insert(2, duration(row.age))
    return (Piece("  ".join(parts)),)


def _window_line(followed: Followed, width: int) -> Iterator[Line]:
    """The congestion window of the last seconds, as bars."""
    points = [*followed.points]
    if len(points) < 2:
        return
    title = f"cwnd, {_HISTORY:.0f} s "
    most = max(point.cwnd for point in points)
    columns = width - len(title) - 14
    if columns < 10 or not most:
        return
    bars, place, end = "", 0, points[-1].time
    for column in range(columns):
        until = end - _HISTORY * (columns - 1 - column) / columns
        while place + 1 < len(points) and points[place + 1].time <= until:
            place += 1
        known = points[place].time <= until
        bars += _BARS[(len(_BARS) - 1) * points[place].cwnd // most] if known else " "
    yield (
        Piece(f" {title}", "dim"),
        Piece(bars, "cyan"),
        Piece(f" max {with_unit(most, 'B')}", "dim"),
    )
