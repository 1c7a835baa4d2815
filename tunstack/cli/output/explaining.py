"""A line about each packet of ``tunstack demo``, in the words of the RFCs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.ladder.reader import Reader
from tunstack.tcp.segment import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from tunstack.ladder.message import Message
    from tunstack.ladder.packets import Pair
    from tunstack.ladder.step import Step
    from tunstack.tcp.segment import Segment

LOOK_UP: Final = "look-up"
OPENING: Final = "opening"
SECURING: Final = "securing"
TALKING: Final = "talking"
CLOSING: Final = "closing"

_FAMILIES: Final = {"A": "IPv4", "AAAA": "IPv6"}
_THEIRS: Final = {
    ("ESTABLISHED", "CLOSE-WAIT"): "The kernel's side sends no more: FIN. It still receives.",
    ("FIN-WAIT-1", "FIN-WAIT-2"): "Our FIN is acknowledged: we send no more, and still receive.",
    ("FIN-WAIT-1", "TIME-WAIT"): "The kernel's FIN, which acknowledges ours too: TIME-WAIT.",
    ("FIN-WAIT-2", "TIME-WAIT"): "The kernel's FIN: both halves are closed, and we wait 2 MSL.",
    ("FIN-WAIT-1", "CLOSING"): "The kernel's FIN, which has crossed ours.",
    ("CLOSING", "TIME-WAIT"): "Our FIN is acknowledged as well: TIME-WAIT.",
    ("LAST-ACK", "CLOSED"): "Our FIN is acknowledged: closed here, TIME-WAIT at the kernel.",
}
"""What the peer's segments change."""
_OURS: Final = {
    "LAST-ACK": "Our FIN: we send no more either.",
    "FIN-WAIT-1": "Our FIN: we send no more. The kernel's side still may.",
}


class Explainer:
    """Explains packets one by one, in order of time."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._connections: dict[Pair, _Connection] = {}

    def explain(self, step: Step) -> tuple[str, str]:
        """The phase that a packet belongs to, and a line about it."""
        messages = self._reader.read(step)
        if step.segment is None:
            return LOOK_UP, _of_look_up(messages)
        connection = self._connections.setdefault(step.pair, _Connection())
        line = connection.explain(step, step.segment, messages)
        return connection.phase, line


def _of_look_up(messages: list[Message]) -> str:
    for message in messages:
        family = _FAMILIES.get(message.title[1].partition(" ")[0])
        if message.kind == "query" and family:
            return f"Which {family} address has {message.name}?"
        if message.kind == "answer" and message.answers:
            return f"The answer: {message.answers[0]}, to be kept as long as the ttl says."
        if message.kind == "answer":
            return "The answer: there is none."
    return ""


class _Connection:
    """One TCP connection, and how far it has come."""

    def __init__(self) -> None:
        self.phase = OPENING
        self._tls = False
        self._asked = False
        self._answered = False

    def explain(self, step: Step, segment: Segment, messages: list[Message]) -> str:
        ours = step.direction == "out"
        before, after = step.before or "CLOSED", step.after or "CLOSED"
        if segment.flags & RST:
            self.phase = CLOSING
            return "The connection is gone at this side: RST."
        if segment.flags & SYN:
            return _of_syn(segment)
        if after == "ESTABLISHED" != before:
            return "Our SYN is acknowledged: both sides are ESTABLISHED."
        if segment.flags & FIN or after not in (before, "ESTABLISHED"):
            self.phase = CLOSING
        if line := self._of_messages(messages, ours=ours):
            return line
        return self._of_data(segment, before, after, ours=ours)

    def _of_messages(self, messages: list[Message], *, ours: bool) -> str:
        kinds = [message.kind for message in messages]
        if "alert" in kinds:
            self.phase = CLOSING
            whose = "ours" if ours else "the client's"
            return f"close_notify, {whose}: TLS has nothing more to carry."
        if self.phase == CLOSING:
            return ""
        if "ClientHello" in kinds:
            self.phase, self._tls = SECURING, True
            return "Readable: the server's name (SNI), versions, protocols (ALPN)."
        if "ServerHello" in kinds:
            return "Keys are agreed; the certificate follows, already encrypted."
        if "handshake" in kinds and not ours:
            self._asked = "data" in kinds
            more = "and the request" if self._asked else "by the client"
            return f"The certificate is verified: Finished, {more}."
        return ""

    def _of_data(self, segment: Segment, before: str, after: str, *, ours: bool) -> str:
        if segment.payload:
            if self.phase != CLOSING:
                self.phase = TALKING
            line = self._of_payload(ours=ours)
            if segment.flags & FIN:
                return f"{line[:-1]}, and the FIN: {_side(ours=ours)} sends no more."
            late = ours and before == after == "CLOSE-WAIT"
            return "Data after the client's FIN, in CLOSE-WAIT." if late else line
        if after != before or segment.flags & FIN:
            known = _OURS.get(after) if ours else _THEIRS.get((before, after))
            return known or "A FIN, which its receiver acknowledges."
        if ours and after == "CLOSE-WAIT":
            return "The FIN is acknowledged: in CLOSE-WAIT we may still send."
        if ours and after == "TIME-WAIT":
            return "The FIN is acknowledged; if this is lost, the FIN comes again."
        return "All octets before this number have arrived."

    def _of_payload(self, *, ours: bool) -> str:
        hidden = ", encrypted" if self._tls else ""
        if not ours:
            again = "More of the" if self._asked else "The"
            self._asked = True
            return f"{again} request{hidden}."
        if self._tls and not self._asked:
            return "Session tickets, encrypted: a later handshake can be shorter."
        again = "More of the" if self._answered else "The"
        self._answered = True
        return f"{again} answer{hidden}."


def _side(*, ours: bool) -> str:
    return "our side" if ours else "the kernel's side"


def _of_syn(segment: Segment) -> str:
    if segment.flags & ACK:
        return "Our side acknowledges it, with a SYN of its own."
    return "The kernel opens: its initial sequence number, and its options."
