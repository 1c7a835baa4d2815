"""Decode packets of both families: protocol, conversation, fragment, and what an ICMP error quotes.

Captures have wrong checksums if taken where these are offloaded, and truncated packets if taken
with a snapshot length. Both are repaired in a copy before `tunstack.wire` decodes it, which would
discard the packet.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tunstack.ip import icmp, icmpv6
from tunstack.ip.address import text as address_text
from tunstack.ip.datagram import ICMP, ICMPV6, TCP, UDP, Datagram
from tunstack.ladder.names import HOUSEKEEPING, extension_names, icmp_name, protocol_name
from tunstack.wire import (
    Discard,
    Reason,
    checksum,
    decode_datagram,
    decode_icmp,
    decode_quote,
    decode_segment,
    finish,
)

if TYPE_CHECKING:
    from tunstack.ip.icmp import IcmpMessage
    from tunstack.tcp.segment import Segment

Endpoint: TypeAlias = tuple[str, int]
Pair: TypeAlias = tuple[str, frozenset[Endpoint]]
"""What packets of one conversation share: the protocol, and both ends."""
Fingerprint: TypeAlias = tuple[bytes, bytes, int, int, bytes]
"""What tells a packet from others, and is in what an ICMP error quotes of it."""
FragmentKey: TypeAlias = tuple[bytes, bytes, int, int]
"""What the fragments of one datagram share: addresses, identification, of IPv4 the protocol."""

ECHO: Final = "echo"

_LENGTHS: Final = {4: (2, 0, 20), 6: (4, 40, 40)}
"""By version: where the length field is, what it does not count, and the least header."""
_ICMPS: Final = {4: ICMP, 16: ICMPV6}
"""The number of ICMP by octets of an address."""
_ERRORS: Final = {4: icmp.ERRORS, 16: icmpv6.ERRORS}
_REQUESTS: Final = {4: icmp.ECHO_REQUEST, 16: icmpv6.ECHO_REQUEST}
_REPLIES: Final = {4: icmp.ECHO_REPLY, 16: icmpv6.ECHO_REPLY}
_FRAGMENTATION_NEEDED: Final = (4, icmp.DESTINATION_UNREACHABLE, icmp.FRAGMENTATION_NEEDED)
_PACKET_TOO_BIG: Final = (16, icmpv6.PACKET_TOO_BIG, 0)


class Fragment(NamedTuple):
    """A fragment's place in its datagram.

    Attributes:
        key: What all fragments of the datagram share.
        offset: In octets.
        size: Octets.
        last: Whether it is the last one.
    """

    key: FragmentKey
    offset: int
    size: int
    last: bool


class Quoted(NamedTuple):
    """What an ICMP error quotes.

    Attributes:
        source: The source of the quoted packet.
        destination: Its destination.
        protocol: Its protocol's name.
        seq: The sequence number, of a TCP segment.
        fingerprint: Of the quoted packet.
        fragment: The datagram, if it is not its first fragment.
    """

    source: Endpoint
    destination: Endpoint
    protocol: str
    seq: int | None
    fingerprint: Fingerprint
    fragment: FragmentKey | None


@dataclass(slots=True)
class Contents:
    """What a packet is.

    Attributes:
        source: Address and port, with port 0 if there is none; the identifier of an echo is the
            port of who asks. ("", 0) if it cannot be decoded.
        destination: Likewise.
        protocol: ``"TCP"``, ``"UDP"``, ``"echo"``; empty for all others.
        segment: The TCP segment, or None.
        words: The description of another packet, the most important first.
        details: More of it: the extension headers, and what is malformed.
        kind: Its name among the packets left out.
        size: Octets of data in it.
        data: The octets of a whole UDP datagram, as far as they were captured.
        missing: Octets at the end of the packet that were not captured.
        housekeeping: Whether a kernel sends such packets on every device.
        fragment: Its place in a datagram, if it is a fragment.
        quoted: What it quotes, if it is an ICMP error.
        fingerprint: What tells it from others.
    """

    source: Endpoint = ("", 0)
    destination: Endpoint = ("", 0)
    protocol: str = ""
    segment: Segment | None = None
    words: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    kind: str = "TCP"
    size: int = 0
    data: bytes = b""
    missing: int = 0
    housekeeping: bool = False
    fragment: Fragment | None = None
    quoted: Quoted | None = None
    fingerprint: Fingerprint | None = None


def read_contents(packet: bytes) -> Contents:
    """Decode an IP packet; one that cannot be decoded has the reason for its words."""
    contents = Contents()
    try:
        _read(packet, contents)
    except Discard as error:
        contents.kind = error.reason.phrase
        contents.words = [f"{len(packet)} bytes: {contents.kind}"]
    return contents


def _read(packet: bytes, contents: Contents) -> None:
    whole = _padded(packet)
    contents.missing = len(whole) - len(packet)
    datagram, wrong = _decode(whole)
    contents.source, contents.destination = _ends(datagram)
    if datagram.more_fragments or datagram.fragment_offset:
        contents.fragment = _place(datagram)
        if not datagram.fragment_offset:
            datagram = _finished(datagram)
    contents.fingerprint = _fingerprint(datagram)
    _read_payload(_with_right_checksum(datagram), contents)
    if contents.fragment is not None:
        _add_fragment(datagram, contents, contents.fragment)
    contents.details += extension_names(datagram)
    if wrong:
        contents.details.append(wrong)


def _padded(packet: bytes) -> bytes:
    """A truncated packet, with zeros for what is missing."""
    field_at, more, least = _LENGTHS.get(packet[0] >> 4 if packet else 0, (0, 0, 0))
    if not least or len(packet) < least:
        return packet
    length = int.from_bytes(packet[field_at : field_at + 2], "big") + more
    return packet + bytes(max(0, length - len(packet)))


def _decode(packet: bytes) -> tuple[Datagram, str]:
    """Decode a packet of its full length; returns also what is wrong with its headers.

    Raises:
        Discard: so much that nothing can be told of it.
    """
    try:
        return decode_datagram(packet), ""
    except Discard as error:
        wrong = error.reason
    if wrong is Reason.BAD_IP_CHECKSUM:
        header_length = (packet[0] & 0xF) * 4
        header = packet[:10] + bytes(2) + packet[12:header_length]
        packet = packet[:10] + checksum(header).to_bytes(2, "big") + packet[12:]
        try:
            return decode_datagram(packet), ""
        except Discard as error:
            wrong = error.reason
    try:
        return decode_quote(memoryview(packet)), wrong.phrase
    except Discard:
        raise Discard(wrong) from None


def _finished(first: Datagram) -> Datagram:
    """A first fragment, with the extension headers behind its fragment header read."""
    try:
        return finish(first)
    except Discard:
        return first


def _ends(datagram: Datagram) -> tuple[Endpoint, Endpoint]:
    return (address_text(datagram.src), 0), (address_text(datagram.dst), 0)


def _fragment_key(datagram: Datagram) -> FragmentKey:
    protocol = datagram.protocol if len(datagram.src) == 4 else 0
    return datagram.src, datagram.dst, datagram.identification, protocol


def _place(datagram: Datagram) -> Fragment:
    size, offset = len(datagram.payload), datagram.fragment_offset
    return Fragment(_fragment_key(datagram), offset, size, not datagram.more_fragments)


def _fingerprint(datagram: Datagram) -> Fingerprint:
    """What an error quotes as it was: without the checksums, which may come later.

    Nor the identification of IPv6, which a reassembled datagram no longer has.
    """
    head = bytes(datagram.payload[:8])
    if datagram.fragment_offset:
        head = datagram.fragment_offset.to_bytes(2, "big")
    elif datagram.protocol == UDP:
        head = head[:6]
    elif datagram.protocol == _ICMPS[len(datagram.src)]:
        head = head[:2] + head[4:]
    identification = datagram.identification if len(datagram.src) == 4 else 0
    return datagram.src, datagram.dst, datagram.protocol, identification, head


def _with_right_checksum(datagram: Datagram) -> Datagram:
    """Correct the TCP or ICMP checksum, in a copy."""
    payload, protocol = bytes(datagram.payload), datagram.protocol
    pseudo_header = datagram.src + datagram.dst + len(payload).to_bytes(4, "big")
    pseudo_header += bytes((0, 0, 0, protocol))
    if protocol == TCP and len(payload) >= 20:
        at = 16
    elif protocol == _ICMPS[len(datagram.src)] and len(payload) >= 8:
        at = 2
        pseudo_header = b"" if protocol == ICMP else pseudo_header
    else:
        return datagram
    blank = payload[:at] + bytes(2) + payload[at + 2 :]
    right = checksum(pseudo_header, blank).to_bytes(2, "big")
    return replace(datagram, payload=payload[:at] + right + payload[at + 2 :])


def _read_payload(datagram: Datagram, contents: Contents) -> None:
    """Describe what is behind the IP headers."""
    contents.size = size = len(datagram.payload)
    protocol = datagram.protocol
    if datagram.fragment_offset:
        contents.kind = "fragment"
    elif protocol == TCP:
        sport, dport, contents.segment = decode_segment(datagram)
        _set_ends(contents, "TCP", sport, dport)
    elif protocol == _ICMPS[len(datagram.src)]:
        _read_icmp(datagram, contents)
    elif protocol == UDP and size >= 8:
        _read_udp(datagram, contents)
    else:
        contents.kind = f"protocol {protocol}"
        contents.words = [f"{contents.kind}, {size} bytes"]


def _set_ends(contents: Contents, protocol: str, sport: int, dport: int) -> None:
    contents.protocol = protocol
    contents.source = contents.source[0], sport
    contents.destination = contents.destination[0], dport


def _read_udp(datagram: Datagram, contents: Contents) -> None:
    payload = datagram.payload
    sport, dport, length = (int.from_bytes(payload[at : at + 2], "big") for at in (0, 2, 4))
    _set_ends(contents, "UDP", sport, dport)
    contents.kind = "UDP"
    contents.size = len(payload) - 8
    whole = not datagram.more_fragments
    if not length >= 8 or (whole and length > len(payload)):
        contents.details.append(f"a length of {length} in {len(payload)} octets")
        length = len(payload)
    contents.words = ["UDP", f"len {length - 8}"]
    if whole:
        contents.data = bytes(payload[8 : min(length, len(payload) - contents.missing)])


def _read_icmp(datagram: Datagram, contents: Contents) -> None:
    octets = len(datagram.src)
    contents.kind = family = protocol_name(datagram.protocol)
    message = decode_icmp(datagram)
    contents.size = len(datagram.payload) - 8
    name, *rest = icmp_name(octets, message.type, message.code)
    contents.words = [f"{family} {name}", *rest]
    if message.quoted is not None:
        contents.quoted = _quote(message.quoted)
        contents.words += _about_an_error(octets, message)
        return
    if message.type in _ERRORS[octets]:
        return
    if octets == 16 and message.type in HOUSEKEEPING:
        contents.housekeeping = True
        contents.kind = contents.words[0]
    ports = _echo_ports(octets, message.type, message.identifier)
    if ports is not None and not message.code:
        _set_ends(contents, ECHO, *ports)
        contents.words.append(f"seq {message.sequence}")
    if contents.fragment is None:
        contents.words.append(f"len {contents.size}")


def _echo_ports(octets: int, kind: int, identifier: int) -> tuple[int, int] | None:
    """The ports of an echo message: who asks has the identifier for one."""
    if kind == _REQUESTS[octets]:
        return identifier, 0
    return (0, identifier) if kind == _REPLIES[octets] else None


def _about_an_error(octets: int, message: IcmpMessage) -> list[str]:
    """The MTU or the pointer that an error has."""
    what = octets, message.type, message.code
    if what == _FRAGMENTATION_NEEDED:
        return [f"mtu {message.next_hop_mtu}"]
    if what == _PACKET_TOO_BIG:
        return [f"mtu {message.rest}"]
    if octets == 4 and message.type == icmp.PARAMETER_PROBLEM:
        return [f"pointer {message.pointer}"]
    if octets == 16 and message.type == icmpv6.PARAMETER_PROBLEM:
        return [f"pointer {message.rest}"]
    return []


def _quote(quoted: Datagram) -> Quoted:
    """Read what an error quotes, of which there are eight octets at least."""
    source, destination = _ends(quoted)
    name, seq, fragment = protocol_name(quoted.protocol), None, None
    fingerprint = _fingerprint(quoted)
    if quoted.fragment_offset:
        fragment = _fragment_key(quoted)
    else:
        if quoted.more_fragments:
            quoted = _finished(quoted)
            fingerprint = _fingerprint(quoted)
            name = protocol_name(quoted.protocol)
        head = bytes(quoted.payload[:8])
        if quoted.protocol in (TCP, UDP):
            source = source[0], int.from_bytes(head[:2], "big")
            destination = destination[0], int.from_bytes(head[2:4], "big")
            seq = int.from_bytes(head[4:8], "big") if quoted.protocol == TCP else None
        elif quoted.protocol == _ICMPS[len(quoted.src)] and len(head) == 8:
            identifier = int.from_bytes(head[4:6], "big")
            ports = _echo_ports(len(quoted.src), head[0], identifier)
            if ports is not None:
                name = ECHO
                source, destination = (source[0], ports[0]), (destination[0], ports[1])
    return Quoted(source, destination, name, seq, fingerprint, fragment)


def _add_fragment(datagram: Datagram, contents: Contents, fragment: Fragment) -> None:
    """Tell a fragment's place: octets of the datagram's payload, and its identification."""
    place = f"{fragment.offset}:{fragment.offset + fragment.size}"
    if fragment.offset:
        words = [f"{protocol_name(datagram.protocol)} fragment", place]
        if fragment.last:
            words.append("last")
        contents.words = words
    else:
        contents.words.append(f"fragment {place}")
    contents.words.append(f"id {fragment.key[2]}")
