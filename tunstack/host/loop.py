"""The trio event loop of a host: packets from the link, packets to it, timers."""

from __future__ import annotations

import errno
import logging
import os
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import trio

from tunstack.host.blame import is_of_congestion_control
from tunstack.host.polling import Polling
from tunstack.host.reading import Reading
from tunstack.host.turns import Turns
from tunstack.protocol.runner import Runner
from tunstack.socket.answers import Answers
from tunstack.socket.reads import LargeReads

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Buffer
    from tunstack.link.base import Link
    from tunstack.stack.flow import Flow
    from tunstack.stack.stack import Stack
    from tunstack.stack.udp_route import Route
    from tunstack.udp.sock import UdpSock

logger = logging.getLogger("tunstack")

_MAX_OUTGOING: Final = 10_000
"""Packets queued for a full link; more are dropped, as by a qdisc."""

_MAX_OUTGOING_OCTETS: Final = 16 << 20
"""The same in octets, if all packets are of the largest size."""

_BATCH: Final = 64
"""Packets processed before anything is sent: with more, the peer's loss probes would fire."""

_COALESCE_ABOVE: Final = 2
"""Packets of a batch from above which replies are coalesced."""

_COALESCE: Final = 0.005
"""Seconds, at most, for which a reply waits to be coalesced with others."""

_MOST_WAITS: Final = 8
"""Periods of `_COALESCE` for which datagrams that are being read are waited for."""

_BEFORE_TIMERS: Final = 1000
"""Packets processed, at most, before a timer: twice a TUN device's default queue length."""


class Loop(ABC):
    """Moves packets between a link and a stack, and calls the stack at its deadlines.

    Attributes:
        stack: The endpoint.
        answers: Those that are held until their connection is closed.
        large_reads: How many streams may read much at a time.
        protocols: What calls the protocols of connections that have some, within each flush.
        max_outgoing: Packets that may be queued for a full link; more are dropped, and counted as
            ``lost_to_full_link``.
        ended: Whether the host's block has ended.
    """

    def __init__(self, link: Link, stack: Stack) -> None:
        self.stack = stack
        self._link = link
        largest = max(link.mtu, stack.config.max_payload)
        self.max_outgoing = min(_MAX_OUTGOING, _MAX_OUTGOING_OCTETS // largest)
        self._alarm = trio.CancelScope()
        self._alarm_at = float("inf")
        self._blocked = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()
        self._broken: OSError | None = None
        self.ended = False
        self._coalesce_until = float("-inf")
        self._coalesced: list[Flow] = []
        self.protocols = Runner(
            stack,
            flush=self.flush,
            write=self.write,
            time=trio.current_time,
            clock=time.perf_counter,
            timer_changed=self._protocol_timer_changed,
        )
        self.answers = Answers(stack, self.flush)
        self.large_reads = LargeReads(stack.limits.memory)
        self._accepting: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        """The link's name."""
        return self._link.name

    def start(self, nursery: trio.Nursery) -> None:
        """Run in `nursery`, until that is cancelled."""
        nursery.start_soon(self._receive, name=f"receive from {self.name}")
        nursery.start_soon(self._run_timers, name=f"timers of {self.name}")
        nursery.start_soon(self._write_when_possible, name=f"send to {self.name}")

    # In

    async def _receive(self) -> None:
        try:
            polling, turns, reading = Polling(), Turns(), Reading(self.stack)
            answers = self.answers
            while True:
                sleep_start = trio.current_time()
                await self._link.wait_readable()
                polling.slept(trio.current_time() - sleep_start)
                empty_polls = 0
                while True:
                    may_defer = turns.are_short
                    count = self._process_batch(defer_acks=may_defer)
                    if count:
                        empty_polls = 0
                    elif empty_polls >= (polling.polls or answers.expected) and not answers.held:
                        break
                    else:
                        empty_polls += 1
                    # A task that was woken may already cause the next packets: a poll costs less
                    # than to sleep and be woken.
                    began = trio.current_time() if count else 0.0
                    answers.open = may_defer
                    if self.stack.datagrams.unread > _COALESCE_ABOVE:
                        await self._await_reads()
                    elif (
                        may_defer and count > _COALESCE_ABOVE and not self.stack.deferred
                    ):  # Much to read.
                        await self._coalesce_replies()
                    else:
                        await trio.lowlevel.checkpoint()
                        answers.turn_passed()
                    if count:
                        turns.took(trio.current_time() - began)
                    if self.stack.deferred:
                        answers.pause()
                        await reading.wait()
                        self.stack.resume_deferred()
                        self._flush(trio.current_time())
                answers.open = False
                answers.expected = 0
        except Exception as error:
            self._link_raised(error)
        finally:
            self.answers.pause()

    async def _coalesce_replies(self) -> None:
        """Let applications run for two turns, and write their replies together.

        A write to the device may wake a process at the other end, which costs as much as all other
        work on a packet, so replies are written back to back. Two turns, as trio may run this task
        before some of the applications in the first. A reply of more than one segment is written at
        once, with all that wait; so is every reply after `_COALESCE`.
        """
        self._coalesce_until = trio.current_time() + _COALESCE
        try:
            await trio.lowlevel.checkpoint()
            self.answers.turn_passed()
            self._write(trio.current_time())
            await trio.lowlevel.checkpoint()
            self.answers.turn_passed()
        finally:
            self._coalesce_until = float("-inf")
            self._write(trio.current_time())  # Also when the host ends.

    async def _await_reads(self) -> None:
        """Let applications read received datagrams before the next batch.

        An application reads one in a turn. The wait ends when 5 ms have passed in which none was
        read, and after 40 ms in any case. The replies are written together every 5 ms, as in
        :meth:`_coalesce_replies`.
        """
        self.answers.pause()
        datagrams = self.stack.datagrams
        done = trio.Event()
        datagrams.all_read = done.set
        try:
            for _ in range(_MOST_WAITS):
                unread = datagrams.unread
                self._coalesce_until = trio.current_time() + _COALESCE
                with trio.move_on_at(self._coalesce_until):
                    await done.wait()
                if done.is_set() or datagrams.unread == unread:
                    break
                self._write(trio.current_time())
        finally:
            datagrams.all_read = None
            datagrams.leave_unread()
            self._coalesce_until = float("-inf")
            self._write(trio.current_time())

    def _process_batch(self, *, defer_acks: bool = False) -> int:
        """Receive and process a batch, and transmit; returns the number of packets."""
        packets = self._link.receive(_BATCH)
        if not packets:
            return 0
        now = trio.current_time()
        for packet in packets:
            try:
                self.stack.handle_packet(packet, now)
            except Exception as error:
                self._stack_raised(error, "a packet from %s", bytes(packet).hex())
        self.stack.defer_acks = defer_acks
        self._flush(now)
        self.stack.defer_acks = False
        return len(packets)

    def handle_forwarded(self, packet: bytes) -> None:
        """Process a packet that another process with our addresses received; see the stack."""
        now = trio.current_time()
        try:
            self.stack.handle_forwarded(packet, now)
        except Exception as error:
            self._stack_raised(error, "a forwarded packet, %s", bytes(packet).hex())
        self._flush(now)

    # Timers

    async def _run_timers(self) -> None:
        while True:
            deadline = self.stack.deadline()
            self._alarm_at = float("inf") if deadline is None else deadline
            self._alarm = trio.CancelScope(deadline=self._alarm_at)
            with self._alarm:
                await trio.sleep_forever()
            if not self.stack.is_due(trio.current_time()):
                continue
            if self._coalesced:
                self._write(trio.current_time())
            self._drain_link()
            now = trio.current_time()
            try:
                self.stack.handle_timers(now)
            except Exception as error:
                self._stack_raised(error, "a timer of %s", self.name)
            self._flush(now)

    def _drain_link(self) -> None:
        """Process the packets queued in the device, before a timer expires.

        When applications use all CPU time, ACKs wait there; data that they acknowledge must not be
        retransmitted.
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
        if deadline is not None and deadline < self._alarm_at:
            self._alarm.deadline = self._alarm_at = deadline

    # Connections that are accepted at once

    def accept_soon(self, accept: Callable[[], None]) -> None:
        """Call `accept` at the end of the batch."""
        self._accepting.append(accept)

    # Out

    def flush(self) -> None:
        """Transmit after an application's calls of the stack."""
        self._flush(trio.current_time())

    def _flush(self, now: float) -> None:
        try:
            self.stack.flush(now)
            if self.protocols.woken:
                self.protocols.run(now)
        except Exception as error:
            self._stack_raised(error, "what is sent by %s", self.name)
        if self._accepting:
            accepting, self._accepting = self._accepting, []
            for accept in accepting:
                accept()
        if self.stack.outgoing:
            self._write(now)
        self._set_alarm()

    def _write(self, now: float) -> None:
        """Write all outgoing packets to the link, coalesced replies included."""
        if self._coalesced:
            flows, self._coalesced = self._coalesced, []
            self.stack.restamp_replies(flows, now)
        try:
            self._write_some()
        except Exception as error:
            self._link_raised(error)

    def _write_some(self) -> None:
        """Write as many packets as the link takes."""
        outgoing, send = self.stack.outgoing, self._link.send
        while outgoing:
            if not send(outgoing[0]):
                while len(outgoing) > self.max_outgoing:
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
                    self._write_some()
                self._drained.unpark_all()
        except Exception as error:
            self._link_raised(error)

    # For sockets

    def send_datagram(
        self, sock: UdpSock, route: Route, data: Buffer, segment_size: int = 0
    ) -> None:
        """Send as `Datagrams.send` does; it is written at once, unless replies are coalesced.

        Raises:
            OSError: as :meth:`tunstack.stack.datagrams.Datagrams.send` does.
        """
        stack, now = self.stack, trio.current_time()
        stack.datagrams.send(sock, route, data, now, segment_size)
        if now >= self._coalesce_until:
            self._write(now)
        if stack.output.looped:
            self._set_alarm()

    def write(self) -> None:
        """Write all outgoing packets to the link, as far as it takes them; what is held too."""
        self.answers.release_all()
        self._write(trio.current_time())

    async def wait_drained(self) -> None:
        """Wait until the link has taken the packets that it could not take at once."""
        while self.stack.outgoing and self._broken is None:
            await self._drained.park()

    def send(self, flow: Flow, data: Buffer, *, urgent: bool = False, more: bool = False) -> int:
        """Queue `data`, and send what may go out; returns how many octets were queued.

        Raises:
            OSError: as :meth:`tunstack.stack.stack.Stack.send` does.
        """
        stack, now = self.stack, trio.current_time()
        sent = stack.send(flow, data, now, urgent=urgent, more=more)
        if flow.pending:
            self._flush(now)
            return sent
        if now < self._coalesce_until:
            self._coalesced.append(flow)
        else:
            self._write(now)
        if stack.deadline_changed:
            self._set_alarm()
        return sent

    def check_link(self) -> None:
        """Raise OSError (ENETDOWN) if the host has ended or its device is gone."""
        if self._broken is not None:
            raise OSError(self._broken.errno, self._broken.strerror)

    # Failures

    def _stack_raised(self, error: Exception, what: str, *args: object) -> None:
        """Handle an exception in the stack: it is logged and counted, and all connections continue.

        That of a program's congestion control is the program's: it ends the host's block.
        """
        if is_of_congestion_control(error):
            self._program_raised(error)
            return
        self.stack.counters["internal_errors"] += 1
        logger.error("internal error in " + what, *args, exc_info=error)

    def _link_raised(self, error: Exception) -> None:
        """Handle an exception of the link: OSError means that its device is gone."""
        if isinstance(error, (OSError, trio.ClosedResourceError)):
            self._link_failed(error)
        else:
            self._raised(error)

    def _link_failed(self, error: Exception) -> None:
        """End all connections with ENETDOWN: the device is gone."""
        if self._broken is not None:
            return
        if not self.ended:
            logger.error("%s failed: %s", self.name, error)
        self._broken = OSError(errno.ENETDOWN, f"{os.strerror(errno.ENETDOWN)}: {error}")
        self.stack.outgoing.clear()
        self._close_listeners()
        self.stack.end_all(self._broken)
        self._drained.unpark_all()
        self.stack.flush(trio.current_time())
        self.protocols.run(trio.current_time())
        self.stack.outgoing.clear()

    @abstractmethod
    def _protocol_timer_changed(self, when: float) -> None:
        """Call `protocols.expire` at a time."""

    @abstractmethod
    def _program_raised(self, error: Exception) -> None:
        """End the host's block with what a program's code raised, which the stack called."""

    @abstractmethod
    def _raised(self, error: Exception) -> None:
        """Handle an exception that a link must not raise."""

    @abstractmethod
    def _close_listeners(self) -> None:
        """Close all listening sockets."""
