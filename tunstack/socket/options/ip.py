"""Socket options at ``IPPROTO_IP`` and ``IPPROTO_IPV6``; see :mod:`tunstack.socket.options`."""

from __future__ import annotations

import errno
from socket import (
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
)
from typing import TYPE_CHECKING, Final

from tunstack.ip.errors import os_error
from tunstack.socket.options.option import Option, check_range, number

if TYPE_CHECKING:
    from tunstack.socket.state import SocketState


def _set_ttl(sock: SocketState, number: int) -> None:
    if number == -1:
        number = sock.default_config.ttl
    check_range(number, 1, 255)
    sock.change(ttl=number)


def _set_tos(sock: SocketState, number: int) -> None:
    sock.change(tos=number & 0xFC)


def _set_hops(sock: SocketState, number: int) -> None:
    check_range(number, -1, 255)
    sock.change(hop_limit=sock.default_config.hop_limit if number == -1 else number)


def _set_traffic_class(sock: SocketState, number: int) -> None:
    check_range(number, -1, 255)
    sock.change(traffic_class=max(0, number) & 0xFC)


def _set_v6only(sock: SocketState, number: int) -> None:
    if sock.bound is not None or sock.flow is not None:
        raise os_error(errno.EINVAL)
    sock.v6only = bool(number)


OPTIONS: Final[dict[tuple[int, int], Option]] = {
    (IPPROTO_IP, IP_TOS): number(lambda sock: sock.config.tos, _set_tos),
    (IPPROTO_IP, IP_TTL): number(lambda sock: sock.config.ttl, _set_ttl),
    (IPPROTO_IPV6, IPV6_TCLASS): number(lambda sock: sock.config.traffic_class, _set_traffic_class),
    (IPPROTO_IPV6, IPV6_UNICAST_HOPS): number(lambda sock: sock.config.hop_limit, _set_hops),
    (IPPROTO_IPV6, IPV6_V6ONLY): number(lambda sock: int(sock.v6only), _set_v6only),
}
