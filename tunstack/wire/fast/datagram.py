"""A fast reader and header templates for UDP datagrams without IP options, unfragmented.

The reader checks everything that :func:`~tunstack.wire.ip.decode_datagram` and
:func:`~tunstack.wire.udp.decode_udp` check, and unpacks both headers at once; for any other packet,
or a malformed one, it returns None, and the general codec decodes it. The tests compare the two on
every input that this one accepts.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.ip.datagram import UDP
from tunstack.wire import virtio as vnet
from tunstack.wire.checksum import ones_sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Address, Buffer

Fields: TypeAlias = tuple[bytes, bytes, int, int, int]
"""Addresses and ports as in the packet, data, TTL, TOS, and `gso_size`."""

Reader: TypeAlias = "Callable[[Buffer], Fields | None]"

HEADERS: Final = 28
"""Octets of both headers, IPv4's and UDP's."""

_READ: Final[Struct] = Struct(">HHxxIxx12sHH")
_WRITE: Final[Struct] = Struct(">HHHHHH12sHH")
_VERSION: Final = 0x4500
_FRAGMENT_AND_PROTOCOL: Final = 0xBFFF00FF
"""Mask: flags and fragment offset without DF; the protocol without the TTL."""
_DONT_FRAGMENT: Final = 0x4000


def read_packet(packet: Buffer) -> Fields | None:
    """Read a packet and verify its checksum; None if this reader does not apply."""
    return _read(packet, 0, 0, trusted=False)


def read_frame(frame: Buffer) -> Fields | None:
    """Read a packet behind a virtio header; None if this reader does not apply."""
    header = frame[: vnet.SIZE]
    if header == vnet.NEEDS_UDP_CHECKSUM:
        return _read(frame, vnet.SIZE, 0, trusted=True)
    if header == vnet.NO_OFFLOAD:
        return _read(frame, vnet.SIZE, 0, trusted=False)
    if vnet.is_large_udp(frame):
        return _read(frame, vnet.SIZE, vnet.read_gso_size(frame), trusted=True)
    return None


def _read(frame: Buffer, start: int, gso_size: int, *, trusted: bool) -> Fields | None:
    size = len(frame) - start
    if size < HEADERS:
        return None
    version_and_tos, total_length, fragment_and_protocol, name, length, field = _READ.unpack_from(
        frame, start
    )
    if (
        fragment_and_protocol & _FRAGMENT_AND_PROTOCOL != UDP
        or version_and_tos & 0xFF00 != _VERSION
        or total_length != size
        or length != size - 20
        or int.from_bytes(frame[start : start + 20], "big") % 0xFFFF
    ):
        return None
    if field and not trusted:
        pseudo_header = int.from_bytes(name[:8], "big") + UDP + length
        if (pseudo_header + ones_sum(memoryview(frame)[start + 20 :])) % 0xFFFF:
            return None
    ttl = fragment_and_protocol >> 8 & 0xFF
    return name, bytes(frame[start + HEADERS :]), ttl, version_and_tos & 0xFF, gso_size


class Template:
    """The constant part of the headers of a socket's datagrams to one destination."""

    __slots__ = ("_fragment", "_header_sum", "_name", "_offload", "_pseudo_header", "_tos", "_ttl")

    def __init__(
        self,
        local: Address,
        remote: Address,
        ports: bytes,
        *,
        offload: bool,
        ttl: int = 64,
        tos: int = 0,
        dont_fragment: bool = True,
    ) -> None:
        """Prepare the headers.

        Args:
            local: Our address.
            remote: The destination's.
            ports: Ours and the destination's, as in the header.
            offload: Whether a virtio header precedes, and the checksum is left to the device.
            ttl: Time to live.
            tos: The DSCP and ECN octet.
            dont_fragment: The DF bit; without it a datagram has an identification.
        """
        addresses = int.from_bytes(local + remote, "big")
        self._name = local + remote + ports
        self._offload = offload
        self._tos = _VERSION | tos
        self._ttl = ttl << 8 | UDP
        self._fragment: int = _DONT_FRAGMENT if dont_fragment else 0
        self._header_sum = self._tos + self._fragment + self._ttl + addresses
        self._pseudo_header = addresses + UDP
        if not offload:
            self._pseudo_header += int.from_bytes(ports, "big")

    def headers(self, data: Buffer, identification: int = 0) -> bytes:
        """Return the headers of a datagram with `data`."""
        length = len(data) + 8
        if self._offload:
            field = (self._pseudo_header + length) % 0xFFFF
        else:
            field = -(self._pseudo_header + 2 * length + ones_sum(data)) % 0xFFFF or 0xFFFF
        headers = _WRITE.pack(
            self._tos,
            length + 20,
            identification,
            self._fragment,
            self._ttl,
            -(self._header_sum + length + 20 + identification) % 0xFFFF,
            self._name,
            length,
            field,
        )
        return vnet.NEEDS_UDP_CHECKSUM + headers if self._offload else headers

    def large(self, size: int, gso_size: int) -> bytes:
        """Return the headers of datagrams that a link with offload cuts from `size` octets of data.

        Args:
            size: Octets of data of all of them.
            gso_size: Octets of each, but for the last, which may have fewer.
        """
        length = size + 8
        return vnet.large_udp(HEADERS, gso_size) + _WRITE.pack(
            self._tos,
            length + 20,
            0,
            self._fragment,
            self._ttl,
            -(self._header_sum + length + 20) % 0xFFFF,
            self._name,
            length,
            (self._pseudo_header + length) % 0xFFFF,
        )
