"""What the stack saw and decided, one packet at a time: the source of captures and of ladders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True, frozen=True)
class Observation:
    """One packet that the stack received or sent, and what it made of it.

    Attributes:
        time: Seconds since the UNIX epoch.
        direction: "in" from the link to the stack, "out" the other way.
        packet: The whole IP packet.
        before: RFC 9293 name of our connection's state before the packet, as ``"SYN-SENT"``; None
            when no connection was concerned (a ping, a packet that was dropped early).
        after: The state after it; None when no connection was concerned or when it was deleted.
        verdict: What was decided, for people: ``"accepted"``, ``"dropped: bad TCP checksum"``,
            ``"out of window"``, ``"retransmission: timeout"``. May be empty for outgoing packets.
    """

    time: float
    direction: Literal["in", "out"]
    packet: bytes
    before: str | None = None
    after: str | None = None
    verdict: str = ""

    @property
    def comment(self) -> str:
        """One line for a capture: ``"SYN-SENT -> ESTABLISHED: accepted"``."""
        states = self.before or ""
        if self.after is not None and self.after != self.before:
            states = f"{self.before or 'none'} -> {self.after}"
        return ": ".join(part for part in (states, self.verdict) if part)
