"""What a host knows of a packet's connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tunstack.ip.demux import FourTuple
    from tunstack.tcp.info import TcpInfo


@dataclass(slots=True, frozen=True)
class Known:
    """What the host knows of a packet's connection.

    Attributes:
        number: Its index among all connections of the host, in order of creation.
        state: RFC 9293's name, as ``"ESTABLISHED"``.
        sent: The sequence number of the first octet that the host sends, and about how many it has
            sent; None if unknown.
        received: The same of what it receives.
        info: Returns the snapshot.
    """

    number: int
    state: str
    sent: tuple[int, int] | None
    received: tuple[int, int] | None
    info: Callable[[], TcpInfo]


Lookup: TypeAlias = Callable[["FourTuple"], Known | None]
"""Finds the host's connection."""
