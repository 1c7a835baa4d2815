"""Control messages of UDP sockets: what `sendmsg` takes and `recvmsg` gives (ip(7), udp(7))."""

from __future__ import annotations

import errno
import struct
from socket import (
    AF_INET,
    AF_INET6,
    CMSG_LEN,
    CMSG_SPACE,
    IP_RECVTOS,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    SOL_SOCKET,
)
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tunstack.ip.errors import os_error
from tunstack.socket.options.datagram import (
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVTTL,
    IPV6_RECVERR,
    UDP_GRO,
    UDP_SEGMENT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.ip.datagram import Address
    from tunstack.socket.options.datagram import DatagramState
    from tunstack.udp.receive_queue import Received
    from tunstack.udp.sock import QueuedError

Message: TypeAlias = tuple[int, int, bytes]
"""Level, type and data."""

INTERFACE: Final = 1
"""The index of the host's only interface."""

_INT: Final = struct.Struct("i")
_SHORT: Final = struct.Struct("H")
_PKTINFO: Final = struct.Struct("=i4s4s")
"""struct in_pktinfo: interface, our address, the destination in the header."""
_PKTINFO_IPV6: Final = struct.Struct("=16si")
"""struct in6_pktinfo: our address, interface."""
_MAPPED: Final[bytes] = bytes(10) + b"\xff\xff"
"""What precedes an IPv4 address in an IPv6 one (RFC 4291 section 2.5.5.2)."""
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
"""struct sock_extended_err."""
_SOCKADDR: Final = struct.Struct("=H2x4s8x")
"""struct sockaddr_in without a port."""
_SOCKADDR_IPV6: Final = struct.Struct("=H6x16s4x")
"""struct sockaddr_in6 without a port."""


class Control(NamedTuple):
    """The parameters in the control messages of `sendmsg`; None if absent.

    Attributes:
        source: Our address.
        ttl: Time to live.
        tos: The DSCP and ECN octet.
        segment_size: Octets of each datagram.
    """

    source: Address | None = None
    ttl: int | None = None
    tos: int | None = None
    segment_size: int | None = None


def read_control(messages: Iterable[tuple[int, int, Any]]) -> Control:
    """Read the control messages for a datagram that is sent; those of other levels are ignored.

    Raises:
        OSError: EINVAL, ENODEV (no such interface).
    """
    control = Control()
    for level, kind, value in messages:
        data = bytes(value)
        if level == IPPROTO_IP:
            control = _read_ip(control, kind, data)
        elif level == IPPROTO_IPV6:
            control = _read_ipv6(control, kind, data)
        elif level == IPPROTO_UDP:
            if kind != UDP_SEGMENT or len(data) != _SHORT.size:
                raise os_error(errno.EINVAL)
            control = control._replace(segment_size=_SHORT.unpack(data)[0])
        elif level == SOL_SOCKET:
            raise os_error(errno.EINVAL)
    return control


def _read_ip(control: Control, kind: int, data: bytes) -> Control:
    if kind == IP_PKTINFO and len(data) == _PKTINFO.size:
        interface, source, _ = _PKTINFO.unpack(data)
        if interface not in (0, INTERFACE):
            raise os_error(errno.ENODEV)
        return control._replace(source=source)
    if kind == IP_TTL and len(data) == _INT.size:
        ttl = _INT.unpack(data)[0]
        if 1 <= ttl <= 255:
            return control._replace(ttl=ttl)
    if kind == IP_TOS and len(data) in (1, _INT.size):
        tos = data[0] if len(data) == 1 else _INT.unpack(data)[0]
        if 0 <= tos <= 255:
            return control._replace(tos=tos)
    raise os_error(errno.EINVAL)


def _read_ipv6(control: Control, kind: int, data: bytes) -> Control:
    if kind == IPV6_PKTINFO and len(data) == _PKTINFO_IPV6.size:
        source, interface = _PKTINFO_IPV6.unpack(data)
        if interface not in (0, INTERFACE):
            raise os_error(errno.ENODEV)
        return control._replace(source=source[12:] if source.startswith(_MAPPED) else source)
    if kind in (IPV6_HOPLIMIT, IPV6_TCLASS) and len(data) == _INT.size:
        number = _INT.unpack(data)[0]
        if -1 <= number <= 255:
            value = None if number == -1 else number
            if kind == IPV6_HOPLIMIT:
                return control._replace(ttl=value)
            return control._replace(tos=value)
    raise os_error(errno.EINVAL)


def written_control(state: DatagramState, received: Received) -> list[Message]:
    """Return the control messages for a received datagram, in Linux's order."""
    _, _, _, dst, ttl, tos, gso_size = received
    messages: list[Message] = []
    if gso_size:
        messages.append((IPPROTO_UDP, UDP_GRO, _INT.pack(gso_size)))
    wanted = state.wanted
    if not wanted:
        return messages
    if (IPPROTO_IPV6, IPV6_RECVPKTINFO) in wanted:
        address = dst if len(dst) == 16 else _MAPPED + dst
        messages.append((IPPROTO_IPV6, IPV6_PKTINFO, _PKTINFO_IPV6.pack(address, INTERFACE)))
    if len(dst) == 16:
        if (IPPROTO_IPV6, IPV6_RECVHOPLIMIT) in wanted:
            messages.append((IPPROTO_IPV6, IPV6_HOPLIMIT, _INT.pack(ttl)))
        if (IPPROTO_IPV6, IPV6_RECVTCLASS) in wanted:
            messages.append((IPPROTO_IPV6, IPV6_TCLASS, _INT.pack(tos)))
        return messages
    if (IPPROTO_IP, IP_PKTINFO) in wanted:
        messages.append((IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(INTERFACE, dst, dst)))
    if (IPPROTO_IP, IP_RECVTTL) in wanted:
        messages.append((IPPROTO_IP, IP_TTL, _INT.pack(ttl)))
    if (IPPROTO_IP, IP_RECVTOS) in wanted:
        messages.append((IPPROTO_IP, IP_TOS, bytes((tos,))))
    return messages


def written_error(error: QueuedError) -> list[Message]:
    """Return the control message of an entry of the error queue."""
    number, origin, kind, code, info, offender, remote, _, _ = error
    data = _EXTENDED_ERROR.pack(number, origin, kind, code, 0, info, 0)
    if len(remote) == 16:
        data += _SOCKADDR_IPV6.pack(AF_INET6, offender or bytes(16))
        return [(IPPROTO_IPV6, IPV6_RECVERR, data)]
    data += _SOCKADDR.pack(AF_INET, offender or bytes(4))
    return [(IPPROTO_IP, IP_RECVERR, data)]


def fitted(messages: list[Message], size: int) -> tuple[list[Message], bool]:
    """Cut control messages to `size` octets; returns whether something was cut (MSG_CTRUNC)."""
    kept: list[Message] = []
    for level, kind, data in messages:
        room = size - CMSG_LEN(0)
        if room < 0:
            return kept, True
        kept.append((level, kind, data[:room]))
        if room < len(data):
            return kept, True
        size -= CMSG_SPACE(len(data))
    return kept, False
