"""Decode a packet as a step of the ladder, with our side's state and verdict.

Captures have wrong checksums if taken where these are offloaded, and truncated packets if taken
with a snapshot length. Both are repaired in a copy before `tunstack.wire` decodes it, which would
discard the packet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from tunstack.ip.address import text as address_text
from tunstack.ip.datagram import ICMP, TCP, UDP, Datagram
from tunstack.ip.icmp import ECHO_REPLY, ECHO_REQUEST
from tunstack.stack.observation import Windows
from tunstack.wire import (
    Discard,
    Reason,
    checksum,
    decode_datagram,
    decode_icmp,
    decode_segment,
)

if TYPE_CHECKING:
    from tunstack.stack.observation import Observation
    from tunstack.tcp.segment import Segment

Direction: TypeAlias = Literal["in", "out"]
Endpoint: TypeAlias = tuple[str, int]

_ICMPV6: Final = 58
_HOP_BY_HOP: Final = 0
_ICMPV6_NAMES: Final = {
    1: "destination unreachable",
    2: "packet too big",
    3: "time exceeded",
    4: "parameter problem",
    128: "echo request",
    129: "echo reply",
    130: "multicast listener query",
    131: "multicast listener report",
    132: "multicast listener done",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    143: "multicast listener report",
}
"""Source: the registry "ICMPv6 type numbers" (RFC 4443, 4861, 2710, 3810)."""

_ICMP_NAMES: Final = {
    ECHO_REPLY: "echo reply",
    3: "destination unreachable",
    4: "source quench",
    5: "redirect",
    ECHO_REQUEST: "echo request",
    11: "time exceeded",
    12: "parameter problem",
}

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
    """A decoded packet.

    Attributes:
        time: Seconds since the UNIX epoch.
        source: Address and port, with port 0 if there is none; ("", 0) if it cannot be decoded.
        destination: Likewise.
        segment: The TCP segment, or None.
        text: The description of a packet other than TCP.
        direction: "in" to our side, "out" from it; None if our side is unknown.
        before: Our side's state before it, if known.
        after: The state after it.
        verdict: Our side's verdict.
        version: Of IP.
        kind: Its name among the packets left out.
        windows: Our side's congestion window and threshold, if known.
    """

    time: float
    source: Endpoint
    destination: Endpoint
    segment: Segment | None
    text: str = ""
    direction: Direction | None = None
    before: str | None = None
    after: str | None = None
    verdict: str = ""
    version: int = 4
    kind: str = "TCP"
    windows: Windows | None = None


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
    nowhere = ("", 0)
    version = packet[0] >> 4 if packet else 0
    source, destination, segment, text, kind = nowhere, nowhere, None, "", "TCP"
    try:
        datagram = _datagram(packet)
        source, destination = (address_text(datagram.src), 0), (address_text(datagram.dst), 0)
        if datagram.protocol == TCP and not datagram.fragment_offset:
            sport, dport, segment = decode_segment(datagram)
            source, destination = (source[0], sport), (destination[0], dport)
        else:
            text = _describe(datagram)
            kind = _kind(datagram)
    except Discard as error:
        kind = _ipv6_kind(packet) if version == 6 else error.reason.phrase
        text = f"{len(packet)} bytes: {kind}"
    return Step(
        time,
        source,
        destination,
        segment,
        text,
        direction,
        before,
        after,
        verdict,
        version,
        kind,
    )


def _ipv6_kind(packet: bytes) -> str:
    """Name an IPv6 packet (RFC 8200) by its protocol or ICMPv6 type."""
    if len(packet) < 40:
        return "IPv6"
    protocol, at = packet[6], 40
    if protocol == _HOP_BY_HOP and len(packet) >= at + 2:
        protocol, at = packet[at], at + 8 * (packet[at + 1] + 1)
    if protocol == _ICMPV6 and at < len(packet):
        return f"IPv6 {_ICMPV6_NAMES.get(packet[at], f'ICMP type {packet[at]}')}"
    name = {TCP: "TCP", UDP: "UDP"}.get(protocol)
    return f"IPv6 {name}" if name else "IPv6"


def _kind(datagram: Datagram) -> str:
    """Name a packet other than TCP."""
    if datagram.fragment_offset:
        return "fragment"
    names = {ICMP: "ICMP", UDP: "UDP"}
    return names.get(datagram.protocol, f"protocol {datagram.protocol}")


def _datagram(packet: bytes) -> Datagram:
    """Decode an IPv4 packet, padded if truncated, and with checksums corrected."""
    if len(packet) >= 20:
        packet += bytes(max(0, int.from_bytes(packet[2:4], "big") - len(packet)))
    try:
        datagram = decode_datagram(packet)
    except Discard as error:
        if error.reason is not Reason.BAD_IP_CHECKSUM:
            raise
        header_length = (packet[0] & 0xF) * 4
        header = packet[:10] + bytes(2) + packet[12:header_length]
        right = checksum(header).to_bytes(2, "big")
        datagram = decode_datagram(packet[:10] + right + packet[12:])
    _repair_checksum(datagram)
    return datagram


def _repair_checksum(datagram: Datagram) -> None:
    """Correct the TCP or ICMP checksum in the payload."""
    payload = bytes(datagram.payload)
    if datagram.protocol == TCP and len(payload) >= 20:
        at, pseudo_header = 16, datagram.src + datagram.dst + bytes((0, TCP))
        pseudo_header += len(payload).to_bytes(2, "big")
    elif datagram.protocol == ICMP and len(payload) >= 8:
        at, pseudo_header = 2, b""
    else:
        return
    blank = payload[:at] + bytes(2) + payload[at + 2 :]
    right = checksum(pseudo_header, blank).to_bytes(2, "big")
    datagram.payload = payload[:at] + right + payload[at + 2 :]


def _describe(datagram: Datagram) -> str:
    """Describe a packet other than TCP."""
    size = len(datagram.payload)
    if datagram.fragment_offset:
        return f"fragment at {datagram.fragment_offset}, {size} bytes"
    if datagram.protocol == ICMP:
        message = decode_icmp(datagram)
        name = _ICMP_NAMES.get(message.type, f"type {message.type}")
        if message.type in (ECHO_REQUEST, ECHO_REPLY):
            name += f" id {message.identifier} seq {message.sequence}"
        elif message.code:
            name += f" code {message.code}"
        return f"ICMP {name} len {size - 8}"
    if datagram.protocol == UDP and size >= 8:
        sport, dport = (int.from_bytes(datagram.payload[at : at + 2], "big") for at in (0, 2))
        return f"UDP port {sport} to {dport} len {size - 8}"
    return f"protocol {datagram.protocol}, {size} bytes"
