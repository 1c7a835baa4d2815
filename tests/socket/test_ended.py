"""A call of a socket whose host has ended raises, whichever it is, and as often as it is made."""

from __future__ import annotations

import errno
import inspect
import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.socket.network import OURS, PORT, THEIRS, connected, fails, host_pair, listening
from tunstack import Socket

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL = socket.SOL_SOCKET

CALLS: dict[str, Callable[[Socket], Any]] = {
    "accept": lambda sock: sock.accept(),
    "at_mark": lambda sock: sock.at_mark(),
    "bind": lambda sock: sock.bind((OURS, PORT)),
    "bind_now": lambda sock: sock.bind_now((OURS, PORT)),
    "connect": lambda sock: sock.connect((THEIRS, PORT)),
    "detach": lambda sock: sock.detach(),
    "dup": lambda sock: sock.dup(),
    "get_inheritable": lambda sock: sock.get_inheritable(),
    "freeze": lambda sock: sock.freeze(),
    "getpeername": lambda sock: sock.getpeername(),
    "getsockname": lambda sock: sock.getsockname(),
    "getsockopt": lambda sock: sock.getsockopt(LEVEL, socket.SO_RCVBUF),
    "getsockopt SO_ERROR": lambda sock: sock.getsockopt(LEVEL, socket.SO_ERROR),
    "is_readable": lambda sock: sock.is_readable(),
    "listen": lambda sock: sock.listen(),
    "recv": lambda sock: sock.recv(1),
    "recv nothing": lambda sock: sock.recv(0),
    "recv and peek": lambda sock: sock.recv(1, socket.MSG_PEEK),
    "recv out of band": lambda sock: sock.recv(1, socket.MSG_OOB),
    "recv_into": lambda sock: sock.recv_into(bytearray(1)),
    "recvfrom": lambda sock: sock.recvfrom(1),
    "recvfrom_into": lambda sock: sock.recvfrom_into(bytearray(1)),
    "recvmsg": lambda sock: sock.recvmsg(1),
    "recvmsg_into": lambda sock: sock.recvmsg_into([bytearray(1)]),
    "resume_acknowledging": lambda sock: sock.resume_acknowledging(),
    "send": lambda sock: sock.send(b"x"),
    "send nothing": lambda sock: sock.send(b""),
    "send out of band": lambda sock: sock.send(b"x", socket.MSG_OOB),
    "send_segment": lambda sock: sock.send_segment(),
    "sendmsg": lambda sock: sock.sendmsg([b"x"]),
    "sendto": lambda sock: sock.sendto(b"x", (THEIRS, PORT)),
    "set_inheritable": lambda sock: sock.set_inheritable(False),
    "setsockopt": lambda sock: sock.setsockopt(LEVEL, socket.SO_RCVBUF, 10_000),
    "shutdown": lambda sock: sock.shutdown(socket.SHUT_WR),
    "stop_acknowledging": lambda sock: sock.stop_acknowledging(),
    "tcp_info": lambda sock: sock.tcp_info(),
    "thaw": lambda sock: sock.thaw(),
    "urgent_remaining": lambda sock: sock.urgent_remaining,
    "vanish": lambda sock: sock.vanish(),
    "wait_acknowledged": lambda sock: sock.wait_acknowledged(),
    "wait_soft_error": lambda sock: sock.wait_soft_error(),
    "wait_urgent": lambda sock: sock.wait_urgent(),
    "wait_writable": lambda sock: sock.wait_writable(),
}

NO_CALLS = {
    *("abort", "close", "fileno"),  # The end is no error; nor is to ask whether it has come.
    *("family", "type", "proto", "did_shutdown_SHUT_WR"),
}


def test_no_call_is_left_out() -> None:
    public = {name for name, _ in inspect.getmembers(Socket) if not name.startswith("_")}
    assert {name.partition(" ")[0] for name in CALLS} | NO_CALLS == public


STATES = ["new", "bound", "listening", "connected", "half closed", "closed by the peer"]


async def in_every_state() -> dict[str, Socket]:
    """Sockets of a host that has ended, by what they were before."""
    async with host_pair() as (ours, theirs):
        sockets = {"new": ours.socket(), "bound": ours.socket()}
        await sockets["bound"].bind((OURS, 81))
        sockets["listening"] = await listening(ours)
        sockets["connected"], _ = await connected(ours, theirs)
        sockets["half closed"], _ = await connected(ours, theirs)
        sockets["half closed"].shutdown(socket.SHUT_WR)
        sockets["closed by the peer"], peer = await connected(ours, theirs)
        await peer.send(b"there is something to read")
        peer.close()
        await trio.sleep(0.1)
    assert list(sockets) == STATES
    return sockets


@pytest.mark.parametrize("state", STATES)
async def test_every_call_raises_in_every_state(state: str) -> None:
    for name, call in CALLS.items():
        sock = (await in_every_state())[state]
        for _ in range(3):
            with pytest.raises(OSError):  # noqa: PT011 - the errno may be of how it ended
                await _made(call, sock)
            assert name


async def _made(call: Callable[[Socket], Any], sock: Socket) -> None:
    result = call(sock)
    if inspect.isawaitable(result):
        await result


async def test_a_socket_can_be_closed_all_the_same() -> None:
    for sock in (await in_every_state()).values():
        sock.close()
        assert sock.fileno() == -1
        sock.abort()


async def test_nor_can_the_host_make_another() -> None:
    async with host_pair() as (host, _):
        pass
    with fails(errno.ENETDOWN):
        host.socket()
    with host.socket_factory():
        for make in (trio.socket.socket, socket.socket):
            with fails(errno.ENETDOWN):
                make()
