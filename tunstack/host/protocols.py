"""Connections by callbacks (:mod:`tunstack.protocol`) on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import trio

from tunstack.behaviours import parse
from tunstack.behaviours.serving import check_without_stream, listening_options
from tunstack.host.serving import misbehaving
from tunstack.host.sockets import SocketLoop
from tunstack.host.verdicts import check_function
from tunstack.protocol.server import Server
from tunstack.protocol.transport import Protocol, Transport
from tunstack.socket.flows import hand_over_accepted, take_flow

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tunstack.behaviours import BehaviourLike
    from tunstack.host.verdicts import Decide
    from tunstack.link.base import Link
    from tunstack.socket import TcpListener
    from tunstack.stack.stack import Stack
    from tunstack.tcp.congestion import CongestionFactory

P = TypeVar("P", bound=Protocol)

_NODELAY: Final = (trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY)


class ProtocolLoop(SocketLoop):
    """A host's loop, and the servers and clients whose connections are protocols."""

    def __init__(self, link: Link, stack: Stack, rng: random.Random, seed: int | None) -> None:
        super().__init__(link, stack, rng, seed)
        self._protocol_alarm: trio.CancelScope | None = None

    async def serve_protocol(
        self,
        factory: Callable[[], Protocol],
        port: int,
        *,
        host: str | None = None,
        backlog: int | None = None,
        congestion: str | CongestionFactory | None = None,
        behaviour: BehaviourLike = None,
        on_syn: Decide | None = None,
        task_status: trio.TaskStatus[list[TcpListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See :meth:`tunstack.Host.serve_protocol`."""
        check_function(on_syn)
        if not callable(factory):
            raise TypeError(f"{factory!r} is no function that makes a protocol")
        behaviours = parse(behaviour, "tcp")
        check_without_stream(behaviours)
        options = {_NODELAY: 1, **listening_options(behaviours)}
        listeners = await self._listeners_with(options, port, host, backlog, congestion)
        socks = [listener.socket for listener in listeners]
        server = Server(self.protocols, factory)
        try:
            # No SYN has come before: there was no checkpoint since they listen.
            with (
                misbehaving(self, "tcp", socks, behaviours, self._rng),
                self.asked_about_listeners(on_syn, listeners),
            ):
                try:
                    async with trio.open_nursery() as nursery:
                        for sock in socks:
                            nursery.start_soon(hand_over_accepted, sock, server.accept_from)
                        task_status.started(listeners)
                finally:
                    for sock in socks:
                        sock.close()
                    server.close()
        except BaseExceptionGroup as group:
            if group.split(trio.ClosedResourceError)[1] is None:
                self.check_link()
            raise

    async def connect_protocol(
        self,
        factory: Callable[[], P],
        host: str,
        port: int,
        *,
        local_address: str | None = None,
        congestion: str | CongestionFactory | None = None,
    ) -> tuple[Transport, P]:
        """See :meth:`tunstack.Host.connect_protocol`."""
        if not callable(factory):
            raise TypeError(f"{factory!r} is no function that makes a protocol")
        stream = await self.open_tcp_stream(
            host, port, local_address=local_address, congestion=congestion
        )
        try:
            protocol = factory()
        except BaseException:
            stream.socket.abort()
            raise
        transport = Transport(self.protocols, take_flow(stream.socket), protocol)
        transport.start(trio.current_time())
        self.flush()
        return transport, protocol

    # Timers

    def _protocol_timer_changed(self, when: float) -> None:
        if self._protocol_alarm is not None:
            self._protocol_alarm.deadline = when
        elif self._running is not None and not self.ended:
            self._protocol_alarm = trio.CancelScope(deadline=when)
            self._running.start_soon(self._run_protocol_timers, name=f"callbacks of {self.name}")

    async def _run_protocol_timers(self) -> None:
        while (when := self.protocols.timers.deadline()) is not None:
            self._protocol_alarm = trio.CancelScope(deadline=when)
            with self._protocol_alarm:
                await trio.sleep_forever()
            now = trio.current_time()
            self.protocols.expire(now)
            self._flush(now)
        self._protocol_alarm = None


__all__ = ["ProtocolLoop"]
