"""Behaviours in force: their rules while a port is served, and the handler of its connections."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tunstack.behaviours.base import Behaviour
from tunstack.behaviours.port import Port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from random import Random

    from tunstack.behaviours.base import Handler, Protocol
    from tunstack.behaviours.port import Peer
    from tunstack.socket import TcpStream


def listening_options(behaviours: Iterable[Behaviour]) -> dict[tuple[int, int], int]:
    """Return the options to set on the listening sockets, by level and name."""
    options: dict[tuple[int, int], int] = {}
    for each in behaviours:
        options |= each.options()
    return options


def check_without_stream(behaviours: Iterable[Behaviour]) -> None:
    """Raise ValueError for a behaviour that acts on a handler's stream: a protocol has none."""
    for each in behaviours:
        if type(each).serve is not Behaviour.serve:
            raise ValueError(
                f"{each.name} acts on the stream of a handler, which a protocol has not:"
                " serve_tcp knows it"
            )


@contextmanager
def in_force(
    behaviours: Sequence[Behaviour],
    host: Peer,
    protocol: Protocol,
    number: int,
    addresses: Iterable[str | None],
    rng: Random,
) -> Iterator[Port]:
    """Have the rules of behaviours within the block.

    Args:
        behaviours: They suit the protocol, and each other.
        host: The host.
        protocol: What is served.
        number: The port's.
        addresses: Which of the host's addresses; None for all.
        rng: What chooses connections at random.
    """
    from tunstack.behaviours.path import Impairment, install_impairments
    from tunstack.behaviours.selecting import Choice

    choice = next((each for each in behaviours if isinstance(each, Choice)), None)
    chosen = None if choice is None else choice.chooser(rng)
    with Port(host, protocol, number, addresses, chosen) as port:
        for each in behaviours:
            each.install(port)
        install_impairments(port, (each for each in behaviours if isinstance(each, Impairment)))
        yield port


def behaving(handler: Handler, behaviours: Sequence[Behaviour], port: Port) -> Handler:
    """Return the handler of connections that misbehave; the last behaviour is the innermost."""

    async def serve(stream: TcpStream) -> None:
        if port.concerns_stream(stream):
            await whole(stream)
        else:
            await handler(stream)

    whole = handler
    for each in reversed(behaviours):
        whole = _within(each, port, whole)
    return serve


def _within(behaviour: Behaviour, port: Port, handler: Handler) -> Handler:
    async def serve(stream: TcpStream) -> None:
        await behaviour.serve(port, stream, handler)

    return serve
