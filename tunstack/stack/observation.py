"""Observations of packets received and sent, for captures and traces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tunstack.compiled import reduced


@dataclass(slots=True, frozen=True)
class Windows:
    """The congestion windows of a connection, in octets.

    Attributes:
        cwnd: The congestion window.
        ssthresh: The slow start threshold; None before the first loss.
        mss: Octets of data that a segment can carry.
    """

    cwnd: int
    ssthresh: int | None
    mss: int

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    def __str__(self) -> str:
        threshold = "" if self.ssthresh is None else f", ssthresh {self.ssthresh}"
        return f"cwnd {self.cwnd}{threshold}, mss {self.mss}"


@dataclass(slots=True, frozen=True)
class Observation:
    """A packet that the stack received or sent, and its verdict.

    Attributes:
        time: Seconds since the UNIX epoch.
        direction: "in" from the link to the stack, "out" the other way.
        packet: The whole IP packet.
        before: RFC 9293 name of our connection's state before the packet, as ``"SYN-SENT"``; None
            when no connection was concerned (a ping, a packet that was dropped early).
        after: The state after it; None when no connection was concerned or when it was deleted.
        verdict: What was decided, for people: ``"accepted"``, ``"dropped: bad TCP checksum"``,
            ``"out of window"``, ``"retransmission: timeout"``. May be empty for outgoing packets.
        windows: What our congestion control allows from then on; None when it is not asked: before
            the handshake is over, and where no connection was concerned. Two observations that
            differ in nothing else are equal.
    """

    time: float
    direction: Literal["in", "out"]
    packet: bytes
    before: str | None = None
    after: str | None = None
    verdict: str = ""
    windows: Windows | None = field(default=None, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    @property
    def comment(self) -> str:
        """One line for a capture: ``"SYN-SENT -> ESTABLISHED: accepted; cwnd 14480, mss 1448"``."""
        states = self.before or ""
        if self.after is not None and self.after != self.before:
            states = f"{self.before or 'none'} -> {self.after}"
        text = ": ".join(part for part in (states, self.verdict) if part)
        return "; ".join(part for part in (text, str(self.windows or "")) if part)
