"""The trio event loop: link in, link out, timers, wake-ups. The rest is the stack's."""

from __future__ import annotations

import errno
import logging
import os
import random
import time
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.link.impaired import ImpairedLink
from tunstack.polling import Polling
from tunstack.socket import Socket
from tunstack.socket.factory import installed
from tunstack.stack import Stack
from tunstack.tcp.congestion import congestion_control
from tunstack.tcp.state import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from types import TracebackType

    from tunstack.flow import Flow, TcpInfo
    from tunstack.limits import Limits
    from tunstack.link.base import Buffer, Link
    from tunstack.observation import Observation
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import CongestionFactory

logger = logging.getLogger("tunstack")

_MAX_OUTGOING: Final = 10_000
"""Packets that may wait for a link that takes none; what comes after them is lost, as on a wire."""

_MAX_OUTGOING_OCTETS: Final = 16 << 20
"""The same in octets: as many packets as this is enough for, whatever their size."""

_BATCH: Final = 64
"""Packets processed before anything is sent: more would make the peer's loss probes impatient."""

_TURNS: Final = 32
"""How many applications have, at most, to read what a batch brought."""

_BATCHES_BEFORE_TIMERS: Final = 16
"""How many may come before a timer: twice as many packets as a new device has room for."""

_FAREWELL: Final = 1.0
"""Seconds that closed connections have, at the end of a host, to hear that their FIN arrived."""

_UNHEARD: Final = frozenset({State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK})


@final
class Host:
    """A TCP/IP endpoint on a link: an async context manager, within which it runs.

    When the block ends, what the application closed has a second to finish its teardown; then all
    that is still open is reset, and the link is closed.

    Args:
        link: What carries its packets; the host closes it.
        addresses: Its own, each with the length of its network's prefix: ``"198.51.100.2/24"``.
        seed: For everything random in it, so that a run can be repeated; unpredictable if None.
        tap: Called with an `Observation` of every packet. It must be quick, and must not raise.
        config: What every connection begins with; by default what suits the link.
        limits: What bounds all of them together.
        congestion: Its congestion control, instead of the one in `config`: a name, ``"cubic"`` or
            ``"reno"``, or what makes one of your own, a class that does what
            :class:`tunstack.tcp.congestion.CongestionControl` says.

    Raises:
        ValueError: no address, or one that is malformed; no congestion control of that name.
    """

    def __init__(
        self,
        link: Link,
        addresses: Iterable[str | IPv4Interface],
        *,
        seed: int | None = None,
        tap: Callable[[Observation], None] | None = None,
        config: Config | None = None,
        limits: Limits | None = None,
        congestion: str | CongestionFactory | None = None,
    ) -> None:
        self._link = link
        interfaces = [IPv4Interface(address) for address in addresses]
        if not interfaces:
            raise ValueError("a host needs at least one address")
        rng = random.SystemRandom() if seed is None else random.Random(seed)
        self.stack = Stack(
            interfaces,
            link.mtu,
            rng=rng,
            config=config,
            limits=limits,
            tap=tap,
            offload=link.offload,
        )
        if congestion is not None:
            self.stack.config = replace(
                self.stack.config, congestion=congestion_control(congestion)
            )
        largest = max(link.mtu, self.stack.config.max_payload)
        self._most_outgoing = min(_MAX_OUTGOING, _MAX_OUTGOING_OCTETS // largest)
        self._manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._alarm = trio.CancelScope()
        self._blocked = trio.lowlevel.ParkingLot()
        self._listeners: set[Socket] = set()
        self._broken: OSError | None = None
        self._ended = False

    def __repr__(self) -> str:
        addresses = ", ".join(map(str, self.addresses))
        return f"<tunstack.Host {addresses} on {self.name}>"

    @property
    def addresses(self) -> tuple[IPv4Interface, ...]:
        """Its own addresses, with their networks."""
        return self.stack.addresses.interfaces

    @property
    def name(self) -> str:
        """The link's name."""
        return self._link.name

    @property
    def mtu(self) -> int:
        """The largest packet that the link carries, in octets."""
        return self._link.mtu

    # Life

    async def __aenter__(self) -> Host:
        self.stack.output.epoch = time.time() - trio.current_time()
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._nursery.start_soon(self._receive, name=f"receive from {self.name}")
        self._nursery.start_soon(self._keep_time, name=f"timers of {self.name}")
        self._nursery.start_soon(self._write_when_possible, name=f"send to {self.name}")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._nursery is not None
        try:
            if exc is None:
                await self._see_off()
        finally:
            self._reset_all()
            # The nursery is ours, and gets neither to wrap the caller's exception nor, where the
            # caller was cancelled too, to put Cancelled in its place.
            self._nursery.cancel_scope.shield = True
            self._nursery.cancel_scope.cancel()
            try:
                await self._manager.__aexit__(None, None, None)
            finally:
                self._ended = True
                self._link_failed(RuntimeError(f"the host on {self.name} has ended"))
                self._link.close()

    async def _see_off(self) -> None:
        """Let teardowns that are under way come to where nothing of ours is unheard."""
        with trio.move_on_after(_FAREWELL):
            # Once in a host's life: not worth an event on the way of every segment.
            while any(  # noqa: ASYNC110
                flow.state in _UNHEARD for flow in self.stack.demux.connections
            ):
                await trio.sleep(0.005)

    def _reset_all(self) -> None:
        self._catch_up()  # A FIN that waits in the device is a good end, and not to be reset.
        for listener in [*self._listeners]:
            listener.close()
        for flow in [*self.stack.demux.connections]:
            flow.abort()
            self.stack.touch(flow)
        self.flush()

    # The loop

    async def _receive(self) -> None:
        try:
            polling = Polling()
            while True:
                asleep_since = trio.current_time()
                await self._link.wait_readable()
                polling.slept(trio.current_time() - asleep_since)
                in_vain = 0
                while True:
                    if self._process_batch(turns_follow=True):
                        in_vain = 0
                    elif in_vain == polling.looks:
                        break
                    else:
                        in_vain += 1
                    # What the tasks do that have just woken may bring the next packets already:
                    # to look costs less than to have the system tell.
                    await trio.lowlevel.checkpoint()
                    if self.stack.awaiting:
                        await self._give_turns()
        except (OSError, trio.ClosedResourceError) as error:
            self._link_failed(error)

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

    async def _keep_time(self) -> None:
        while True:
            deadline = self.stack.deadline()
            self._alarm = trio.CancelScope(
                deadline=float("inf") if deadline is None else deadline,
            )
            with self._alarm:
                await trio.sleep_forever()
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
            for _ in range(_BATCHES_BEFORE_TIMERS):
                if not self._process_batch():
                    return
        except OSError as error:
            self._link_failed(error)

    async def _write_when_possible(self) -> None:
        try:
            while True:
                await self._blocked.park()
                while self.stack.outgoing:
                    await self._link.wait_writable()
                    self._write()
        except (OSError, trio.ClosedResourceError) as error:
            self._link_failed(error)

    def flush(self) -> None:
        """Send what the calls since the last time want sent; for sockets, after each call."""
        self._flush(trio.current_time())

    def _flush(self, now: float) -> None:
        try:
            self.stack.flush(now)
        except Exception:
            self._survive("what is sent by %s", self.name)
        self._send()

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

    def _survive(self, what: str, *args: object) -> None:
        """A bug of ours must not take the other connections with it; but it must be seen."""
        self.stack.counters["internal_errors"] += 1
        logger.exception("internal error in " + what, *args)

    def _link_failed(self, error: Exception) -> None:
        """The device is gone: nobody can be reached any more."""
        if self._broken is not None:
            return
        if not self._ended:
            logger.error("%s failed: %s", self.name, error)
        self._broken = OSError(errno.ENETDOWN, f"{os.strerror(errno.ENETDOWN)}: {error}")
        self.stack.outgoing.clear()
        for listener in [*self._listeners]:
            listener.close()
        for flow in [*self.stack.demux.connections]:
            flow.end(self._broken)
            self.stack.touch(flow)
        self.stack.time_waits.clear()
        self.stack.flush(trio.current_time())
        self.stack.outgoing.clear()

    def check_up(self) -> None:
        """Raise OSError (ENETDOWN) if the host has ended, or its device is gone."""
        if self._broken is not None:
            raise OSError(self._broken.errno, self._broken.strerror)

    # Sockets

    def socket(
        self,
        family: int = trio.socket.AF_INET,
        type: int = trio.socket.SOCK_STREAM,
        proto: int = 0,
        *,
        congestion: str | CongestionFactory | None = None,
    ) -> Socket:
        """Make a socket on this host; the counterpart of `trio.socket.socket`.

        Args:
            family: AF_INET.
            type: SOCK_STREAM.
            proto: 0 or IPPROTO_TCP.
            congestion: The congestion control of its connections; by default the host's.

        Raises:
            OSError: EAFNOSUPPORT, EPROTONOSUPPORT: the host speaks TCP over IPv4.
            ValueError: there is no congestion control of that name.
        """
        if family != trio.socket.AF_INET:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        if type != trio.socket.SOCK_STREAM or proto not in (0, trio.socket.IPPROTO_TCP):
            raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))
        sock = Socket(self)
        if congestion is not None:
            sock.change(congestion=congestion_control(congestion))
        return sock

    @contextmanager
    def socket_factory(self) -> Iterator[None]:
        """Within the block, every `trio.socket.socket` of this trio run is on this host.

        So any library that uses trio talks through it, unchanged. Sockets of families that are not
        ours, and names that want a look-up, are left to the kernel.
        """
        with installed(self):
            yield

    async def open_tcp_stream(
        self,
        host: str,
        port: int,
        *,
        local_address: str | None = None,
        congestion: str | CongestionFactory | None = None,
    ) -> trio.SocketStream:
        """Connect to `host` and `port`; the counterpart of `trio.open_tcp_stream`.

        Args:
            host: An address, or a name for trio's resolver.
            port: From 1 to 65535.
            local_address: Which of our addresses to connect from; by default the one in the
                remote's network, or the first.
            congestion: Its congestion control; by default the host's.

        Raises:
            OSError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL...
            ValueError: there is no congestion control of that name.
        """
        sock = self.socket(congestion=congestion)
        try:
            if local_address is not None:
                await sock.bind((local_address, 0))
            await sock.connect((host, port))
        except OSError as error:
            sock.close()
            if error.errno is None:
                raise
            raise OSError(error.errno, f"{error.strerror}: {host} port {port}") from error
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def open_tcp_listeners(
        self,
        port: int,
        *,
        host: str | None = None,
        backlog: int | None = None,
        congestion: str | CongestionFactory | None = None,
    ) -> list[trio.SocketListener]:
        """Listen on `port`; the counterpart of `trio.open_tcp_listeners`.

        Args:
            port: From 1 to 65535, or 0 for any that is free.
            host: Which of our addresses; all by default.
            backlog: How many connections may wait to be accepted; by default as many as can.
            congestion: Their congestion control; by default the host's.

        Raises:
            OSError: EADDRINUSE, EADDRNOTAVAIL.
            ValueError: there is no congestion control of that name.
        """
        sock = self.socket(congestion=congestion)
        try:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            await sock.bind((host or "0.0.0.0", port))
            sock.listen(0xFFFF if backlog is None else backlog)
        except BaseException:
            sock.close()
            raise
        return [trio.SocketListener(sock)]

    async def serve_tcp(
        self,
        handler: Callable[[trio.SocketStream], Awaitable[object]],
        port: int,
        *,
        host: str | None = None,
        backlog: int | None = None,
        congestion: str | CongestionFactory | None = None,
        handler_nursery: trio.Nursery | None = None,
        task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen, and run `handler` for each connection, until cancelled; as `trio.serve_tcp`.

        But a handler that raises aborts its own connection with a RST, is reported to the logger
        ``"tunstack"``, and disturbs no other.

        Raises:
            OSError: as :meth:`open_tcp_listeners` does; ENETDOWN, the device is gone.
            ValueError: there is no congestion control of that name.
        """

        async def guarded(stream: trio.SocketStream) -> None:
            try:
                await handler(stream)
            except Exception as error:
                assert isinstance(stream.socket, Socket)
                stream.socket.abort()
                if isinstance(error, trio.BrokenResourceError):
                    logger.info("connection on port %d: %s", port, error)
                else:
                    logger.exception("the handler of a connection on port %d failed", port)

        listeners = await self.open_tcp_listeners(
            port, host=host, backlog=backlog, congestion=congestion
        )
        try:
            await trio.serve_listeners(
                guarded, listeners, handler_nursery=handler_nursery, task_status=task_status
            )
        except BaseExceptionGroup as group:
            if group.split(trio.ClosedResourceError)[1] is None:
                self.check_up()
            raise

    # What goes on

    def connections(self) -> list[TcpInfo]:
        """List all connections, those in TIME-WAIT included, in the order in which they began."""
        return self.stack.connections()

    def statistics(self) -> dict[str, int]:
        """Count what happened since the host began, packets that were dropped by reason.

        The names are stable: ``packets_received``, ``packets_sent``, ``bad_tcp_checksum``,
        ``tcp_accepted``, ``tcp_out_of_window``, ``retransmission_timeout``... An impaired path adds
        what it did: ``path_out_lost``, ``path_in_duplicated``...
        """
        return self.stack.statistics() | self._path_statistics()

    def _path_statistics(self) -> dict[str, int]:
        if not isinstance(self._link, ImpairedLink):
            return {}
        return {f"path_{what}": count for what, count in self._link.counts.items()}

    # For sockets

    def listening(self, sock: Socket) -> None:
        """Note a socket that listens: it is closed with the host."""
        self._listeners.add(sock)

    def not_listening(self, sock: Socket) -> None:
        """Forget it."""
        self._listeners.discard(sock)

    def acted(self, flow: Flow) -> None:
        """An application's call changed `flow`: send what follows from it."""
        self.stack.touch(flow)
        self._flush(trio.current_time())

    def answer(self, flow: Flow, data: Buffer, now: float) -> bool:
        """Send `data`, if it can go out at once, and is all that there is; else do nothing."""
        stack = self.stack
        if not stack.answer(flow, data, now):
            return False
        try:
            self._write()
        except OSError as error:
            self._link_failed(error)
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
            self._send()

    def _send(self) -> None:
        """Give the link what there is, and note until when there is nothing to do."""
        stack = self.stack
        if stack.outgoing:
            try:
                self._write()
            except OSError as error:
                self._link_failed(error)
        self._set_alarm()

    def _set_alarm(self) -> None:
        deadline = self.stack.deadline()
        if deadline is not None and deadline < self._alarm.deadline:
            self._alarm.deadline = deadline
