"""Fragmentation of what we send (RFC 791 section 3.2, RFC 8200 section 4.5), and identifications.

The identification of an IPv4 datagram (RFC 6864) is 0 in an atomic one, which has DF, as on Linux.
Otherwise it counts for each source, destination and protocol, from a random number on: none comes
again within 65,536 datagrams, and nobody but the destination can tell how many there were. That of
IPv6, 32 bits, is random (RFC 7739 section 5.3).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.family import IPV4, IPV6, family_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tunstack.ip.datagram import Address, Datagram

COUNTERS: Final = 4096
"""Counters, by source, destination and protocol; the least recently used is evicted."""

# Options of IPv4 (RFC 791 section 3.1)
_END: Final = 0
_NO_OPERATION: Final = 1
_COPIED: Final = 0x80

# Extension headers of IPv6 (RFC 8200 section 4)
_UNFRAGMENTABLE: Final[frozenset[int]] = frozenset({0, 43})
"""Hop-by-hop and routing headers: they, and the headers before them, are in each fragment."""
_FRAGMENT: Final = 44
_FRAGMENT_HEADER: Final = 8
"""Octets of the fragment header."""


class Identifications:
    """Chooses identifications; `rng` is drawn from when the first one is needed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._next: OrderedDict[tuple[Address, Address, int], int] = OrderedDict()

    def identify(self, datagram: Datagram, *, in_fragments: bool) -> None:
        """Set the identification of a datagram that is about to be sent."""
        datagram.identification = _IDENTIFY[len(datagram.src)](self, datagram, in_fragments)

    def ipv4(self, datagram: Datagram, in_fragments: bool) -> int:
        """One without DF may be fragmented on its way."""
        if datagram.dont_fragment:
            return 0
        name = (datagram.src, datagram.dst, datagram.protocol)
        numbers = self._next
        number = numbers.pop(name, None)
        if number is None:
            number = self._rng.getrandbits(16)
            if len(numbers) >= COUNTERS:
                numbers.popitem(last=False)
        numbers[name] = number + 1 & 0xFFFF
        return number

    def ipv6(self, _: Datagram, in_fragments: bool) -> int:
        """Only fragments have one."""
        return self._rng.getrandbits(32) if in_fragments else 0


_Parts: TypeAlias = "tuple[Datagram, int, bytes]"
"""A datagram to be cut; octets of the headers of each fragment; options from the second one on."""


def headers_of(datagram: Datagram) -> int:
    """Octets of the headers of a datagram that is not fragmented."""
    return family_of(datagram.src).header + (len(datagram.options) + 3 & ~3)


def fragmented(datagram: Datagram, mtu: int) -> list[Datagram]:
    """Cut a datagram into fragments of at most `mtu` octets, with its identification.

    Each but the last is as full as may be; payloads are views. Of IPv4, all fragments have the
    options, but those without the copied flag are overwritten with no-operations from the second
    one on, as on Linux. Of IPv6, extension headers behind the last hop-by-hop or routing header are
    a part of what is cut.

    Raises:
        ValueError: `mtu` leaves no room for eight octets.
    """
    datagram, headers, later_options = _PREPARE[len(datagram.src)](datagram)
    room = mtu - headers & ~7
    if room <= 0:
        raise ValueError(f"no fragment has {headers} octets of headers within {mtu}")
    payload = memoryview(datagram.payload)
    size = len(payload)
    return [
        replace(
            datagram,
            payload=payload[start : start + room],
            dont_fragment=False,
            more_fragments=start + room < size,
            fragment_offset=start,
            options=later_options if start else datagram.options,
        )
        for start in range(0, size, room)
    ]


def _prepare_ipv4(datagram: Datagram) -> _Parts:
    options = datagram.options
    return datagram, headers_of(datagram), _copied(options) if options else options


def _copied(options: bytes) -> bytes:
    """Overwrite what is not copied on fragmentation (RFC 791 section 3.1)."""
    copied = bytearray(options)
    at, size = 0, len(options)
    while at < size and options[at] != _END:
        length = 1
        if options[at] != _NO_OPERATION:
            length = options[at + 1] if at + 1 < size else 0
            if length < 2 or at + length > size:
                break  # Malformed: as it is.
            if not options[at] & _COPIED:
                copied[at : at + length] = bytes((_NO_OPERATION,)) * length
        at += length
    return bytes(copied)


def _prepare_ipv6(datagram: Datagram) -> _Parts:
    headers = bytearray(datagram.options)
    apart, protocol = 0, datagram.extension if headers else datagram.protocol
    at, last, kind = 0, 0, protocol
    while at < len(headers):
        last, following = at, headers[at]
        at += _FRAGMENT_HEADER if kind == _FRAGMENT else headers[at + 1] + 1 << 3
        if kind in _UNFRAGMENTABLE:
            apart, protocol = at, following
        kind = following
    size = family_of(datagram.src).header + apart + _FRAGMENT_HEADER
    if apart == len(headers):
        return datagram, size, datagram.options
    headers[last] = datagram.protocol
    datagram = replace(
        datagram,
        options=bytes(headers[:apart]),
        protocol=protocol,
        payload=bytes(headers[apart:]) + bytes(datagram.payload),
        extension=datagram.extension if apart else 0,
    )
    return datagram, size, datagram.options


_PREPARE: Final[dict[int, Callable[[Datagram], _Parts]]] = {
    IPV4.address_size: _prepare_ipv4,
    IPV6.address_size: _prepare_ipv6,
}
"""By octets of an address."""
_IDENTIFY: Final[dict[int, Callable[[Identifications, Datagram, bool], int]]] = {
    IPV4.address_size: Identifications.ipv4,
    IPV6.address_size: Identifications.ipv6,
}
"""By octets of an address."""
