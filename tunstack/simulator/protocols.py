"""Protocols on a simulated node: whole applications that are repeatable octet by octet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tunstack.protocol.runner import Runner
from tunstack.protocol.server import Connecting, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.protocol.runner import Actor
    from tunstack.protocol.transport import Protocol
    from tunstack.simulator.node import Node
    from tunstack.simulator.simulator import Simulator
    from tunstack.tcp.config import Config


class ProtocolApplications:
    """The protocols of one node.

    Args:
        simulator: The simulation.
        node: Its `client` or `server`.

    Attributes:
        runner: What calls them.
    """

    def __init__(self, simulator: Simulator, node: Node) -> None:
        self._simulator = simulator
        self._node = node
        self._scheduled = False
        self.runner = Runner(
            node.stack,
            flush=lambda: None,  # The simulator does it, after each event.
            write=lambda: None,
            time=lambda: node.now,
            clock=lambda: 0.0,
            timer_changed=lambda when: simulator.at(when, self._expire),
            wake=self._wake,
        )

    def serve(
        self, factory: Callable[[], Protocol], port: int, *, config: Config | None = None
    ) -> Server:
        """Listen at a port at all addresses; with TCP_NODELAY, as asyncio and hosts do."""
        stack = self._node.stack
        stack.bind(None, port, reuse=True)
        config = replace(config or stack.config, nodelay=True)
        listener = stack.listen(None, port, 128, config=config)
        server = Server(self.runner, factory)
        listener.changed = server.accept_from(listener)
        return server

    def connect(
        self, factory: Callable[[], Protocol], port: int, *, config: Config | None = None
    ) -> Connecting:
        """Connect to a port of the other node."""
        simulator = self._simulator
        other = simulator.server if self._node is simulator.client else simulator.client
        stack = self._node.stack
        config = replace(config or stack.config, nodelay=True)
        flow = stack.connect(other.address, port, self._node.now, config=config)
        return Connecting(self.runner, flow, factory)

    def _wake(self, actor: Actor) -> None:
        self.runner.woken.append(actor)
        if not (self._scheduled or self.runner.running):
            self._scheduled = True
            self._node.soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        self.runner.run(self._node.now)

    def _expire(self) -> None:
        self.runner.expire(self._node.now)
        if (when := self.runner.timers.deadline()) is not None:
            self._simulator.at(max(when, self._node.now), self._expire)
