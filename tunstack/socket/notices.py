"""What a program may wait for beside data: that all of it arrived, errors, and urgent data."""

from __future__ import annotations

import errno
from functools import cached_property
from typing import TYPE_CHECKING

import trio

from tunstack.socket.options import os_error
from tunstack.socket.transfer import TransferSocket
from tunstack.socket.waiter import Waiter
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.host.host import Host
    from tunstack.stack.flow import Flow


class NoticingSocket(TransferSocket):
    """A socket that tells what happens to its connection."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._conditions: dict[Waiter, Callable[[Flow], bool]] = {}
        self._reports_told = 0
        self._signals_told = 0

    # Few ever wait for any of these: so there is a place for it when somebody does.

    @cached_property
    def _acknowledged(self) -> Waiter:
        return Waiter()

    @cached_property
    def _erring(self) -> Waiter:
        return Waiter()

    @cached_property
    def _urgent(self) -> Waiter:
        return Waiter()

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
        if flow.error is not None:  # Be it that `recv`, or SO_ERROR, has told of it already.
            raise OSError(flow.error.errno, flow.error.strerror)
        if flow.sender.una != flow.sender.end:
            raise os_error(errno.ECONNRESET)  # The data has arrived, but not the end of it.

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

    # Urgent data (RFC 6093)

    async def wait_urgent(self) -> None:
        """Wait until the peer has announced urgent data, or more of it, since the last call.

        It stands in the stream, or still will; :attr:`urgent_remaining` says how far to read.

        Raises:
            OSError: ENOTCONN, nothing can come any more.
            trio.BusyResourceError: another task waits for it, or for its octet.
        """
        flow = await self._until(
            self._urgent,
            lambda flow: (
                flow.receiver.urgent_signals > self._signals_told
                or flow.receiver.finished
                or flow.state is State.CLOSED
            ),
        )
        if flow.receiver.urgent_signals == self._signals_told:
            raise os_error(errno.ENOTCONN)
        self._signals_told = flow.receiver.urgent_signals

    @property
    def urgent_remaining(self) -> int:
        """Octets from what is read next to the end of the urgent data; 0 when all of it is read.

        Raises:
            OSError: ENOTCONN.
        """
        return self._connected().receiver.urgent_remaining

    def at_mark(self) -> bool:
        """Whether what is read next is the last urgent octet; SO_OOBINLINE off, what follows it.

        As `sockatmark` of POSIX. No `recv` goes from before the mark past it.

        Raises:
            OSError: ENOTCONN.
        """
        return self._connected().receiver.at_mark

    async def _recv_urgent(self, size: int, *, peek: bool) -> bytes:
        """The octet of ``recv(size, MSG_OOB)``; waits for it if it was only announced so far."""
        flow = await self._until(self._urgent, lambda flow: not flow.urgent_is_on_its_way)
        return flow.receiver.take_urgent(peek=peek)[:size]

    # Waiting

    async def _until(self, waiter: Waiter, ready: Callable[[Flow], bool]) -> Flow:
        """Wait until the connection is `ready`; a checkpoint."""
        await trio.lowlevel.checkpoint()  # Before the look, after which nothing may change.
        flow = self._connected()
        waiter.check_free()
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
