"""What a program may wait for beside data: that all of it arrived, or that something is wrong."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import trio

from tunstack.socket.options import os_error
from tunstack.socket.transfer import TransferSocket
from tunstack.socket.waiter import Waiter
from tunstack.tcp.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.flow import Flow
    from tunstack.host import Host


class NoticingSocket(TransferSocket):
    """A socket that tells what happens to its connection."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._conditions: dict[Waiter, Callable[[Flow], bool]] = {}
        self._acknowledged = Waiter()
        self._erring = Waiter()
        self._reports_told = 0

    async def wait_acknowledged(self) -> None:
        """Wait until the peer has acknowledged all that was sent, and the end of it after shutdown.

        So a `close` after it loses nothing. It does what SO_LINGER does where closing may block::

            with trio.move_on_after(5):
                await sock.wait_acknowledged()
            sock.close()

        Raises:
            OSError: ECONNRESET, ETIMEDOUT..., ENOTCONN.
            trio.BusyResourceError: another task waits for it.
        """
        flow = await self._until(self._acknowledged, _is_acknowledged)
        if flow.error is not None:
            raise OSError(flow.error.errno, flow.error.strerror)

    async def wait_soft_error(self) -> OSError:
        """Wait for the next error that does not end the connection, and return it.

        That is what ICMP says, and that the third retransmission of a segment had no answer
        (ETIMEDOUT), as long as the connection has not ended by it. Of several since the last call
        it returns the latest. Whoever does not want to know does not call (RFC 9293 section
        3.9.1.8, MUST-47, SHLD-20).

        Raises:
            OSError: ENOTCONN, there will be none any more.
            trio.BusyResourceError: another task waits for it.
        """
        flow = await self._until(
            self._erring,
            lambda flow: flow.reports > self._reports_told or flow.state is State.CLOSED,
        )
        if flow.reports == self._reports_told or flow.latest_report is None:
            raise os_error(errno.ENOTCONN)
        self._reports_told = flow.reports
        return flow.latest_report

    async def _until(self, waiter: Waiter, ready: Callable[[Flow], bool]) -> Flow:
        """Wait until the connection is `ready`; a checkpoint."""
        await trio.lowlevel.checkpoint_if_cancelled()
        flow = self._connected()
        waiter.check_free()
        if ready(flow):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return flow
        self._conditions[waiter] = ready
        try:
            while not ready(flow):
                await waiter.wait()
                self._check_not_closed_meanwhile()
        finally:
            del self._conditions[waiter]
        return flow

    def _notice(self, flow: Flow) -> None:
        """Wake those whose condition is met."""
        for waiter, ready in self._conditions.items():
            if ready(flow):
                waiter.wake()


def _is_acknowledged(flow: Flow) -> bool:
    return flow.sender.una == flow.sender.end or flow.state is State.CLOSED
