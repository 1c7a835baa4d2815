"""The columns of the table of connections: which of them fit, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Final

from tunstack.cli.top.units import bits, duration, milliseconds, short
from tunstack.ladder import Piece
from tunstack.ladder.layout import write_end
from tunstack.live.sample import has_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunstack.ladder import Line
    from tunstack.live import ConnectionRow

_LEAST_PEER: Final = 12
"""Characters of the column of peers, for which other columns make room..."""
_PEER_SHARE: Final = 0.375
"""...and for so much of the width, if it needs them."""
_OPENING: Final = frozenset({"SYN-SENT", "SYN-RECV"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        title: Its heading, in the words of ss.
        width: Its characters.
        cell: What it has of a connection.
        style: In what style.
    """

    title: str
    width: int
    cell: Callable[[ConnectionRow], str]
    style: Callable[[ConnectionRow], str] = lambda row: ""


def state_style(state: str) -> str:
    """The style of a state, by ss's name."""
    if state == "ESTAB":
        return ""
    if state in _OPENING:
        return "magenta"
    return "dim" if state in ("TIME-WAIT", "UNCONN") else "cyan"


def _state(row: ConnectionRow) -> str:
    return state_style(row.state)


def _troubled(row: ConnectionRow) -> str:
    if row.phase in ("recovery", "loss"):
        return "bold red"
    return "red" if row.info.retransmits else ""


def _segments(row: ConnectionRow, octets: int) -> str:
    """Octets as segments, as ss has windows of congestion control; empty in TIME-WAIT."""
    return short(octets // row.info.snd_mss) if row.info.snd_mss else ""


def _threshold(row: ConnectionRow) -> str:
    return _segments(row, row.info.snd_ssthresh) if has_threshold(row.info) else ""


_NUMBERS: Final = (
    Column("in b/s", 6, lambda row: bits(row.rate_in)),
    Column("out b/s", 7, lambda row: bits(row.rate_out)),
    Column("rtt ms", 6, lambda row: milliseconds(row.info.rtt)),
    Column("cwnd", 5, lambda row: _segments(row, row.info.snd_cwnd)),
    Column("retrans", 7, lambda row: short(row.info.retransmits), _troubled),
    Column("unacked", 7, lambda row: short(row.info.unacked)),
    Column("snd_wnd", 7, lambda row: short(row.info.snd_wnd)),
    Column("rcv_wnd", 7, lambda row: short(row.info.rcv_wnd)),
    Column("Send-Q", 6, lambda row: short(row.info.unacked + row.info.notsent)),
    Column("Recv-Q", 6, lambda row: short(row.info.unread)),
    Column("age", 6, lambda row: duration(row.age)),
    Column("ssthresh", 8, _threshold),
)
"""The most important first; the others are where there is room."""
_STATE: Final = Column("State", 10, lambda row: row.state, _state)


class Columns:
    """The columns that fit.

    Args:
        rows: The connections that are shown.
        addresses: The host's, with their networks. Where they are single addresses, our end is
            shown as its port.
        width: Of the terminal.
        ellipsis: Stands for the groups that are left out of an IPv6 address.
    """

    def __init__(
        self,
        rows: Sequence[ConnectionRow],
        addresses: Sequence[str],
        width: int,
        ellipsis: str,
    ) -> None:
        self._ellipsis = ellipsis
        self._only_ports = len(addresses) <= 2 and all(map(is_single, addresses))
        local = _Ends("Local", [self._local(row) for row in rows])
        peer = _Ends("Peer Address:Port", [row.remote for row in rows])
        reserved = min(peer.width, max(_LEAST_PEER, int(width * _PEER_SHARE)))
        room = width - _STATE.width - 1 - (local.width + 1) - reserved
        self._numbers = []
        for column in _NUMBERS:
            if room < column.width + 1:
                break
            self._numbers.append(column)
            room -= column.width + 1
        self._local_width = local.width
        self._peer_width = min(peer.width, max(0, room + reserved))

    def heading(self) -> Line:
        """The titles."""
        cells = [f"{_STATE.title:<{_STATE.width}}", f"{'Local':<{self._local_width}}"]
        cells.append(f"{'Peer Address:Port':<{self._peer_width}}"[: self._peer_width])
        cells += [f"{column.title:>{column.width}}" for column in self._numbers]
        return (Piece(" ".join(cells)),)

    def row(self, row: ConnectionRow) -> Line:
        """A connection."""
        address, port = row.info.remote
        peer = write_end((str(address), port), "TCP", self._peer_width, self._ellipsis)
        pieces = [
            Piece(f"{row.state:<{_STATE.width}} ", _STATE.style(row)),
            Piece(f"{self._local(row):<{self._local_width}} "),
            Piece(f"{peer:<{self._peer_width}}"[: self._peer_width]),
        ]
        for column in self._numbers:
            pieces.append(Piece(f" {column.cell(row):>{column.width}}", column.style(row)))
        return tuple(pieces)

    def _local(self, row: ConnectionRow) -> str:
        return f":{row.info.local[1]}" if self._only_ports else row.local


@dataclass(frozen=True, slots=True)
class _Ends:
    title: str
    texts: Sequence[str]

    @property
    def width(self) -> int:
        return max([len(self.title), *map(len, self.texts)])


def is_single(address: str) -> bool:
    """Whether an address with its network is one address, and not the whole network."""
    interface = ip_interface(address)
    return interface.ip != interface.network.network_address or interface.network.num_addresses == 1
