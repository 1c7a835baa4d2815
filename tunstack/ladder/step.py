"""A packet as a step of the ladder, with our side's state and verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from tunstack.ladder.packets import read_contents
from tunstack.stack.observation import Windows

if TYPE_CHECKING:
    from tunstack.ladder.packets import Endpoint, Fingerprint, Fragment, Pair, Quoted
    from tunstack.stack.observation import Observation
    from tunstack.tcp.segment import Segment

Direction: TypeAlias = Literal["in", "out"]

# The format of `Observation.comment`: "BEFORE -> AFTER: verdict", "STATE: verdict", or a part of
# it, and after "; " the windows.
_STATE: Final = (
    r"(?:LISTEN|SYN-SENT|SYN-RECEIVED|ESTABLISHED|FIN-WAIT-[12]|CLOSE-WAIT|CLOSING|LAST-ACK"
    r"|TIME-WAIT|CLOSED)"
)
_COMMENT: Final = re.compile(
    rf"(?:(?P<before>{_STATE}|none)(?: -> (?P<after>{_STATE}))?(?:: |(?=; )|$))?"
    r"(?P<verdict>.*?)"
    r"(?:(?:; |^)cwnd (?P<cwnd>\d+)(?:, ssthresh (?P<ssthresh>\d+))?, mss (?P<mss>\d+))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Step:
    """A decoded packet, and what our side made of it.

    Attributes:
        time: Seconds since the UNIX epoch.
        source: Address and port, as in :class:`~tunstack.ladder.packets.Contents`.
        destination: Likewise.
        segment: The TCP segment, or None.
        words: The description of a packet other than TCP, the most important first.
        details: More of it, of TCP as well.
        direction: "in" to our side, "out" from it; None if our side is unknown.
        before: Our side's state before it, if known.
        after: The state after it.
        verdict: Our side's verdict.
        protocol: That of its conversation; empty if it belongs to none.
        kind: Its name among the packets left out.
        size: Octets of data.
        data: The octets of a whole UDP datagram, as far as they were captured.
        missing: Octets at the end of the packet that were not captured.
        housekeeping: Whether a kernel sends such packets on every device.
        fragment: Its place in a datagram, if it is a fragment.
        quoted: What it quotes, if it is an ICMP error.
        fingerprint: What tells it from others; None if it cannot be decoded.
        windows: Our side's congestion window and threshold, if known.
    """

    time: float
    source: Endpoint
    destination: Endpoint
    segment: Segment | None
    words: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    direction: Direction | None = None
    before: str | None = None
    after: str | None = None
    verdict: str = ""
    protocol: str = "TCP"
    kind: str = "TCP"
    size: int = 0
    housekeeping: bool = False
    fragment: Fragment | None = None
    quoted: Quoted | None = None
    fingerprint: Fingerprint | None = None
    windows: Windows | None = None
    data: bytes = b""
    missing: int = 0

    @property
    def pair(self) -> Pair:
        """What it shares with the other packets of its conversation."""
        return self.protocol, frozenset((self.source, self.destination))

    @property
    def text(self) -> str:
        """Its words, as a text."""
        return " ".join(self.words)


def step_from_observation(seen: Observation) -> Step:
    """Decode an observation of a host's tap."""
    return read_packet(
        seen.time, seen.packet, seen.direction, seen.before, seen.after, seen.verdict
    )


def step_from_capture(time: float, packet: bytes, comment: str) -> Step:
    """Decode a packet of a capture, and its comment if tunstack wrote it."""
    match = _COMMENT.fullmatch(comment)
    assert match is not None, "the pattern matches every text"
    before, after, verdict = match["before"], match["after"], match["verdict"]
    if before == "none":
        before = None
    step = read_packet(time, packet, None, before, after or before, verdict)
    if match["cwnd"] is None:
        return step
    ssthresh = None if match["ssthresh"] is None else int(match["ssthresh"])
    return replace(step, windows=Windows(int(match["cwnd"]), ssthresh, int(match["mss"])))


def read_packet(
    time: float,
    packet: bytes,
    direction: Direction | None = None,
    before: str | None = None,
    after: str | None = None,
    verdict: str = "",
) -> Step:
    """Decode an IP packet; one that cannot be decoded becomes a step with the reason."""
    contents = read_contents(packet)
    return Step(
        time,
        contents.source,
        contents.destination,
        contents.segment,
        tuple(contents.words),
        tuple(contents.details),
        direction,
        before,
        after,
        verdict,
        contents.protocol,
        contents.kind,
        contents.size,
        contents.housekeeping,
        contents.fragment,
        contents.quoted,
        contents.fingerprint,
        data=contents.data,
        missing=contents.missing,
    )
