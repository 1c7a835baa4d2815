"""Fragmentation of what we send (RFC 791 section 3.2), and identifications (RFC 6864).

The identification of an IPv4 datagram is 0 in an atomic one, which has DF, as on Linux. Otherwise
it counts for each source, destination and protocol, from a random number on: none comes again
within 65,536 datagrams, and nobody but the destination can tell how many there were.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.family import IPV4

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tunstack.ip.datagram import Address, Datagram

COUNTERS: Final = 4096
"""Triples of source, destination and protocol that have a counter; the one longest unused goes."""

# Options of IPv4 (RFC 791 section 3.1)
_END: Final = 0
_NO_OPERATION: Final = 1
_COPIED: Final = 0x80


class Identifications:
    """Chooses identifications; `rng` is drawn from when the first one is needed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._next: OrderedDict[tuple[Address, Address, int], int] = OrderedDict()

    def identify(self, datagram: Datagram, *, in_fragments: bool) -> None:
        """Set the identification of a datagram, which is about to be sent so."""
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


_Parts: TypeAlias = "tuple[Datagram, int, bytes]"
"""A datagram to be cut; octets of the headers of each fragment; options from the second one on."""


def headers_of(datagram: Datagram) -> int:
    """Octets of the headers of a datagram that is not fragmented."""
    return _HEADERS[len(datagram.src)] + (len(datagram.options) + 3 & ~3)


def fragmented(datagram: Datagram, mtu: int) -> list[Datagram]:
    """Cut a datagram into fragments of at most `mtu` octets, with its identification.

    Each but the last is as full as may be; payloads are views. All fragments have the options, but
    those without the copied flag are overwritten with no-operations from the second one on, as on
    Linux.

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


_HEADERS: Final[dict[int, int]] = {IPV4.address_size: IPV4.header, 16: 40}
"""Octets of a header without options, by octets of an address."""
_PREPARE: Final[dict[int, Callable[[Datagram], _Parts]]] = {IPV4.address_size: _prepare_ipv4}
"""By octets of an address."""
_IDENTIFY: Final[dict[int, Callable[[Identifications, Datagram, bool], int]]] = {
    IPV4.address_size: Identifications.ipv4,
    16: lambda self, datagram, large: 0,
}
"""By octets of an address."""
