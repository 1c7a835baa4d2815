"""Transfers between two stacks, under a virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunstack.simulator import Application, Simulator


def transfer(
    simulator: Simulator, *, down: bytes = b"", up: bytes = b""
) -> tuple[Application, Application]:
    """Send `up` from the client and `down` from the server, and see all of it arrive."""
    client, server = simulator.connect()
    client.send(up)
    client.shutdown()
    simulator.run(lambda: server.flow is not None)
    server.send(down)
    server.shutdown()
    simulator.run(lambda: client.done and server.done)
    assert client.received == down
    assert server.received == up
    return client, server


def receive(simulator: Simulator, application: Application, octets: int) -> None:
    """Run until `application` has received so many octets in all."""
    simulator.run(lambda: len(application.received) == octets)
