"""A TCP segment of a conversation, with numbers relative to the SYNs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tunstack.tcp.segment import ACK, URG, Segment, flag_names
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from tunstack.conversation.numbers import Numbers
    from tunstack.path.rules.packet import Packet


@dataclass(frozen=True, slots=True)
class TcpSegment:
    """A segment that came or was sent, as :class:`~tunstack.Conversation` shows it.

    Attributes:
        flags: Names of the flags that are set: ``"SYN,ACK"``; ``"none"``.
        seq: The relative sequence number: 0 is its sender's SYN, 1 the first octet. Negative before
            the SYN.
        ack: The relative acknowledgment number: 1 acknowledges the other side's SYN. None without
            ACK.
        window: The window field as it stands on the wire: not scaled.
        payload: The data.
        urgent: The urgent pointer field; None without URG.
        mss: The MSS option, or None.
        window_scale: The window scale option, or None.
        sack_permitted: Whether it has the SACK-permitted option.
        timestamps: TSval and TSecr, or None.
        sack: SACK blocks, as pairs of relative numbers of the other side.
        options: All options, as they stand on the wire.
        packet: The IP packet.
        time: When it came or was sent, in seconds on trio's clock.
        direction: ``"in"`` or ``"out"``, from the host's view.
    """

    flags: str
    seq: int
    ack: int | None
    window: int
    payload: bytes
    urgent: int | None
    mss: int | None
    window_scale: int | None
    sack_permitted: bool
    timestamps: tuple[int, int] | None
    sack: tuple[tuple[int, int], ...]
    options: bytes
    packet: Packet = field(repr=False)
    time: float
    direction: Literal["in", "out"]

    @property
    def length(self) -> int:
        """SEG.LEN of RFC 9293: octets of sequence space, including SYN and FIN."""
        names = self.flags.split(",")
        return len(self.payload) + ("SYN" in names) + ("FIN" in names)

    def __str__(self) -> str:
        words = [self.flags, f"seq {self.seq}"]
        if self.ack is not None:
            words.append(f"ack {self.ack}")
        words.append(f"win {self.window}")
        if self.payload:
            words.append(f"len {len(self.payload)}")
        return " ".join(words)


def decode(packet: bytes, *, trusted: bool = False) -> tuple[Segment, bytes]:
    """The segment of a whole IP packet, and its options as they stand on the wire.

    Args:
        packet: The packet.
        trusted: Whether TCP's checksum is not verified.

    Raises:
        Discard: The packet is malformed, or a checksum is wrong.
    """
    datagram = decode_datagram(packet)
    datagram.trusted = trusted
    segment = decode_segment(datagram)[2]
    header = bytes(datagram.payload[: len(datagram.payload) - len(segment.payload)])
    return segment, header[20:]


def described(
    packet: Packet,
    segment: Segment,
    options: bytes,
    *,
    own: Numbers,
    other: Numbers,
    time: float,
    direction: Literal["in", "out"],
) -> TcpSegment:
    """A segment with relative numbers.

    Args:
        packet: That it came or is sent in.
        segment: As it is on the wire.
        options: Its options.
        own: The numbers of the side that sends it.
        other: Those of the side that it goes to.
        time: When.
        direction: Of the packet.
    """
    has_timestamps = segment.ts_val is not None
    return TcpSegment(
        flags=flag_names(segment.flags),
        seq=own.relative(segment.seq),
        ack=other.relative(segment.ack) if segment.flags & ACK else None,
        window=segment.wnd,
        payload=bytes(segment.payload),
        urgent=segment.up if segment.flags & URG else None,
        mss=segment.mss,
        window_scale=segment.wscale,
        sack_permitted=segment.sack_permitted,
        timestamps=(segment.ts_val or 0, segment.ts_ecr) if has_timestamps else None,
        sack=tuple((other.relative(left), other.relative(right)) for left, right in segment.sack),
        options=options,
        packet=packet,
        time=time,
        direction=direction,
    )
