"""Which datagrams a small service over UDP answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

_PRIVILEGED: Final = 1024
"""Lower source ports are those of services: the two could answer each other for ever."""
_LONGEST: Final = 65535


async def answer(sock: trio.socket.SocketType, reply: Callable[[bytes], bytes | None]) -> None:
    """Answer each datagram by what `reply` returns for it, until cancelled; None for no answer.

    A datagram from a port below 1024, or from the service's own, is not answered, as inetd does it:
    two services that answer each other would never end (CERT CA-1996-01). What cannot be sent is
    lost, as on a wire.
    """
    own = sock.getsockname()[1]
    while True:
        try:
            data, source = await sock.recvfrom(_LONGEST)
        except ConnectionError:
            continue  # An ICMP error about an earlier answer.
        await _answer_one(sock, reply(data), source, own)


async def _answer_one(
    sock: trio.socket.SocketType, data: bytes | None, source: tuple[Any, ...], own: int
) -> None:
    if data is None or source[1] < _PRIVILEGED or source[1] == own:
        return
    try:
        await sock.sendto(data, source)
    except ConnectionError:
        pass
    except OSError:
        sock.getsockname()  # Raises, if it is the socket that is at fault.
