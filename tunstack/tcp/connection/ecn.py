"""Explicit congestion notification: a mark where there would have been a loss (RFC 3168).

Who can, says so in the SYN (ECE and CWR together) and in its answer (ECE alone, so that a peer
which merely reflects what it does not know is not taken for one that can). From then on new data
is sent as ECN-capable transport (ECT), and a router whose queue fills marks it (CE) and does not
drop it. The receiver sets ECE in all that it sends, until the sender answers with CWR.
What the sender does about it is the recovery's part (:mod:`~tunstack.tcp.recovery.recovery`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.tcp.segment import ACK, CWR, ECE

if TYPE_CHECKING:
    from tunstack.tcp.segment import Segment

NOT_ECT: Final = 0
ECT_1: Final = 1
ECT_0: Final = 2
CE: Final = 3

OFF: Final = 0
REQUEST: Final = 1
"""Ask for it, and agree when asked."""
ACCEPT: Final = 2
"""Agree when asked. The values are those of Linux's tcp_ecn, and so is the default."""

_SETUP: Final = ECE | CWR


class Ecn:
    """What one connection has agreed on, and what it owes the peer.

    Attributes:
        agreed: Whether both sides know of it: marks that arrive are echoed.
        capable: Whether new data goes out as ECT as well.
        echo: Whether a mark has arrived that the peer has not yet answered with a CWR: all that
            acknowledges carries ECE.
        seen: Whether data that may be marked has ever come.
    """

    __slots__ = ("_mode", "_plain", "_requested", "agreed", "capable", "echo", "seen")

    def __init__(self, mode: int) -> None:
        self._mode = mode
        self._requested = False
        self._plain = False
        self.agreed = False
        self.capable = False
        self.echo = False
        self.seen = False

    # The handshake (section 6.1.1)

    def syn_flags(self, *, again: bool) -> int:
        """The flags of our SYN. `again`: it was sent before, and not answered.

        Then it goes without: some middlebox may not like them (section 6.1.1.1). Like Linux, we
        take one try for enough.
        """
        if self._mode != REQUEST or again:
            self._plain = True
            return 0
        self._requested = True
        return _SETUP

    def answer_flags(self) -> int:
        """The flags of our SYN,ACK."""
        return ECE if self.agreed else 0

    def agree(self, syn: Segment) -> None:
        """Take what the peer's SYN, or its SYN,ACK, says; a SYN that comes again counts as well.

        A SYN that claims ECT comes from somewhere where the octet means something else, or was
        changed on its way: ECN is not used then, as on Linux.
        """
        setup = syn.flags & _SETUP
        if syn.flags & ACK:
            self.agreed = self._requested and setup == ECE
        else:
            willing = self._mode != OFF and not self._plain
            self.agreed = willing and setup == _SETUP and syn.ecn == NOT_ECT
        # After a SYN without the flags we must not send ECT, but echo marks.
        self.capable = self.agreed and not self._plain

    # The receiver (section 6.1.3)

    def data_arrived(self, segment: Segment) -> bool:
        """Note what data within the window brings; returns whether our answer changes by it.

        Data outside of the window is not to get here (section 6.1.5). CWR comes first: data that
        carries it may have been marked itself.
        """
        if not self.agreed:
            return False
        before = self.echo
        if segment.ecn != NOT_ECT:
            self.seen = True
        if segment.flags & CWR:
            self.echo = False
        if segment.ecn == CE:
            self.echo = True
        return self.echo is not before
