"""Conversations: TCP's, with relative sequence numbers and scaled windows, UDP's, and pings.

Sequence numbers are relative to the SYN, which is 0; without a captured handshake, to the first
octet, which is 1. Windows are scaled if both SYNs were captured, as only they have the scale (RFC
7323 section 2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.ladder.packets import ECHO
from tunstack.tcp.segment import ACK, FIN, RST, SYN, URG, flag_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunstack.ladder.packets import Endpoint
    from tunstack.ladder.step import Step
    from tunstack.tcp.segment import Segment

_MODULUS: Final = 1 << 32


class Flow:
    """UDP between two ports, or the echo requests of one identifier and the replies to them.

    Attributes:
        number: 1 for the first conversation of the ladder.
        protocol: That of its steps: ``"UDP"``, ``"echo"``.
        left: The endpoint of the left column: the peer, or who asked if our side is unknown.
        right: The endpoint of the right column.
    """

    def __init__(self, number: int, first: Step) -> None:
        self.number = number
        self.protocol = first.protocol
        self.left, self.right = first.source, first.destination
        answers = first.direction == "out"
        if first.direction is None:
            answers = first.protocol == ECHO and not first.source[1]
        if answers:
            self.left, self.right = self.right, self.left


class Beginning(NamedTuple):
    """What the SYN of one end of a connection said.

    Attributes:
        seq: Its sequence number.
        scale: The shift of its windows (RFC 7323 section 2.2); 0 without.
    """

    seq: int
    scale: int


class Conversation:
    """One TCP connection.

    Args:
        number: Its number.
        first: Its first segment.
        known: What the SYN of each end said, where that is known though neither was captured.

    Attributes:
        number: 1 for the first conversation of the ladder.
        protocol: ``"TCP"``.
        left: The endpoint of the left column: the peer, or the client if our side is unknown.
        right: The endpoint of the right column.
        has_syn: Whether its first captured segment was a SYN.
    """

    def __init__(
        self, number: int, first: Step, known: Mapping[Endpoint, Beginning] | None = None
    ) -> None:
        self.number = number
        self.protocol = first.protocol
        self.left, self.right = first.source, first.destination
        handshake = 0 if first.segment is None else first.segment.flags & (SYN | ACK)
        self.has_syn = handshake == SYN
        if first.direction is not None:
            handshake = 0
        answers = first.direction == "out" or handshake == SYN | ACK
        if answers:
            self.left, self.right = self.right, self.left
        self._origin: dict[Endpoint, int] = {}
        self._scale: dict[Endpoint, int | None] = {}
        if not self.has_syn and known:
            self._origin = {end: syn.seq for end, syn in known.items()}
            self._scale = {end: syn.scale for end, syn in known.items()}

    @property
    def knows_scales(self) -> bool:
        """Whether windows are shown scaled."""
        return self.has_syn or bool(self._scale)

    def is_new(self, step: Step) -> bool:
        """Whether a step opens another connection of the same four-tuple."""
        segment = step.segment
        return (
            segment is not None
            and segment.flags & (SYN | ACK) == SYN
            and self._origin.get(step.source, segment.seq) != segment.seq
        )

    def words(self, step: Step, segment: Segment) -> tuple[list[str], list[str]]:
        """Describe a segment, with relative sequence numbers.

        Returns:
            The words for the arrow, the most important first, and further details.
        """
        self._record_syn(step, segment)
        words = [
            flag_names(segment.flags),
            f"seq {self.relative(step.source, segment.seq)}",
        ]
        if segment.payload:
            words.append(f"len {len(segment.payload)}")
        if segment.flags & ACK:
            words.append(f"ack {self.relative(step.destination, segment.ack)}")
        words.append(f"win {segment.wnd << self._window_scale(step, segment)}")
        if segment.flags & URG:
            words.append(f"urg {segment.up}")
        details = _options(segment) if segment.flags & SYN else []
        for number, (left, right) in enumerate(segment.sack):
            edges = [self.relative(step.destination, edge) for edge in (left, right)]
            details.append(f"{'' if number else 'sack '}{edges[0]}:{edges[1]}")
        return words, details

    def _record_syn(self, step: Step, segment: Segment) -> None:
        if segment.flags & SYN:
            self._origin[step.source] = segment.seq
            self._scale[step.source] = segment.wscale
        elif not segment.flags & RST:
            self._origin.setdefault(step.source, segment.seq - 1)
        if segment.flags & ACK:
            self._origin.setdefault(step.destination, segment.ack - 1)

    def relative(self, sender: Endpoint, number: int) -> int:
        """The relative sequence number of an octet that `sender` sent."""
        return (number - self._origin.get(sender, number)) % _MODULUS

    def _window_scale(self, step: Step, segment: Segment) -> int:
        scales = self._scale.values()
        if segment.flags & SYN or len(scales) < 2 or None in scales:
            return 0
        return self._scale[step.source] or 0


def _options(segment: Segment) -> list[str]:
    """The options of a SYN, in the order in which Linux sends them."""
    options = []
    if segment.mss is not None:
        options.append(f"mss {segment.mss}")
    if segment.sack_permitted:
        options.append("sackOK")
    if segment.ts_val is not None:
        options.append("ts")
    if segment.wscale is not None:
        options.append(f"wscale {segment.wscale}")
    if segment.fast_open is not None:
        options.append(f"cookie {segment.fast_open.hex() or 'wanted'}")
    return options


def is_plain(step: Step) -> bool:
    """Whether a step is only data or an acknowledgment, and may be folded."""
    remarkable = step.before != step.after or step.verdict not in ("", "accepted")
    if remarkable or step.details:
        return False
    segment = step.segment
    return segment is None or (
        segment.flags & (SYN | FIN | RST | URG | ACK) == ACK
        and not segment.sack
        and segment.wnd > 0
        and step.fragment is None
    )
