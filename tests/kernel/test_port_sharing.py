"""Which sockets share a port, of both families: as the kernel has it."""

from __future__ import annotations

import errno
import socket
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tests.ip.test_demux import ANY, ANY4, ANY6, BESIDE, CONFLICTS, SEVEN, SIX, A, B
from tunstack.ip.demux import Demultiplexer
from tunstack.link.netns import open_network_namespace

if TYPE_CHECKING:
    import trio

    from tunstack.link.netns import NetworkNamespace

pytestmark = pytest.mark.kernel

KERNELS: Final = {
    ANY: "::",
    ANY4: "0.0.0.0",
    ANY6: "::",
    A: "198.51.100.1",
    B: "127.0.0.1",
    SIX: "2001:db8::1",
    SEVEN: "::1",
}
PAIRS: Final = [*CONFLICTS, *BESIDE]


async def bound(
    namespace: NetworkNamespace, address: bytes | None, port: int, *, reuse: bool
) -> trio.socket.SocketType:
    """A socket of the kernel's that listens; None is both families, as ``::`` is by default."""
    text = KERNELS[address]
    made = namespace.socket(socket.AF_INET6 if ":" in text else socket.AF_INET)
    try:
        if ":" in text:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address is not ANY)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        await made.bind((text, port))
        made.listen()
    except BaseException:
        made.close()
        raise
    return made


async def kernels_error(
    namespace: NetworkNamespace, pair: tuple[bytes | None, bytes | None], port: int, *, reuse: bool
) -> int | None:
    """The errno of the second socket; None if both listen."""
    with await bound(namespace, pair[0], port, reuse=reuse):
        try:
            (await bound(namespace, pair[1], port, reuse=reuse)).close()
        except OSError as error:
            return error.errno
    return None


def our_error(pair: tuple[bytes | None, bytes | None], port: int, *, reuse: bool) -> int | None:
    demux: Demultiplexer[str, str] = Demultiplexer(Random(1))
    try:
        for address in pair:
            demux.bind(address, port, reuse=reuse)
            demux.listen(address, port, "listener")
    except OSError as error:
        return error.errno
    return None


async def test_sockets_share_a_port_where_the_kernels_do() -> None:
    outcomes = set()
    async with open_network_namespace() as namespace:
        await namespace.open_tun("198.51.100.2/24", "2001:db8::2/64")
        for number, pair in enumerate([*PAIRS, *(pair[::-1] for pair in PAIRS)]):
            for reuse in (False, True):
                port = 20_000 + 2 * number + reuse
                error = await kernels_error(namespace, pair, port, reuse=reuse)
                assert our_error(pair, port, reuse=reuse) == error, (pair, reuse)
                outcomes.add(error)
    assert outcomes == {None, errno.EADDRINUSE}
