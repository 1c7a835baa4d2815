"""Control messages of UDP sockets: what `sendmsg` takes and `recvmsg` gives (ip(7), udp(7))."""

from __future__ import annotations

import errno
import struct
from socket import (
    CMSG_LEN,
    CMSG_SPACE,
    IP_RECVTOS,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_UDP,
    SOL_SOCKET,
)
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tunstack.socket.datagram_options import (
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVTTL,
    UDP_GRO,
    UDP_SEGMENT,
)
from tunstack.socket.state import os_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.ip.datagram import Address
    from tunstack.socket.datagram_options import DatagramState
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
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
"""struct sock_extended_err."""
_SOCKADDR: Final = struct.Struct("=H2x4s8x")
"""struct sockaddr_in without a port."""


class Control(NamedTuple):
    """What the control messages of a call say; None for nothing.

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


def written_control(state: DatagramState, received: Received) -> list[Message]:
    """Return the control messages of a datagram that was received, in Linux's order."""
    _, _, _, dst, ttl, tos, gso_size = received
    messages: list[Message] = []
    if gso_size:
        messages.append((IPPROTO_UDP, UDP_GRO, _INT.pack(gso_size)))
    wanted = state.wanted
    if (IPPROTO_IP, IP_PKTINFO) in wanted:
        messages.append((IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(INTERFACE, dst, dst)))
    if (IPPROTO_IP, IP_RECVTTL) in wanted:
        messages.append((IPPROTO_IP, IP_TTL, _INT.pack(ttl)))
    if (IPPROTO_IP, IP_RECVTOS) in wanted:
        messages.append((IPPROTO_IP, IP_TOS, bytes((tos,))))
    return messages


def written_error(family: int, error: QueuedError) -> list[Message]:
    """Return the control message of an entry of the error queue."""
    number, origin, kind, code, info, offender, _, _, _ = error
    data = _EXTENDED_ERROR.pack(number, origin, kind, code, 0, info, 0)
    data += bytes(_SOCKADDR.size) if offender is None else _SOCKADDR.pack(family, offender)
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
