"""What the simulations have in common: what is sent, and what has to be true at the end."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from tunstack.wire import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.simulator import Application, Simulator

MEGABYTE: Final = Random(1).randbytes(1 << 20)
"""What one side sends; the other sends the same backwards."""
LONG: Final = 1e6
"""Seconds: no run gets there."""


def texts(size: int) -> tuple[bytes, bytes]:
    """What the client sends, and the server."""
    return MEGABYTE[:size], MEGABYTE[::-1][:size]


def exchange(simulator: Simulator, size: int) -> tuple[Application, Application]:
    """Both sides send so much to each other, and close: all of it arrives, and nothing else."""
    there, back = texts(size)
    client, server = simulator.connect()
    client.send(there)
    server.send(back)
    client.shutdown()
    server.shutdown()
    simulator.run(lambda: client.done and server.done, limit=LONG)
    assert_received(client, back)
    assert_received(server, there)
    return client, server


def assert_received(application: Application, text: bytes) -> None:
    """All of it, once, in order, and then the end."""
    assert application.error is None
    assert application.ended
    assert application.received == text


def finish(simulator: Simulator) -> None:
    """Let everything come to its end, 2 MSL and all: nothing is left, and nothing went wrong."""
    simulator.run(limit=LONG)
    for node in simulator.nodes:
        assert not node.stack.demux.connections
        assert node.stack.deadline() is None
        statistics = node.stack.statistics()
        dropped = {reason: statistics[reason] for reason in Reason if statistics[reason]}
        assert not dropped, "our own packets are in order"
        assert statistics["internal_errors"] == 0


def for_each_seed(seeds: Iterable[int], run: Callable[[int], None]) -> None:
    """Run one simulation a seed; a failure tells which seed it was."""
    for seed in seeds:
        try:
            run(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
