"""Explicit congestion notification (RFC 3168).

Both sides negotiate ECN in the SYN (ECE and CWR) and the SYN,ACK (ECE alone, so that a peer
that reflects unknown flags is not mistaken for an ECN-capable one). From then on new data
is sent as ECN-capable transport (ECT), and a router with a long queue marks it (CE) and does not
drop it. The receiver sets ECE in its ACKs until the sender replies with CWR.
The reduction of cwnd is in :mod:`~tunstack.tcp.recovery.recovery`.
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
"""Request ECN in our SYNs, and accept it."""
ACCEPT: Final = 2
"""Accept ECN when requested. Values and default are those of Linux's tcp_ecn."""

_SETUP: Final = ECE | CWR


class Ecn:
    """The ECN state of one connection.

    Attributes:
        agreed: Whether ECN was negotiated: marks that arrive are echoed.
        capable: Whether new data is sent as ECT as well.
        echo: Whether CE has arrived and CWR has not since: ACKs
            carry ECE.
        seen: Whether data with an ECT or CE codepoint has arrived.
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
        """Return ECE and CWR for our SYN; none if `again`, as it is a retransmission.

        Then it goes without: some middlebox may not like them (section 6.1.1.1). Like Linux, we
        take one try for enough.
        """
        if self._mode != REQUEST or again:
            self._plain = True
            return 0
        self._requested = True
        return _SETUP

    def answer_flags(self) -> int:
        """Return ECE for our SYN,ACK."""
        return ECE if self.agreed else 0

    def agree(self, syn: Segment) -> None:
        """Negotiate ECN by the peer's SYN or SYN,ACK; also by a retransmitted SYN.

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
        """Process CE and CWR of a data segment; returns whether ECE changes in our ACKs.

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
