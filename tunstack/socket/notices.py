"""Waiting for acknowledgement of all data, for soft errors, and for urgent data."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import trio

from tunstack.ip.errors import os_error
from tunstack.socket.waiter import Waiter
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.socket.state import SocketState
    from tunstack.stack.flow import Flow


class Notices:
    """The events of a socket besides data; created when needed (:meth:`of`)."""

    __slots__ = (
        "_acknowledged",
        "_conditions",
        "_reports_seen",
        "_signals_seen",
        "_socket",
        "_soft_error",
        "_urgent",
    )

    def __init__(self, state: SocketState) -> None:
        self._socket = state
        self._acknowledged = Waiter()
        self._soft_error = Waiter()
        self._urgent = Waiter()
        self._conditions: dict[Waiter, Callable[[Flow], bool]] = {}
        self._reports_seen = 0
        self._signals_seen = 0

    @classmethod
    def of(cls, state: SocketState) -> Notices:
        """Return the `Notices` of a socket; it is created by the first call."""
        if state.notices is None:
            state.notices = cls(state)
        return state.notices

    async def wait_acknowledged(self) -> None:
        """As :meth:`tunstack.Socket.wait_acknowledged`."""
        flow = await self._until(self._acknowledged, _is_acknowledged)
        if flow.error is not None:  # Even if `recv` or SO_ERROR has reported it.
            raise OSError(flow.error.errno, flow.error.strerror)
        if flow.sender.una != flow.sender.end:
            raise os_error(errno.ECONNRESET)  # The data has arrived, but our FIN has not.

    async def wait_soft_error(self) -> OSError:
        """As :meth:`tunstack.Socket.wait_soft_error`."""
        flow = await self._until(
            self._soft_error,
            lambda flow: flow.reports > self._reports_seen or flow.state is State.CLOSED,
        )
        if flow.reports == self._reports_seen or flow.latest_report is None:
            raise os_error(errno.ENOTCONN)
        self._reports_seen = flow.reports
        return flow.latest_report

    async def wait_urgent(self) -> None:
        """As :meth:`tunstack.Socket.wait_urgent`."""
        flow = await self._until(
            self._urgent,
            lambda flow: (
                flow.receiver.urgent_signals > self._signals_seen
                or flow.receiver.finished
                or flow.state is State.CLOSED
            ),
        )
        if flow.receiver.urgent_signals == self._signals_seen:
            raise os_error(errno.ENOTCONN)
        self._signals_seen = flow.receiver.urgent_signals

    async def receive_urgent(self, size: int, *, peek: bool) -> bytes:
        """Receive the urgent octet (MSG_OOB); waits for it if it was announced."""
        flow = await self._until(self._urgent, lambda flow: not flow.urgent_is_on_its_way)
        return flow.receiver.take_urgent(peek=peek)[:size]

    async def _until(self, waiter: Waiter, ready: Callable[[Flow], bool]) -> Flow:
        """Wait until the connection is `ready`; a checkpoint."""
        await trio.lowlevel.checkpoint()  # Before the check: nothing may change after it.
        flow = self._socket.connected()
        waiter.check_free()
        self._conditions[waiter] = ready
        try:
            while not ready(flow):
                await waiter.wait()
                self._socket.check_not_closed_meanwhile()
        finally:
            del self._conditions[waiter]
        return flow

    def notice(self, flow: Flow) -> None:
        """Wake the tasks whose condition is met."""
        for waiter, ready in self._conditions.items():
            if ready(flow):
                waiter.wake()

    def wake_all(self) -> None:
        """Wake all tasks: the socket is closed."""
        for waiter in self._conditions:
            waiter.wake()


def _is_acknowledged(flow: Flow) -> bool:
    return flow.sender.una == flow.sender.end or flow.state is State.CLOSED


__all__ = ["Notices"]
