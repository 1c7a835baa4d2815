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

_HEADERS: Final = 28
"""Octets of both headers, IPv4's and UDP's."""
_HEADERS_IPV6: Final = 48
"""The same of IPv6's."""
_IPV6: Final = 6

_READ: Final[Struct] = Struct(">HHxxIxx12sHH")
_READ_IPV6: Final[Struct] = Struct(">IHBB36sHH")
_WRITE: Final[Struct] = Struct(">HHHHHH12sHH")
_WRITE_IPV6: Final[Struct] = Struct(">IHH36sHH")
_VERSION: Final = 0x4500
_VERSION_IPV6: Final = 0x60000000
_FRAGMENT_AND_PROTOCOL: Final = 0xBFFF00FF
"""Mask: flags and fragment offset without DF; the protocol without the TTL."""
_DONT_FRAGMENT: Final = 0x4000


def read_packet(packet: Buffer) -> Fields | None:
    """Read a packet and verify its checksum; None if this reader does not apply."""
    return _read(packet, 0, 0, trusted=False)


def read_frame(frame: Buffer) -> Fields | None:
    """Read a packet behind a virtio header; None if this reader does not apply."""
    header = frame[: vnet.SIZE]
    if header in (vnet.NEEDS_UDP_CHECKSUM, vnet.NEEDS_UDP_CHECKSUM_IPV6):
        return _read(frame, vnet.SIZE, 0, trusted=True)
    if header == vnet.NO_OFFLOAD:
        return _read(frame, vnet.SIZE, 0, trusted=False)
    if vnet.is_large_udp(frame):
        return _read(frame, vnet.SIZE, vnet.read_gso_size(frame), trusted=True)
    return None


def _read(frame: Buffer, start: int, gso_size: int, *, trusted: bool) -> Fields | None:
    size = len(frame) - start
    if size < _HEADERS:
        return None
    if frame[start] >> 4 == _IPV6:
        return _read_ipv6(frame, start, gso_size, trusted=trusted)
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
    return name, bytes(frame[start + _HEADERS :]), ttl, version_and_tos & 0xFF, gso_size


def _read_ipv6(frame: Buffer, start: int, gso_size: int, *, trusted: bool) -> Fields | None:
    size = len(frame) - start
    if size < _HEADERS_IPV6:
        return None
    first_word, payload_length, protocol, hop_limit, name, length, field = _READ_IPV6.unpack_from(
        frame, start
    )
    if protocol != UDP or payload_length != size - 40 or length != payload_length:
        return None
    if not trusted:
        pseudo_header = int.from_bytes(name[:32], "big") + UDP + length
        if not field or (pseudo_header + ones_sum(memoryview(frame)[start + 40 :])) % 0xFFFF:
            return None
    tos = first_word >> 20 & 0xFF
    return name, bytes(frame[start + _HEADERS_IPV6 :]), hop_limit, tos, gso_size


class Template:
    """The constant part of the headers of a socket's datagrams to one destination."""

    __slots__ = ("_name", "_offload", "_pseudo_header", "_ttl")

    def __init__(
        self, local: Address, remote: Address, ports: bytes, *, offload: bool, ttl: int
    ) -> None:
        """Prepare what both families have."""
        self._name = local + remote + ports
        self._offload = offload
        self._ttl = ttl
        pseudo_header = int.from_bytes(local + remote, "big") + UDP
        if not offload:
            pseudo_header += int.from_bytes(ports, "big")
        self._pseudo_header = pseudo_header % 0xFFFF  # A sum that fits in a machine word.

    def headers(self, data: Buffer, identification: int = 0) -> bytes:
        """Return the headers of a datagram with `data`."""
        raise NotImplementedError

    def large(self, size: int, gso_size: int) -> bytes:
        """Return the headers of datagrams that a link with offload cuts from `size` octets of data.

        Args:
            size: Octets of data of all of them.
            gso_size: Octets of each, but for the last, which may have fewer.
        """
        raise NotImplementedError

    def _checksum(self, data: Buffer, length: int) -> int:
        """Return the checksum field: with offload, the pseudo-header's sum alone."""
        if self._offload:
            return (self._pseudo_header + length) % 0xFFFF
        return -(self._pseudo_header + 2 * length + ones_sum(data)) % 0xFFFF or 0xFFFF


class _Ipv4Template(Template):
    __slots__ = ("_fragment", "_header_sum", "_version_and_tos")

    def __init__(
        self,
        local: Address,
        remote: Address,
        ports: bytes,
        *,
        offload: bool,
        ttl: int,
        tos: int,
        dont_fragment: bool,
        flow_label: int,
    ) -> None:
        super().__init__(local, remote, ports, offload=offload, ttl=ttl << 8 | UDP)
        self._version_and_tos = _VERSION | tos
        self._fragment: int = _DONT_FRAGMENT if dont_fragment else 0
        addresses = int.from_bytes(local + remote, "big")
        header_sum = self._version_and_tos + self._fragment + self._ttl + addresses
        self._header_sum = header_sum % 0xFFFF

    def headers(self, data: Buffer, identification: int = 0) -> bytes:
        length = len(data) + 8
        headers = self._pack(length, identification, self._checksum(data, length))
        return vnet.NEEDS_UDP_CHECKSUM + headers if self._offload else headers

    def large(self, size: int, gso_size: int) -> bytes:
        headers = self._pack(size + 8, 0, self._checksum(b"", size + 8))
        return vnet.large_udp(_HEADERS, gso_size) + headers

    def _pack(self, length: int, identification: int, checksum: int) -> bytes:
        return _WRITE.pack(
            self._version_and_tos,
            length + 20,
            identification,
            self._fragment,
            self._ttl,
            -(self._header_sum + length + 20 + identification) % 0xFFFF,
            self._name,
            length,
            checksum,
        )


class _Ipv6Template(Template):
    __slots__ = ("_first_word",)

    def __init__(
        self,
        local: Address,
        remote: Address,
        ports: bytes,
        *,
        offload: bool,
        ttl: int,
        tos: int,
        dont_fragment: bool,
        flow_label: int,
    ) -> None:
        super().__init__(local, remote, ports, offload=offload, ttl=UDP << 8 | ttl)
        self._first_word = _VERSION_IPV6 | tos << 20 | flow_label

    def headers(self, data: Buffer, identification: int = 0) -> bytes:
        length = len(data) + 8
        checksum = self._checksum(data, length)
        headers = _WRITE_IPV6.pack(
            self._first_word, length, self._ttl, self._name, length, checksum
        )
        return vnet.NEEDS_UDP_CHECKSUM_IPV6 + headers if self._offload else headers

    def large(self, size: int, gso_size: int) -> bytes:
        length = size + 8
        checksum = self._checksum(b"", length)
        headers = _WRITE_IPV6.pack(
            self._first_word, length, self._ttl, self._name, length, checksum
        )
        return vnet.large_udp(_HEADERS_IPV6, gso_size) + headers


_TEMPLATES: Final[dict[int, type[_Ipv4Template] | type[_Ipv6Template]]] = {
    4: _Ipv4Template,
    16: _Ipv6Template,
}
"""By octets of an address."""


def template(
    local: Address,
    remote: Address,
    ports: bytes,
    *,
    offload: bool,
    ttl: int = 64,
    tos: int = 0,
    dont_fragment: bool = True,
    flow_label: int = 0,
) -> Template:
    """Prepare the headers of a socket's datagrams to one destination.

    Args:
        local: Our address.
        remote: The destination's.
        ports: Ours and the destination's, as in the header.
        offload: Whether a virtio header precedes, and the checksum is left to the device.
        ttl: Time to live, or hop limit.
        tos: The DSCP and ECN octet.
        dont_fragment: The DF bit of IPv4; without it a datagram has an identification.
        flow_label: The flow label of IPv6.
    """
    return _TEMPLATES[len(local)](
        local,
        remote,
        ports,
        offload=offload,
        ttl=ttl,
        tos=tos,
        dont_fragment=dont_fragment,
        flow_label=flow_label,
    )
