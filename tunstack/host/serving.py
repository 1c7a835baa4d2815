"""A port that is served while its behaviours are in force."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from tunstack.behaviours.serving import behaving, in_force

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunstack.behaviours import Behaviour
    from tunstack.behaviours.base import Handler, Protocol
    from tunstack.behaviours.port import Peer, Port

_ALL: Final = {"0.0.0.0": "0.0.0.0/0", "::": "::/0"}


@contextmanager
def misbehaving(
    host: Peer,
    protocol: Protocol,
    socks: Sequence[trio.socket.SocketType],
    behaviours: Sequence[Behaviour],
    rng: random.Random,
) -> Iterator[Port]:
    """Have behaviours in force at the port and addresses of bound sockets.

    Args:
        host: The host.
        protocol: Of the sockets.
        socks: All are bound to the same port.
        behaviours: At least one.
        rng: The host's; it is used only where connections are chosen.
    """
    names = [sock.getsockname()[:2] for sock in socks]
    addresses: list[str | None] = [_ALL.get(address, address) for address, _ in names]
    if {*_ALL.values()} <= {*addresses}:
        addresses = [None]
    needs_rng = any(each.part == "choice" for each in behaviours)
    own = random.Random(rng.getrandbits(64) if needs_rng else 0)
    with in_force(behaviours, host, protocol, names[0][1], addresses, own) as port:
        yield port


async def serve_misbehaving(
    host: Peer,
    handler: Handler,
    listeners: Sequence[trio.SocketListener],
    behaviours: Sequence[Behaviour],
    rng: random.Random,
    *,
    handler_nursery: trio.Nursery | None,
    task_status: trio.TaskStatus[list[trio.SocketListener]],
) -> None:
    """Serve listeners, as `trio.serve_listeners` does, while behaviours are in force."""
    socks = [listener.socket for listener in listeners]
    with misbehaving(host, "tcp", socks, behaviours, rng) as port:
        await trio.serve_listeners(
            behaving(handler, behaviours, port),
            [*listeners],
            handler_nursery=handler_nursery,
            task_status=task_status,
        )
