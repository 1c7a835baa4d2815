"""The fields of a packet that can be replaced, and the values that fit in."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from tunstack.path.rules.flags import flag_bits
from tunstack.path.rules.headers import Icmp, Tcp, Udp
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address

COMMON_FIELDS: Final = ("source", "destination", "ttl", "tos")
TRANSPORT_FIELDS: Final[dict[type, tuple[str, ...]]] = {
    Tcp: (
        *("source_port", "destination_port", "seq", "ack", "flags", "window", "urgent"),
        *("options", "payload", "checksum"),
    ),
    Udp: ("source_port", "destination_port", "payload", "checksum"),
    Icmp: ("icmp_type", "icmp_code", "rest", "payload", "checksum"),
}
TCP_FIELDS: Final = frozenset({"seq", "ack", "flags", "window", "urgent", "options"})
"""Fields that only a TCP segment has."""
ICMP_FIELDS: Final = frozenset({"icmp_type", "icmp_code", "rest"})
"""Fields that only ICMP has."""
ADDRESS_FIELDS: Final = frozenset({"source", "destination"})
FIELDS: Final = tuple(dict.fromkeys((*COMMON_FIELDS, *sum(TRANSPORT_FIELDS.values(), ()))))
"""All fields that :meth:`Packet.replace` knows."""

_LARGEST: Final = {
    **dict.fromkeys(("seq", "ack", "rest"), MASK),
    **dict.fromkeys(("source_port", "destination_port", "window", "urgent", "checksum"), 0xFFFF),
    **dict.fromkeys(("ttl", "tos", "icmp_type", "icmp_code"), 0xFF),
}


def ends(source: object, destination: object) -> tuple[Address, Address]:
    """Return source and destination, packed.

    Raises:
        ValueError: they are no addresses, or of two families.
    """
    src, dst = packed(source), packed(destination)
    if len(src) != len(dst):
        raise ValueError(f"source {source} and destination {destination} are of two families")
    return src, dst


def packed(address: object, size: int | None = None) -> Address:
    """Return an address, given as text, an object of `ipaddress` or packed, in octets."""
    octets = ip_address(address).packed  # type: ignore[arg-type]  # It raises what is to be raised.
    if size is not None and len(octets) != size:
        raise ValueError(f"{ip_address(octets)} is of another family than the packet")
    return octets


def checked(name: str, value: Any) -> Any:
    """Return a field's value as it is kept; an address as an object of `ipaddress`.

    Raises:
        ValueError: it does not fit in.
    """
    if value is None and name == "checksum":
        return None
    if name == "flags":
        return flag_bits(value)
    if name in ("seq", "ack") and isinstance(value, int):
        return value & MASK
    if name in ADDRESS_FIELDS:
        return ip_address(value)
    if name in ("options", "payload"):
        return bytes(memoryview(value))
    largest = _LARGEST.get(name)
    if largest is not None and not (isinstance(value, int) and 0 <= value <= largest):
        raise ValueError(f"{name} must be a number from 0 to {largest}, not {value!r}")
    return value
