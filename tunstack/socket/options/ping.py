"""The options of ping sockets, by Linux's names.

===================  ==============================================================================
SO_ACCEPTCONN,       read only
SO_DOMAIN, SO_TYPE,
SO_PROTOCOL
SO_ERROR             read only: the pending error; reading it clears it
SO_RCVBUF            octets, not doubled as Linux's are
SO_REUSEADDR         whether another socket may have the same identifier; on at first, as on Linux:
                     the latest one receives the replies
IP_TTL,              of what is sent, from 1 to 255; -1 for the host's default
IPV6_UNICAST_HOPS
IP_TOS, IPV6_TCLASS  the Differentiated Services field of what is sent
IP_RECVTTL,          whether `recvmsg` tells the time to live, or hop limit
IPV6_RECVHOPLIMIT
IP_RECVERR,          every ICMP error is told, connected or not; there is no MSG_ERRQUEUE
IPV6_RECVERR
===================  ==============================================================================
"""

from __future__ import annotations

import errno
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    SO_ACCEPTCONN,
    SO_DOMAIN,
    SO_ERROR,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_TYPE,
    SOCK_DGRAM,
    SOL_SOCKET,
)
from typing import TYPE_CHECKING, Final

from tunstack.ip.errors import os_error
from tunstack.socket.options.datagram import (
    DEFAULT_TTL,
    IP_RECVERR,
    IP_RECVTTL,
    IPV6_RECVERR,
    option_number,
    option_value,
)
from tunstack.socket.options.stream import LARGEST_BUFFER, SMALLEST_BUFFER

if TYPE_CHECKING:
    from tunstack.socket.options.datagram import Buffer
    from tunstack.stack.echo import Pinger

# Linux's numbers, where another system has others.
IP_TOS: Final = 1
IP_TTL: Final = 2
IPV6_UNICAST_HOPS: Final = 16
IPV6_RECVHOPLIMIT: Final = 51
IPV6_TCLASS: Final = 67

_OPTIONS: Final[dict[tuple[int, int, int], str]] = {
    (AF_INET, IPPROTO_IP, IP_TTL): "ttl",
    (AF_INET, IPPROTO_IP, IP_TOS): "tos",
    (AF_INET, IPPROTO_IP, IP_RECVTTL): "receive_ttl",
    (AF_INET, IPPROTO_IP, IP_RECVERR): "wants_errors",
    (AF_INET6, IPPROTO_IPV6, IPV6_UNICAST_HOPS): "ttl",
    (AF_INET6, IPPROTO_IPV6, IPV6_TCLASS): "tos",
    (AF_INET6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT): "receive_ttl",
    (AF_INET6, IPPROTO_IPV6, IPV6_RECVERR): "wants_errors",
}
"""The attribute of `Pinger` that an option sets, by family, level and number."""


def get_option(pinger: Pinger, level: int, name: int, size: int) -> int | bytes:
    """Return an option's value, as an int, or as bytes if `size` is not 0.

    Raises:
        OSError: ENOPROTOOPT; `size` is out of range.
    """
    return option_value(_value(pinger, level, name), level, size)


def _value(pinger: Pinger, level: int, name: int) -> int:
    if level == SOL_SOCKET:
        if name == SO_ERROR:
            error = pinger.take_error()
            return 0 if error is None else error.errno or 0
        values = {
            SO_ACCEPTCONN: 0,
            SO_DOMAIN: pinger.family.number,
            SO_TYPE: int(SOCK_DGRAM),
            SO_PROTOCOL: pinger.family.icmp,
            SO_RCVBUF: pinger.receive_buffer,
            SO_REUSEADDR: int(pinger.reuse),
        }
        if name in values:
            return values[name]
    attribute = _OPTIONS.get((pinger.family.number, level, name))
    if attribute is None:
        raise os_error(errno.ENOPROTOOPT)
    if attribute == "ttl":
        return pinger.ttl or DEFAULT_TTL
    return int(getattr(pinger, attribute))


def set_option(pinger: Pinger, level: int, name: int, value: int | Buffer) -> None:
    """Set an option to an int, or to the octets of one; at ``IPPROTO_IP`` one octet will do.

    Raises:
        OSError: ENOPROTOOPT, EINVAL.
    """
    number = option_number(value, level)
    if (level, name) == (SOL_SOCKET, SO_RCVBUF):
        pinger.receive_buffer = min(max(number, SMALLEST_BUFFER), LARGEST_BUFFER)
        return
    if (level, name) == (SOL_SOCKET, SO_REUSEADDR):
        pinger.reuse = number != 0
        return
    attribute = _OPTIONS.get((pinger.family.number, level, name))
    if attribute is None:
        raise os_error(errno.ENOPROTOOPT)
    if attribute == "receive_ttl":
        pinger.receive_ttl = number != 0
    elif attribute == "wants_errors":
        pinger.wants_errors = number != 0
    elif attribute == "ttl":
        if number != -1 and not 1 <= number <= 255:
            raise os_error(errno.EINVAL)
        pinger.ttl = None if number == -1 else number
    else:
        pinger.tos = number & 0xFF
