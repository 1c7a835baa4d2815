"""The behaviours of a port, while it is served."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tunstack.behaviours import check_one_process
from tunstack.behaviours.serving import behaving, in_force

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import trio

    from tunstack.behaviours import Behaviour
    from tunstack.behaviours.base import Handler, Protocol
    from tunstack.host.verdicts import DecidingLoop

_ALL: Final = {"0.0.0.0": "0.0.0.0/0", "::": "::/0"}
"""The prefix of a socket's wildcard address."""


@contextmanager
def misbehaving(
    host: DecidingLoop,
    protocol: Protocol,
    socks: Sequence[trio.socket.SocketType],
    behaviours: Sequence[Behaviour],
    rng: random.Random,
) -> Iterator[Callable[[Handler], Handler]]:
    """Have behaviours in force at the port and the addresses of bound sockets.

    The sockets are closed at the end of the block.

    Args:
        host: The host.
        protocol: Of the sockets.
        socks: All are bound to the same port.
        behaviours: They suit the protocol, and each other.
        rng: The host's; it is used only where connections are chosen.

    Yields:
        What makes a handler of connections one that misbehaves.

    Raises:
        ValueError: one of the behaviours is of all connections together, and this is one of several
            processes.
    """
    try:
        if host.stack.opening.only_listens:  # It is one of several workers.
            check_one_process(behaviours)
        if not behaviours:
            yield lambda handler: handler
            return
        names = [sock.getsockname()[:2] for sock in socks]
        bare = [address.partition("%")[0] for address, _ in names]
        addresses: list[str | None] = [_ALL.get(address, address) for address in bare]
        if {*_ALL.values()} <= {*addresses}:
            addresses = [None]
        chooses = any(each.part == "choice" for each in behaviours)
        own = random.Random(rng.getrandbits(64) if chooses else 0)
        with in_force(behaviours, host, protocol, names[0][1], addresses, own) as port:
            yield lambda handler: behaving(handler, behaviours, port)
    finally:
        for sock in socks:
            sock.close()
