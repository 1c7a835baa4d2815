"""Addresses that cannot be: the errno of each call is Linux's, of TCP and UDP, in both families.

Three differences are by design: a host has one interface, so a link-local address needs no scope
id; no multicast address can be bound to; and all that is no neighbour's goes to the one neighbour,
as with a default route, which the kernel here has not.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.kernel.ends import IPV4, IPV6

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kernel.ends import Ends
    from tunstack import Host, Namespace

pytestmark = pytest.mark.kernel

BOTH: Final = pytest.mark.parametrize("ends", [IPV4, IPV6], ids=["IPv4", "IPv6"])

BOUND: Final[dict[int, list[tuple[Any, ...]]]] = {
    4: [
        ("203.0.113.7", 0),
        ("198.51.100.77", 0),
        ("240.0.0.1", 0),
        ("0.0.0.0", 65536),
        ("0.0.0.0", -1),
    ],
    6: [
        ("2001:db8::77", 0),
        ("2001:db8:7::1", 0),
        ("::", 65536),
        ("::ffff:198.51.100.77", 0),
        ("::ffff:203.0.113.7", 0),
    ],
}
"""What nobody can bind to, by IP version."""

REACHED: Final[dict[int, dict[int, list[tuple[Any, ...]]]]] = {
    socket.SOCK_STREAM: {
        4: [("224.0.0.251", 9), ("255.255.255.255", 9), ("198.51.100.255", 9)],
        6: [("ff0e::251", 9), ("::ffff:224.0.0.251", 9)],
    },
    socket.SOCK_DGRAM: {
        4: [("198.51.100.255", 9)],
        6: [("::ffff:198.51.100.255", 9)],
    },
}
"""What nobody can connect to, by type of socket and IP version."""


@pytest.fixture
async def host(ns: Namespace) -> AsyncIterator[Host]:
    """A host with an address of each family."""
    async with ns.open_host(IPV4.address, IPV6.address) as host:
        yield host


async def outcome(call: Callable[..., Any], *args: Any) -> object:
    """The name of a call's error, or ``"returns"``."""
    try:
        with trio.fail_after(10):
            result = call(*args)
            if hasattr(result, "__await__"):
                await result
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except OverflowError as error:
        return type(error).__name__
    except trio.TooSlowError:
        return "waits"
    return "returns"


async def outcomes(
    make: Callable[[], trio.socket.SocketType], version: int, kind: int
) -> list[tuple[object, ...]]:
    seen: list[tuple[object, ...]] = []
    for address in BOUND[version]:
        with make() as sock:
            seen.append(("bind", address, await outcome(sock.bind, address)))
    for address in REACHED[kind][version]:
        with make() as sock:
            seen.append(("connect", address, await outcome(sock.connect, address)))
    own = (IPV4 if version == 4 else IPV6).ours
    if kind == socket.SOCK_DGRAM:
        for address in REACHED[kind][version]:
            with make() as sock:
                seen.append(("sendto", address, await outcome(sock.sendto, b"x", address)))
        for size in (65507, 65508, 65527, 65528, 70000):
            with make() as sock:
                seen.append(("size", size, await outcome(sock.sendto, bytes(size), (own, 9))))
    return seen


@BOTH
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
async def test_an_address_that_cannot_be_has_linuxs_errno(
    ns: Namespace, host: Host, ends: Ends, kind: int
) -> None:
    version = 4 if ends is IPV4 else 6
    kernel = await outcomes(lambda: ns.socket(ends.family, kind), version, kind)
    ours = await outcomes(lambda: host.socket(ends.family, kind), version, kind)
    assert [pair for pair in zip(ours, kernel, strict=True) if pair[0] != pair[1]] == []
