"""Connections between a socket of ours and one of the kernel's, in either role."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import pytest
import trio

from tests.kernel.ends import BY_VERSION
from tunstack import Socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractContextManager

    from tunstack import Host, Namespace

Role: TypeAlias = Literal["client", "server"]
Pair: TypeAlias = tuple[Socket, trio.socket.SocketType]

ROLES: Final[tuple[Role, Role]] = ("client", "server")
"""Which of the two our side is: who opens the connection, or who accepts it."""

FLOW_CONTROL: Final = (
    "window specified by the receiver is now completely full",
    "Zero Window segment",
    "TcpExt.PruneCalled",  # Small segments take the kernel more memory than it reckoned with.
)
"""What there is to remark on when a sender is faster than whoever reads."""

SMALL: Final = 4096
"""Octets of a buffer that is full soon."""


def fails(number: int) -> AbstractContextManager[pytest.ExceptionInfo[OSError]]:
    """Expect an OSError with this errno."""
    return pytest.raises(OSError, check=lambda error: error.errno == number)


@asynccontextmanager
async def connected(
    ns: Namespace, host: Host, role: Role, *, ours: int = 0, kernels: int = 0
) -> AsyncIterator[Pair]:
    """Our end of a connection and the kernel's, until the end of the block.

    It is of the family of the host's first address.

    Args:
        ns: Where the kernel's is.
        host: Where ours is.
        role: What our side is.
        ours: Size of our buffers, if not the default.
        kernels: Size of the kernel's, if not the default; the kernel doubles it.
    """
    ends = BY_VERSION[host.addresses[0].version]
    near: trio.socket.SocketType = host.socket(ends.family)
    far = ns.socket(ends.family)
    for sock, size in ((near, ours), (far, kernels)):
        for option in (trio.socket.SO_SNDBUF, trio.socket.SO_RCVBUF) if size else ():
            sock.setsockopt(trio.socket.SOL_SOCKET, option, size)
    listener, client = (far, near) if role == "client" else (near, far)
    with listener:
        await listener.bind((ends.kernel if role == "client" else ends.ours, 0))
        listener.listen()
        await client.connect(listener.getsockname())
        accepted, _ = await listener.accept()
    near, far = (client, accepted) if role == "client" else (accepted, client)
    assert isinstance(near, Socket)
    with near, far:
        yield near, far


async def send_all(sock: trio.socket.SocketType, data: bytes) -> None:
    """Send it all, and end that half."""
    await trio.SocketStream(sock).send_all(data)
    sock.shutdown(trio.socket.SHUT_WR)


async def read_to_end(sock: trio.socket.SocketType) -> bytes:
    """All that comes before the end of the stream."""
    pieces = []
    while data := await sock.recv(1 << 16):
        pieces.append(data)
    return b"".join(pieces)


async def exactly(sock: trio.socket.SocketType, size: int) -> bytes:
    """So many octets, however they come."""
    data = bytearray()
    while len(data) < size:
        data += await sock.recv(size - len(data))
    return bytes(data)


async def both_ways(pair: Pair, data: bytes) -> tuple[bytes, bytes]:
    """Send `data` from each end to the other, and return what came to ours and to the kernel's."""
    came = {}

    async def receive(sock: trio.socket.SocketType) -> None:
        came[sock] = await read_to_end(sock)

    async with trio.open_nursery() as nursery:
        for sock in pair:
            nursery.start_soon(send_all, sock, data)
            nursery.start_soon(receive, sock)
    return came[pair[0]], came[pair[1]]


async def until_listening(ns: Namespace, port: int) -> None:
    """Wait until a program in the namespace listens on `port`."""
    while True:
        command = ["ss", "-Hltn", f"sport = :{port}"]
        if (await ns.run_process(command, capture_stdout=True)).stdout:
            return
        await trio.sleep(0.01)
