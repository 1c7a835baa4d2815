"""The few rtnetlink messages that configure a device: addresses, routes, flags (rtnetlink(7)).

pyroute2 has them all, but takes 160 ms to import, and a namespace opens in 40: the holder of a
namespace (:mod:`tunstack.link.holder`) would start four times as slowly. This needs 4.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

IFF_UP: Final = 0x1

_NLM_F_REQUEST: Final = 0x1
_NLM_F_ACK: Final = 0x4
_NLM_F_EXCL: Final = 0x200
_NLM_F_CREATE: Final = 0x400
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3

_RTM_NEWLINK: Final = 16
_RTM_NEWADDR: Final = 20
_RTM_GETADDR: Final = 22
_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26

_IFLA_TXQLEN: Final = 13
_IFLA_AF_SPEC: Final = 26
_IFLA_INET6_ADDR_GEN_MODE: Final = 8
_GEN_MODE_NONE: Final = 1
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_F_NODAD: Final = 0x02
_RTA_DST: Final = 1
_RTA_OIF: Final = 4
_RT_TABLE_MAIN: Final = 254
_RTPROT_STATIC: Final = 4
_RT_SCOPE_LINK: Final = 253
_RTN_UNICAST: Final = 1
_RTN_LOCAL: Final = 2

_HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
_LINK: Final = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, device type, index, flags, mask of flags."""
_ADDRESS: Final = struct.Struct("=BBBBi")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, both prefix lengths, TOS, table, protocol, scope, type, flags."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_RECEIVE: Final = 1 << 16


class HeldAddress(NamedTuple):
    """An address of an interface.

    Attributes:
        interface: Its index.
        family: AF_INET or AF_INET6.
        local: The address of this side, packed.
        prefix: Bits of the network's prefix.
        peer: The address of the other side of a point-to-point link; `local` if it is none.
    """

    interface: int
    family: int
    local: bytes
    prefix: int
    peer: bytes


class Route(NamedTuple):
    """A route to a network.

    Attributes:
        interface: The index of the interface that it leads to.
        network: The network's address, packed.
        prefix: Bits of its prefix.
    """

    interface: int
    network: bytes
    prefix: int


class Netlink:
    """A NETLINK_ROUTE socket in the network namespace of the calling thread; a context manager.

    Each call blocks for the kernel's answer, which takes microseconds, and raises the OSError that
    the kernel answers with.
    """

    def __init__(self) -> None:
        # Not a `socket.socket`, which a host's socket factory replaces within its block.
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.SocketType(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def set_up(self, index: int) -> None:
        """Set an interface up, as `ip link set NAME up` does."""
        self._ask(_RTM_NEWLINK, 0, _LINK.pack(0, 0, index, IFF_UP, IFF_UP))

    def set_queue_length(self, index: int, packets: int) -> None:
        """Set the transmit queue length, as `ip link set NAME txqueuelen N` does.

        The ioctl for it needs CAP_NET_ADMIN in the initial user namespace.
        """
        link = _LINK.pack(0, 0, index, 0, 0)
        self._ask(_RTM_NEWLINK, 0, link + _attribute(_IFLA_TXQLEN, struct.pack("=I", packets)))

    def generate_no_address(self, index: int) -> None:
        """Keep the kernel from giving an interface a link-local IPv6 address of its own choice."""
        mode = _attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes((_GEN_MODE_NONE,)))
        family = _attribute(socket.AF_INET6, mode)
        link = _LINK.pack(0, 0, index, 0, 0)
        self._ask(_RTM_NEWLINK, 0, link + _attribute(_IFLA_AF_SPEC, family))

    def add_address(self, index: int, local: bytes, prefix: int, peer: bytes | None = None) -> None:
        """Add an address, as `ip address add LOCAL/PREFIX [peer PEER] dev NAME` does.

        Duplicate address detection (RFC 4862) is off: on a TUN device nobody else could answer.
        """
        address = _ADDRESS.pack(_family(local), prefix, _IFA_F_NODAD, 0, index)
        address += _attribute(_IFA_LOCAL, local)
        address += _attribute(_IFA_ADDRESS, local if peer is None else peer)
        self._ask(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_EXCL, address)

    def add_route(self, index: int, network: bytes, prefix: int) -> None:
        """Add a route, as `ip route add NETWORK/PREFIX dev NAME` does; the interface must be up."""
        fields = _RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_LINK, _RTN_UNICAST, 0
        route = _ROUTE.pack(_family(network), prefix, 0, 0, *fields)
        route += _attribute(_RTA_DST, network)
        route += _attribute(_RTA_OIF, struct.pack("=i", index))
        self._ask(_RTM_NEWROUTE, _NLM_F_CREATE | _NLM_F_EXCL, route)

    def is_local(self, address: bytes) -> bool:
        """Whether packets to an address are received here, as `ip route get ADDRESS` tells."""
        route = _ROUTE.pack(_family(address), 8 * len(address), 0, 0, 0, 0, 0, 0, 0)
        self._send(_RTM_GETROUTE, 0, route + _attribute(_RTA_DST, address))
        for kind, body in _messages(self._socket.recv(_RECEIVE)):
            if kind == _NLMSG_ERROR:  # no route at all
                return False
            return bool(_ROUTE.unpack_from(body)[7] == _RTN_LOCAL)
        return False

    def addresses(self) -> list[HeldAddress]:
        """List all addresses of the namespace, of both families."""
        held: list[HeldAddress] = []
        for body in self._dump(_RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
            family, prefix, _, _, index = _ADDRESS.unpack_from(body)
            found = dict(_attributes(body[_ADDRESS.size :]))
            peer = found[_IFA_ADDRESS]
            held.append(HeldAddress(index, family, found.get(_IFA_LOCAL, peer), prefix, peer))
        return held

    def routes(self) -> list[Route]:
        """List the routes of the main table to single interfaces, but for default routes."""
        routes: list[Route] = []
        for body in self._dump(_RTM_GETROUTE, _ROUTE.pack(*bytes(9))):
            _, prefix, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
            found = dict(_attributes(body[_ROUTE.size :]))
            if (table, kind) == (_RT_TABLE_MAIN, _RTN_UNICAST) and prefix and _RTA_OIF in found:
                (index,) = struct.unpack("=i", found[_RTA_OIF])
                routes.append(Route(index, found[_RTA_DST], prefix))
        return routes

    def _dump(self, kind: int, request: bytes) -> Iterator[bytes]:
        self._send(kind, _NLM_F_DUMP, request)
        while True:
            for kind_of_answer, body in _messages(self._socket.recv(_RECEIVE)):
                if kind_of_answer == _NLMSG_DONE:
                    return
                _raise_error(kind_of_answer, body)
                yield body

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        self._send(kind, flags | _NLM_F_ACK, body)
        for kind_of_answer, answer in _messages(self._socket.recv(_RECEIVE)):
            _raise_error(kind_of_answer, answer)

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, kind, flags | _NLM_F_REQUEST, 0, 0) + body)


def _family(address: bytes) -> int:
    return int(socket.AF_INET if len(address) == 4 else socket.AF_INET6)


def _attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : size]
        data = data[size + -size % 4 :]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        size, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : size]
        data = data[size + -size % 4 :]


def _raise_error(kind: int, body: bytes) -> None:
    if kind != _NLMSG_ERROR:
        return
    (error,) = struct.unpack_from("=i", body)  # struct nlmsgerr
    if error:
        raise OSError(-error, os.strerror(-error))
