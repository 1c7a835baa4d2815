"""What TCP Fast Open (RFC 7413) changes in the opening of a connection.

Both roles, and their cookies, are in :mod:`tunstack.tcp.listen.fast_open`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunstack.tcp.config import Config
    from tunstack.tcp.segment import Segment
    from tunstack.tcp.sender.sender import Sender


class FastOpen:
    """The Fast Open state of one connection: the base of both roles.

    Attributes:
        early: Whether the application may write before the handshake has ended.
        syn_data: Whether data in a SYN was acknowledged, by the peer or by us (TCPI_OPT_SYN_DATA).
    """

    __slots__ = ("early", "syn_data")

    def __init__(self, *, early: bool) -> None:
        self.early = early
        self.syn_data = False

    @property
    def awaits_data(self) -> bool:
        """Whether our SYN waits for data to carry (Linux's defer_connect)."""
        return False

    def add_option(self, syn: Segment, sender: Sender, config: Config, now: float) -> None:
        """Add the option, and data, to a SYN that is about to be sent or retransmitted."""

    def covers(self, ack: int, sender: Sender) -> bool:
        """Whether `ack` acknowledges data in our SYN."""
        return False

    def take_syn_data_ack(self, ack: int, sender: Sender) -> bool:
        """Advance SND.NXT over the data in our SYN that `ack` covers; returns whether it does."""
        return False

    def on_syn_ack(self, syn_ack: Segment, now: float, *, retransmitted: bool) -> None:
        """Process the SYN,ACK; `retransmitted`: whether our SYN was."""

    def on_failure(self, error: OSError | None) -> None:
        """Process the failure of the handshake."""
