"""Connections by callbacks (:mod:`tunstack.protocol`) on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from tunstack.host.sockets import SocketLoop
from tunstack.host.verdicts import check_function
from tunstack.protocol.server import Server
from tunstack.protocol.transport import Protocol, Transport
from tunstack.socket.flows import hand_over_accepted, take_flow

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tunstack.host.verdicts import Decide
    from tunstack.link.base import Link
    from tunstack.socket import TcpListener
    from tunstack.stack.stack import Stack
    from tunstack.tcp.congestion import CongestionFactory

P = TypeVar("P", bound=Protocol)


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
        on_syn: Decide | None = None,
        task_status: trio.TaskStatus[list[TcpListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See :meth:`tunstack.Host.serve_protocol`."""
        check_function(on_syn)
        if not callable(factory):
            raise TypeError(f"{factory!r} is no function that makes a protocol")
        listeners = await self.open_tcp_listeners(
            port, host=host, backlog=backlog, congestion=congestion
        )
        server = Server(self.protocols, factory)
        try:
            # No SYN has come before: there was no checkpoint since they listen.
            for listener in listeners:
                listener.socket.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
            with self.asked_about_listeners(on_syn, listeners):
                async with trio.open_nursery() as nursery:
                    for listener in listeners:
                        nursery.start_soon(hand_over_accepted, listener.socket, server.accept_from)
                    task_status.started(listeners)
        except BaseExceptionGroup as group:
            if group.split(trio.ClosedResourceError)[1] is None:
                self.check_link()
            raise
        finally:
            for listener in listeners:
                listener.socket.close()
            server.close()

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
