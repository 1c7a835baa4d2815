"""Each option, in each length of octets: ours take and give what the kernel's sockets do."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.socket.network import OURS
from tunstack import Host, memory_pair
from tunstack.socket.options.stream import NOTED, OPTIONS
from tunstack.socket.options.tcp import TCP_FASTOPEN_CONNECT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tunstack import Socket

LENGTHS = [0, 1, 2, 3, 4, 5, 8, 16, 20]
EACH = pytest.mark.parametrize(("level", "name"), sorted({*OPTIONS, *NOTED}))
SWITCH = (socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT)
"""It takes 0 and 1 only."""
DOUBLED = {(socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.SOL_SOCKET, socket.SO_SNDBUF)}
"""Linux doubles them; its least is different as well."""


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
async def sock(family: int) -> AsyncIterator[Socket]:
    async with Host(memory_pair()[0], [f"{OURS}/24", "2001:db8::2/64"]) as host:
        yield host.socket(family)


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns, or its error's name."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno] if error.errno else str(error)


@EACH
async def test_it_is_read_in_each_length(sock: Socket, family: int, level: int, name: int) -> None:
    """At its default, which may be another than the kernel's, and as a number as well."""
    with socket.socket(family) as kernels:
        for length in LENGTHS:
            ours = outcome(sock.getsockopt, level, name, length)
            theirs = outcome(kernels.getsockopt, level, name, length)
            assert type(ours) is type(theirs)
            if isinstance(ours, bytes):
                assert len(ours) == len(theirs), length
        for length in (-1, 1025):
            assert outcome(sock.getsockopt, level, name, length) == outcome(
                kernels.getsockopt, level, name, length
            )


@EACH
async def test_it_is_set_in_each_length(sock: Socket, family: int, level: int, name: int) -> None:
    value = b"\1" if (level, name) == SWITCH else b"\x08"
    with socket.socket(family) as kernels:
        for length in LENGTHS:
            given = value[:length].ljust(length, b"\0")
            if length >= 8 and name == socket.SO_LINGER and level == socket.SOL_SOCKET:
                given = b"\1\0\0\0\5\0\0\0".ljust(length, b"\0")
            ours = outcome(sock.setsockopt, level, name, given)
            theirs = outcome(kernels.setsockopt, level, name, given)
            assert ours == theirs, length
            if ours is None and (level, name) not in DOUBLED:
                for size in LENGTHS:
                    assert sock.getsockopt(level, name, size) == kernels.getsockopt(
                        level, name, size
                    )


@pytest.mark.parametrize("number", [*range(20), 100, 1000, 10_000, 100_000, -1, -(1 << 31)])
async def test_defer_accept_is_rounded_as_linux_rounds_it(
    sock: Socket, family: int, number: int
) -> None:
    option = socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT
    with socket.socket(family) as kernels:
        for each in (sock, kernels):
            each.setsockopt(*option, number)
        assert sock.getsockopt(*option) == kernels.getsockopt(*option)


@pytest.mark.parametrize("number", [0, 1, 16_384, (1 << 31) - 1, -1, -(1 << 31)])
async def test_notsent_lowat_has_no_sign_and_is_read_with_one(
    sock: Socket, family: int, number: int
) -> None:
    option = socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT
    with socket.socket(family) as kernels:
        for each in (sock, kernels):
            each.setsockopt(*option, number)
        assert sock.getsockopt(*option) == kernels.getsockopt(*option)
        assert sock.getsockopt(*option, 4) == kernels.getsockopt(*option, 4)
