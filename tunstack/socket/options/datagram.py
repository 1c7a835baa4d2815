"""The options of UDP sockets, by Linux's names.

At ``SOL_SOCKET``:

===================  ==============================================================================
SO_ACCEPTCONN,       read only
SO_DOMAIN, SO_TYPE,
SO_PROTOCOL
SO_BROADCAST         sending to a broadcast address is allowed
SO_ERROR             read only: the pending error; reading it clears it
SO_RCVBUF            octets of received datagrams that wait, each charged 832 beside its data. As on
                     Linux twice what is set. What does not fit is dropped and counted
SO_SNDBUF            octets that wait for a device that takes no more; then `send` waits
SO_REUSEADDR,        a port is shared by sockets that all have the one, or all have the other. Of
SO_REUSEPORT         those at the same address, datagrams are for the latest; with SO_REUSEPORT, for
                     one of them by a hash of addresses and ports
===================  ==============================================================================

At ``IPPROTO_IP``:

===================  ==============================================================================
IP_MTU               read only: the path MTU to the peer
IP_MTU_DISCOVER      IP_PMTUDISC_WANT (the default), _DONT, _DO, _PROBE, _INTERFACE, _OMIT: whether
                     DF is set, whether larger datagrams are fragmented or refused (EMSGSIZE), and
                     whether by the path MTU or the device's
IP_PKTINFO,          `recvmsg` tells the destination address, the TTL and the TOS of a datagram
IP_RECVTTL,
IP_RECVTOS
IP_RECVERR           all ICMP errors are told, also to a socket that is not connected; the details
                     by `recvmsg` with MSG_ERRQUEUE
IP_TOS, IP_TTL       of what is sent
===================  ==============================================================================

At ``IPPROTO_IPV6``, of sockets of AF_INET6: IPV6_V6ONLY, IPV6_UNICAST_HOPS, IPV6_TCLASS,
IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_RECVERR, IPV6_MTU, IPV6_MTU_DISCOVER.
What is sent to and received from IPv4 addresses goes by the options of ``IPPROTO_IP``.

At ``IPPROTO_UDP``:

===================  ==============================================================================
UDP_SEGMENT          octets: longer data is sent as several datagrams of so many octets, up to 128
UDP_GRO              several datagrams of a sender may be received at once; `recvmsg` tells the size
                     of each
===================  ==============================================================================

`sendmsg` takes IP_PKTINFO, IP_TTL, IP_TOS, IPV6_PKTINFO, IPV6_HOPLIMIT, IPV6_TCLASS and UDP_SEGMENT
as control messages.
"""

from __future__ import annotations

import errno
import struct
from socket import (
    AF_INET,
    AF_INET6,
    IP_RECVTOS,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    SO_ACCEPTCONN,
    SO_BROADCAST,
    SO_DOMAIN,
    SO_ERROR,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_TYPE,
    SOCK_DGRAM,
    SOL_SOCKET,
)
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tunstack.ip.errors import os_error
from tunstack.udp.sock import PMTUDISC_OMIT, UdpSock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.socket.endpoint import Endpoint
    from tunstack.stack.udp_route import Route

Buffer: TypeAlias = bytes | bytearray | memoryview

# Linux's numbers, where Python has no names.
IP_PKTINFO: Final = 8
IP_MTU_DISCOVER: Final = 10
IP_RECVERR: Final = 11
IP_RECVTTL: Final = 12
IP_MTU: Final = 14
IPV6_MTU_DISCOVER: Final = 23
IPV6_MTU: Final = 24
IPV6_RECVERR: Final = 25
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104

SMALLEST_RECEIVE_BUFFER: Final = 2304
"""Linux's least SO_RCVBUF."""
SMALLEST_SEND_BUFFER: Final = 4608
"""Linux's least SO_SNDBUF."""
LARGEST_BUFFER: Final = 64 << 20
"""Larger values are cut to it, before they are doubled."""
DEFAULT_TTL: Final = 64

_INT: Final = struct.Struct("i")


class DatagramState:
    """The state of a UDP socket, shared by its parts.

    Attributes:
        endpoint: The host.
        family: The address family.
        v6only: IPV6_V6ONLY.
        udp: The socket below the socket API.
        wanted: The control messages that `recvmsg` gives, by level and option.
        routes: Prepared destinations, by the address that the application gives; None is the peer.
            Cleared when a name or an option changes.
    """

    __slots__ = ("endpoint", "family", "routes", "udp", "v6only", "wanted")

    def __init__(self, endpoint: Endpoint, family: int) -> None:
        self.endpoint = endpoint
        self.family = family
        self.v6only = False
        config = endpoint.stack.config
        self.udp = UdpSock(
            bytes(4) if family == AF_INET else None,
            ttl=config.ttl,
            tos=config.tos,
            hop_limit=config.hop_limit,
            traffic_class=config.traffic_class,
        )
        self.wanted: set[tuple[int, int]] = set()
        self.routes: dict[Any, Route] = {}


Get: TypeAlias = "Callable[[DatagramState], int]"
Set: TypeAlias = "Callable[[DatagramState, int], None]"


def get_option(state: DatagramState, level: int, name: int, size: int) -> int | bytes:
    """Return an option's value, as an int, or as bytes if `size` is not 0.

    Raises:
        OSError: ENOPROTOOPT; ENOTCONN (IP_MTU); `size` is out of range.
    """
    option = _option(state, level, name)
    if option is None:
        raise os_error(errno.ENOPROTOOPT)
    return option_value(option[0](state), level, size)


def set_option(state: DatagramState, level: int, name: int, value: int | Buffer) -> None:
    """Set an option to an int, or to the octets of one; at ``IPPROTO_IP`` one octet will do.

    Raises:
        OSError: ENOPROTOOPT, EINVAL.
    """
    number = option_number(value, level)
    option = _option(state, level, name)
    if option is None or option[1] is None:
        raise os_error(errno.ENOPROTOOPT)
    option[1](state, number)
    state.routes.clear()


def _option(state: DatagramState, level: int, name: int) -> tuple[Get, Set | None] | None:
    if level == IPPROTO_IPV6 and state.family != AF_INET6:
        return None
    return OPTIONS.get((level, name))


def option_value(value: int, level: int, size: int) -> int | bytes:
    """Return what `getsockopt` returns: an int, or `size` octets of it if that is not 0.

    At ``IPPROTO_IP``, as on Linux, fewer octets than an int has are one. Raises OSError: `size` is
    out of range.
    """
    if size == 0:
        return value
    if not 0 < size <= 1024:
        raise OSError("getsockopt buflen out of range")
    if level == IPPROTO_IP and size < _INT.size:
        size = 1
    return _INT.pack(value)[:size]


def option_number(value: int | Buffer, level: int) -> int:
    """Return what `setsockopt` was given as a number; at ``IPPROTO_IP`` one octet will do.

    Raises OSError (EINVAL): too few octets.
    """
    if isinstance(value, int):
        return value
    if len(value) >= _INT.size:
        return int(_INT.unpack_from(value)[0])
    if level != IPPROTO_IP:
        raise os_error(errno.EINVAL)
    return value[0] if len(value) else 0


def _checked(number: int, lowest: int, highest: int) -> int:
    if not lowest <= number <= highest:
        raise os_error(errno.EINVAL)
    return number


def _switch(attribute: str) -> tuple[Get, Set]:
    def set(state: DatagramState, number: int) -> None:
        setattr(state.udp, attribute, number != 0)

    return lambda state: int(getattr(state.udp, attribute)), set


def _number(attribute: str, lowest: int, highest: int) -> tuple[Get, Set]:
    def set(state: DatagramState, number: int) -> None:
        setattr(state.udp, attribute, _checked(number, lowest, highest))

    return lambda state: getattr(state.udp, attribute), set


def _buffer(attribute: str, smallest: int) -> tuple[Get, Set]:
    def set(state: DatagramState, number: int) -> None:
        doubled = 2 * min(number & 0xFFFF_FFFF, LARGEST_BUFFER)
        setattr(state.udp, attribute, max(doubled, smallest))

    return lambda state: getattr(state.udp, attribute), set


def _wanted(level: int, name: int) -> tuple[Get, Set]:
    def set(state: DatagramState, number: int) -> None:
        (state.wanted.add if number else state.wanted.discard)((level, name))

    return lambda state: int((level, name) in state.wanted), set


def _set_ttl(state: DatagramState, number: int) -> None:
    state.udp.ttl = state.endpoint.stack.config.ttl if number == -1 else _checked(number, 1, 255)


def _set_tos(state: DatagramState, number: int) -> None:
    state.udp.tos = number & 0xFF


def _mtu(state: DatagramState) -> int:
    if state.udp.remote is None:
        raise os_error(errno.ENOTCONN)
    return state.endpoint.stack.paths.mtus.get(state.udp.remote)


def _set_hops(state: DatagramState, number: int) -> None:
    default = state.endpoint.stack.config.hop_limit
    state.udp.hop_limit = default if number == -1 else _checked(number, 0, 255)


def _set_traffic_class(state: DatagramState, number: int) -> None:
    state.udp.traffic_class = max(0, _checked(number, -1, 255))


def _set_v6only(state: DatagramState, number: int) -> None:
    if state.udp.port:
        raise os_error(errno.EINVAL)
    state.v6only = number != 0
    state.udp.local = state.udp.bound_to = bytes(16) if number else None


def _set_receive_errors(state: DatagramState, number: int) -> None:
    state.udp.receive_errors = number != 0
    if not number:
        state.udp.errors.clear()


OPTIONS: Final[dict[tuple[int, int], tuple[Get, Set | None]]] = {
    (SOL_SOCKET, SO_ACCEPTCONN): (lambda state: 0, None),
    (SOL_SOCKET, SO_DOMAIN): (lambda state: int(state.family), None),
    (SOL_SOCKET, SO_TYPE): (lambda state: int(SOCK_DGRAM), None),
    (SOL_SOCKET, SO_PROTOCOL): (lambda state: IPPROTO_UDP, None),
    (SOL_SOCKET, SO_ERROR): (lambda state: state.udp.take_error(), None),
    (SOL_SOCKET, SO_BROADCAST): _switch("broadcast"),
    (SOL_SOCKET, SO_REUSEADDR): _switch("reuse_address"),
    (SOL_SOCKET, SO_REUSEPORT): _switch("reuse_port"),
    (SOL_SOCKET, SO_RCVBUF): _buffer("receive_buffer", SMALLEST_RECEIVE_BUFFER),
    (SOL_SOCKET, SO_SNDBUF): _buffer("send_buffer", SMALLEST_SEND_BUFFER),
    (IPPROTO_IP, IP_TTL): (lambda state: state.udp.ttl, _set_ttl),
    (IPPROTO_IP, IP_TOS): (lambda state: state.udp.tos, _set_tos),
    (IPPROTO_IP, IP_MTU): (_mtu, None),
    (IPPROTO_IP, IP_MTU_DISCOVER): _number("pmtu_discovery", 0, PMTUDISC_OMIT),
    (IPPROTO_IP, IP_RECVERR): (lambda state: int(state.udp.receive_errors), _set_receive_errors),
    (IPPROTO_IP, IP_PKTINFO): _wanted(IPPROTO_IP, IP_PKTINFO),
    (IPPROTO_IP, IP_RECVTTL): _wanted(IPPROTO_IP, IP_RECVTTL),
    (IPPROTO_IP, IP_RECVTOS): _wanted(IPPROTO_IP, IP_RECVTOS),
    (IPPROTO_IPV6, IPV6_V6ONLY): (lambda state: int(state.v6only), _set_v6only),
    (IPPROTO_IPV6, IPV6_UNICAST_HOPS): (lambda state: state.udp.hop_limit, _set_hops),
    (IPPROTO_IPV6, IPV6_TCLASS): (lambda state: state.udp.traffic_class, _set_traffic_class),
    (IPPROTO_IPV6, IPV6_MTU): (_mtu, None),
    (IPPROTO_IPV6, IPV6_MTU_DISCOVER): _number("pmtu_discovery_ipv6", 0, PMTUDISC_OMIT),
    (IPPROTO_IPV6, IPV6_RECVERR): (
        lambda state: int(state.udp.receive_errors),
        _set_receive_errors,
    ),
    (IPPROTO_IPV6, IPV6_RECVPKTINFO): _wanted(IPPROTO_IPV6, IPV6_RECVPKTINFO),
    (IPPROTO_IPV6, IPV6_RECVHOPLIMIT): _wanted(IPPROTO_IPV6, IPV6_RECVHOPLIMIT),
    (IPPROTO_IPV6, IPV6_RECVTCLASS): _wanted(IPPROTO_IPV6, IPV6_RECVTCLASS),
    (IPPROTO_UDP, UDP_SEGMENT): _number("segment_size", 0, 0xFFFF),
    (IPPROTO_UDP, UDP_GRO): _switch("gro"),
}
"""Getter and setter of each option; None: it is read only."""
