"""The trio event loop: link in, link out, timers, wake-ups. The rest is the stack's."""

from __future__ import annotations

import errno
import logging
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import trio

from tunstack.host.polling import Polling
from tunstack.host.turns import Turns

if TYPE_CHECKING:
    from tunstack.link.base import Buffer, Link
    from tunstack.stack.flow import Flow
    from tunstack.stack.stack import Stack

logger = logging.getLogger("tunstack")

_MAX_OUTGOING: Final = 10_000
"""Packets that may wait for a link that takes none; what comes after them is lost, as on a wire."""

_MAX_OUTGOING_OCTETS: Final = 16 << 20
"""The same in octets: as many packets as this is enough for, whatever their size."""

_BATCH: Final = 64
"""Packets processed before anything is sent: more would make the peer's loss probes impatient."""

_FEW: Final = 2
"""Packets of a batch after which answers need not be gathered."""

_GATHERING: Final = 0.005
"""Seconds in which answers are gathered. Many applications need no more for their turns together;
one that takes its time may need a hundred times as much (:mod:`tunstack.host.turns`)."""

_TURNS: Final = 32
"""How many applications have, at most, to read what a batch brought."""

_BEFORE_TIMERS: Final = 1000
"""Packets that may come before a timer: twice as many as a new device has room for."""


class Loop(ABC):
    """What moves packets between a link and a stack, and calls the stack when its time has come.

    Attributes:
        stack: The endpoint.
        ended: Whether its block has ended.
    """

    def __init__(self, link: Link, stack: Stack) -> None:
        self.stack = stack
        self._link = link
        largest = max(link.mtu, stack.config.max_payload)
        self._most_outgoing = min(_MAX_OUTGOING, _MAX_OUTGOING_OCTETS // largest)
        self._alarm = trio.CancelScope()
        self._blocked = trio.lowlevel.ParkingLot()
        self._broken: OSError | None = None
        self.ended = False
        self._gathers_until = float("-inf")
        self._gathered: list[Flow] = []

    @property
    def name(self) -> str:
        """The link's name."""
        return self._link.name

    def start(self, nursery: trio.Nursery) -> None:
        """Run in `nursery`, until that is cancelled."""
        nursery.start_soon(self._receive, name=f"receive from {self.name}")
        nursery.start_soon(self._keep_time, name=f"timers of {self.name}")
        nursery.start_soon(self._write_when_possible, name=f"send to {self.name}")

    # In

    async def _receive(self) -> None:
        try:
            polling, turns = Polling(), Turns()
            while True:
                asleep_since = trio.current_time()
                await self._link.wait_readable()
                polling.slept(trio.current_time() - asleep_since)
                in_vain = 0
                while True:
                    may_wait = turns.are_short
                    count = self._process_batch(turns_follow=may_wait)
                    if count:
                        in_vain = 0
                    elif in_vain == polling.looks:
                        break
                    else:
                        in_vain += 1
                    # What the tasks do that have just woken may bring the next packets already:
                    # to look costs less than to have the system tell.
                    began = trio.current_time()
                    if may_wait and count > _FEW and not self.stack.awaiting:  # Much to read.
                        await self._gather()
                    else:
                        await trio.lowlevel.checkpoint()
                    if count:
                        turns.took(trio.current_time() - began)
                    if self.stack.awaiting:
                        await self._give_turns()
        except Exception as error:
            self._link_raised(error)

    async def _gather(self) -> None:
        """Let those whom a batch has woken answer, and send what they answer together.

        A packet may wake who waits for it at the other end, and that takes as long as all else that
        is done with it: so let it be one for many. In one turn we may come before some of them, and
        there are two. What is no small answer goes at once, and all that waits with it; and so does
        what comes later than in the first milliseconds.
        """
        self._gathers_until = trio.current_time() + _GATHERING
        try:
            await trio.lowlevel.checkpoint()
            self._give(trio.current_time())
            await trio.lowlevel.checkpoint()
        finally:
            self._gathers_until = float("-inf")
            self._give(trio.current_time())  # Be it that the host ends, and nobody else does.

    async def _give_turns(self) -> None:
        """Let applications read what has come, before more of it is taken in.

        In a turn they read a piece, of 64 KiB in trio's streams, and a batch is many pieces. If the
        next batch came first, the buffers would fill up: then all data has left the processor's
        caches when it is read, and each piece that is read opens a window that is closed. But who
        does not read, or not at once, holds nobody up.
        """
        stack = self.stack
        unread, idle = stack.unread, 0
        for _ in range(_TURNS):
            if not unread or idle > 1:  # We may come before them, and then after.
                break
            await trio.lowlevel.checkpoint()
            left = stack.unread
            idle = idle + 1 if left >= unread else 0
            unread = left
        now = trio.current_time()
        while stack.awaiting:
            flow = stack.awaiting.pop()
            if flow.ordinary:  # Else something else has happened to it, and it has been asked.
                self.gave(flow, now)

    def _process_batch(self, *, turns_follow: bool = False) -> int:
        """Process packets that wait, and send what follows; returns how many there were."""
        packets = self._link.receive(_BATCH)
        if not packets:
            return 0
        now = trio.current_time()
        for packet in packets:
            try:
                self.stack.packet_arrives(packet, now)
            except Exception:
                self._survive("a packet from %s", bytes(packet).hex())
        self.stack.turns_follow = turns_follow
        self._flush(now)
        self.stack.turns_follow = False
        return len(packets)

    def take_stray(self, packet: bytes) -> None:
        """Process what `stack.paths.stray` of another host with our addresses was called with."""
        now = trio.current_time()
        self.stack.paths.take_stray(packet, now)
        self._flush(now)

    # Timers

    async def _keep_time(self) -> None:
        while True:
            deadline = self.stack.deadline()
            self._alarm = trio.CancelScope(
                deadline=float("inf") if deadline is None else deadline,
            )
            with self._alarm:
                await trio.sleep_forever()
            if not self.stack.is_due(trio.current_time()):
                continue
            if self._gathered:
                self._give(trio.current_time())
            self._catch_up()
            now = trio.current_time()
            try:
                self.stack.handle_timers(now)
            except Exception:
                self._survive("a timer of %s", self.name)
            self._flush(now)

    def _catch_up(self) -> None:
        """Process what has arrived: it may be the very answer that a timer has waited for.

        When the applications take all the time, acknowledgements wait in the device, and what they
        are for must not be sent again.
        """
        if self._broken is not None:
            return
        try:
            left = _BEFORE_TIMERS
            while left > 0 and (count := self._process_batch()):
                left -= count
        except Exception as error:
            self._link_raised(error)

    def _set_alarm(self) -> None:
        deadline = self.stack.deadline()
        if deadline is not None and deadline < self._alarm.deadline:
            self._alarm.deadline = deadline

    # Out

    def flush(self) -> None:
        """Send what the calls since the last time want sent; for sockets, after each call."""
        self._flush(trio.current_time())

    def _flush(self, now: float) -> None:
        try:
            self.stack.flush(now)
        except Exception:
            self._survive("what is sent by %s", self.name)
        self._send(now)

    def _send(self, now: float) -> None:
        """Give the link what there is, and note until when there is nothing to do."""
        if self.stack.outgoing:
            self._give(now)
        self._set_alarm()

    def _give(self, now: float) -> None:
        """Give the link what there is, what was gathered included."""
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self.stack.leave(gathered, now)
        try:
            self._write()
        except Exception as error:
            self._link_raised(error)

    def _write(self) -> None:
        """Give the link what it takes."""
        outgoing, send = self.stack.outgoing, self._link.send
        while outgoing:
            if not send(outgoing[0]):
                while len(outgoing) > self._most_outgoing:
                    outgoing.pop()
                    self.stack.counters["lost_to_full_link"] += 1
                self._blocked.unpark()
                return
            outgoing.popleft()

    async def _write_when_possible(self) -> None:
        try:
            while True:
                await self._blocked.park()
                while self.stack.outgoing:
                    await self._link.wait_writable()
                    self._write()
        except Exception as error:
            self._link_raised(error)

    # For sockets

    def acted(self, flow: Flow) -> None:
        """An application's call changed `flow`: send what follows from it."""
        self.stack.touch(flow)
        self._flush(trio.current_time())

    def answer(self, flow: Flow, data: Buffer, now: float) -> bool:
        """Send `data`, if it can go out at once, and is all that there is; else do nothing."""
        stack = self.stack
        if not stack.answer(flow, data, now):
            return False
        if now < self._gathers_until:
            self._gathered.append(flow)
        else:
            self._give(now)
        if stack.hurried:
            self._set_alarm()
        return True

    def gave(self, flow: Flow, now: float) -> None:
        """An application gave `flow` data to send, now."""
        try:
            self.stack.gave(flow, now)
        except Exception:
            self._survive("what is sent by %s", self.name)
        if flow.touched:
            self._flush(now)
        else:
            self._send(now)

    def check_up(self) -> None:
        """Raise OSError (ENETDOWN) if the host has ended, or its device is gone."""
        if self._broken is not None:
            raise OSError(self._broken.errno, self._broken.strerror)

    # What goes wrong

    def _survive(self, what: str, *args: object) -> None:
        """A bug of ours must not take the other connections with it; but it must be seen."""
        self.stack.counters["internal_errors"] += 1
        logger.exception("internal error in " + what, *args)

    def _link_raised(self, error: Exception) -> None:
        """The link raised: by the errors that it may raise, its device is gone."""
        if isinstance(error, (OSError, trio.ClosedResourceError)):
            self._link_failed(error)
        else:
            self._raised(error)

    def _link_failed(self, error: Exception) -> None:
        """The device is gone: nobody can be reached any more."""
        if self._broken is not None:
            return
        if not self.ended:
            logger.error("%s failed: %s", self.name, error)
        self._broken = OSError(errno.ENETDOWN, f"{os.strerror(errno.ENETDOWN)}: {error}")
        self.stack.outgoing.clear()
        self._close_listeners()
        for flow in [*self.stack.demux.connections]:
            flow.end(self._broken)
            self.stack.touch(flow)
        self.stack.time_waits.clear()
        self.stack.flush(trio.current_time())
        self.stack.outgoing.clear()

    @abstractmethod
    def _raised(self, error: Exception) -> None:
        """Somebody's own link raised what no link may raise."""

    @abstractmethod
    def _close_listeners(self) -> None:
        """Nobody can be accepted any more."""
