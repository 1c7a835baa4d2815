"""Waits until applications have read what a batch has brought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import trio

if TYPE_CHECKING:
    from tunstack.stack.stack import Stack

_TURNS: Final = 96
"""Turns of the event loop, at most, for one batch. Over TLS 1.4 MiB take as many: one for each read
of 256 KiB, and one for each record. A batch brings 2 MiB at most, and `_SLEEP` comes first."""

_IDLE_TURNS: Final = 20
"""Turns without a read that end the wait. Over TLS a read of 256 KiB brings 16 records, and each
takes its application a turn."""

_BLOCKED_TURNS: Final = 4
"""The same after a wait in vain: applications are blocked."""

_MUCH: Final = 1 << 18
"""Unread octets from which the wait takes no turns; trio's streams read 64 KiB in one."""
_SLEEP: Final = 0.002
"""Seconds, at most, of a wait without turns."""
_BACKOFF: Final = 64
"""Waits that take few turns after one in which an application was blocked."""


@final
class Reading:
    """Lets applications read received data before the next batch.

    Otherwise receive buffers fill up: data leaves the processor's caches before it is read, and
    each read sends a window update.

    With much to read, the receive task sleeps until all is read: over TLS an application takes a
    turn for each record, and a turn of the task beside each is time lost. But an application may be
    blocked, perhaps in a `send` that waits for an ACK of the next batch, and only turns tell that:
    if none has read for `_IDLE_TURNS`, none will. So a sleep is short, and after a wait that was in
    vain the next `_BACKOFF` take turns, and fewer.
    """

    __slots__ = ("_backoff", "_stack")

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._backoff = 0

    async def wait(self) -> None:
        """Wait until the data of `Stack.deferred` is read, or is not going to be read soon."""
        if self._backoff:
            self._backoff -= 1
            await self._take_turns(_BLOCKED_TURNS)
            return
        if self._stack.deferred_unread >= _MUCH:
            with trio.move_on_after(_SLEEP):
                await self._sleep()
        if await self._take_turns(_IDLE_TURNS):
            self._backoff = _BACKOFF

    async def _sleep(self) -> None:
        """Sleep until all is read."""
        done = trio.Event()
        self._stack.all_read = done.set
        try:
            await done.wait()
        finally:
            self._stack.all_read = None

    async def _take_turns(self, patience: int) -> bool:
        """Yield until all is read; returns whether none has read for so many turns."""
        stack, idle = self._stack, 0
        unread = stack.deferred_unread
        for _ in range(_TURNS):
            if not unread:
                break
            if idle == patience:
                return True
            await trio.lowlevel.checkpoint()
            left = stack.deferred_unread
            idle = idle + 1 if left >= unread else 0
            unread = left
        return False


__all__ = ["Reading"]
