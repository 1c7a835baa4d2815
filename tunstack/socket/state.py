"""The state of a socket: its connection or listener, its options, and blocked tasks."""

from __future__ import annotations

import errno
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import trio

from tunstack.ip.errors import os_error
from tunstack.socket.reads import LARGE_READ, READ_SIZE
from tunstack.socket.waiter import Waiter
from tunstack.stack.profile import PARAMETERS
from tunstack.tcp.connection.state import CAN_SEND, State

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address
    from tunstack.path.rules import Rule
    from tunstack.socket.answers import Habit
    from tunstack.socket.endpoint import Endpoint
    from tunstack.socket.notices import Notices
    from tunstack.stack.flow import Flow
    from tunstack.tcp.config import Config
    from tunstack.tcp.listen.listener import Listener

NO_LOWAT: Final = 0xFFFF_FFFF
"""TCP_NOTSENT_LOWAT, in octets, when it is off."""
STREAM_LOWAT: Final = 1 << 14
"""Octets: trio's streams set TCP_NOTSENT_LOWAT to it."""
_KEPT: Final = 64
"""Configurations of streams that are cached."""


@lru_cache(maxsize=64)
def _replaced(config: Config, parameters: tuple[tuple[str, Any], ...]) -> Config:
    """Change `parameters`; trio's streams set the same ones for each connection."""
    values = dict(parameters)
    chosen = config.chosen.union(values.keys() & PARAMETERS)
    if chosen == config.chosen and all(getattr(config, name) == values[name] for name in values):
        return config
    return replace(config, chosen=chosen, **values)


_streaming: dict[int, tuple[Config, Config]] = {}
"""What :meth:`SocketState.begin_stream` makes of a configuration, by the identity of that."""


def _for_stream(config: Config) -> Config:
    """Return `config` with TCP_NODELAY on."""
    known = _streaming.get(id(config))
    if known is None:
        if len(_streaming) >= _KEPT:
            _streaming.clear()
        known = _streaming[id(config)] = config, _replaced(config, (("nodelay", True),))
    return known[1]


class SocketState:
    """The state of a socket, shared by its parts: options, transfer and notices.

    Attributes:
        endpoint: The host.
        family: AF_INET or AF_INET6.
        v6only: IPV6_V6ONLY: whether an AF_INET6 socket is not for IPv4.
        closed: Whether the socket is closed.
        flow: Its connection, or None.
        listener: Its listener, or None.
        bound: Its address and port, if it is bound. The unspecified address of a family is the
            wildcard for that family, None for both.
        bound_reuse: Whether SO_REUSEADDR was on when it was bound.
        config: The configuration of its connection.
        linger: SO_LINGER's seconds when it is on, else None. With 0, closing resets.
        reuse_address: SO_REUSEADDR.
        notsent_lowat: TCP_NOTSENT_LOWAT, in octets.
        noted: Options that are stored and have no effect; None for none.
        shut_down_write: Whether our half was shut down.
        error_reported: Whether a call has raised the connection's error.
        habit: What its application does after an answer; None if it was not accepted.
        held: Whether its latest data may be held for a FIN.
        reads_large: Whether its latest read as a stream was a large one.
        silent: Whether nothing of what the connection sends goes out any more.
        unacknowledging: The rule by which it acknowledges nothing, or None.
        receiving: The task blocked in `recv` or `accept`.
        sending: The task blocked in `send`.
        connecting: The task blocked in `connect`.
        notices: The tasks that wait for other events; created when needed.
    """

    __slots__ = (
        "bound",
        "bound_reuse",
        "closed",
        "config",
        "connecting",
        "endpoint",
        "error_reported",
        "family",
        "flow",
        "habit",
        "held",
        "linger",
        "listener",
        "noted",
        "notices",
        "notsent_lowat",
        "reads_large",
        "receiving",
        "reuse_address",
        "sending",
        "shut_down_write",
        "silent",
        "unacknowledging",
        "v6only",
    )

    def __init__(self, endpoint: Endpoint, family: int) -> None:
        self.endpoint = endpoint
        self.family = family
        self.v6only = False
        self.closed = False
        self.flow: Flow | None = None
        self.listener: Listener | None = None
        self.bound: tuple[Address | None, int] | None = None
        self.bound_reuse = False
        self.config = endpoint.stack.config
        self.linger: int | None = None
        self.reuse_address = False
        self.notsent_lowat = NO_LOWAT
        self.noted: dict[tuple[int, int], int] | None = None
        self.shut_down_write = False
        self.error_reported = False
        self.habit: Habit | None = None
        self.held = False
        self.reads_large = False
        self.silent = False
        self.unacknowledging: Rule | None = None
        self.receiving = Waiter()
        self.sending = Waiter()
        self.connecting = Waiter()
        self.notices: Notices | None = None

    # Checks

    def check_open(self) -> None:
        """Raise OSError: EBADF if it is closed, ENETDOWN if its host has ended."""
        if self.closed:
            raise os_error(errno.EBADF)
        if self.endpoint.ended:
            self.endpoint.check_link()

    def check_not_closed_meanwhile(self) -> None:
        """Raise `trio.ClosedResourceError` if it was closed while the task waited."""
        if self.closed:
            raise trio.ClosedResourceError("another task closed this socket")

    def connected(self) -> Flow:
        """Return the connection; raises OSError (ENOTCONN) and what :meth:`check_open` does."""
        self.check_open()
        if self.flow is None:
            raise os_error(errno.ENOTCONN)
        return self.flow

    # Its connection

    def attach(self, flow: Flow) -> None:
        """Attach the socket to `flow`."""
        self.flow = flow
        self.error_reported = False
        self.endpoint.stack.attach(flow, self._changed)

    def __del__(self) -> None:
        """Release the memory of a connection that has ended, if the socket was not closed."""
        flow = getattr(self, "flow", None)
        if flow is not None:
            self.endpoint.stack.forget(flow)
            self.end_large_reads()

    def writable(self, flow: Flow) -> bool:
        """Whether `send` would not block (Linux's sk_stream_is_writeable)."""
        if (flow.state not in CAN_SEND and not flow.sends_early) or self.shut_down_write:
            return True
        return flow.wants_data(self.notsent_lowat)

    def _changed(self) -> None:
        """Wake the tasks whose condition is met after an event of the connection."""
        flow = self.flow
        if flow is None:
            return
        if self.receiving.task is not None and flow.readable:
            self.receiving.wake()
            if self.habit is not None and self.habit.closes:
                self.endpoint.answers.expect(1)
        if self.sending.task is not None and self.writable(flow):
            self.sending.wake()
        if self.connecting.task is not None and flow.state not in (
            State.SYN_SENT,
            State.SYN_RECEIVED,
        ):
            self.connecting.wake()
        if self.notices is not None:
            self.notices.notice(flow)

    def wake_all(self) -> None:
        """Wake all blocked tasks: the socket is closed."""
        for waiter in (self.receiving, self.sending, self.connecting):
            waiter.wake()
        if self.notices is not None:
            self.notices.wake_all()

    # Options

    @property
    def default_config(self) -> Config:
        """The default configuration of the host's connections."""
        return self.endpoint.stack.config

    @property
    def backlog(self) -> tuple[int, int]:
        """The length of the accept queue, and its limit."""
        listener = self.listener
        return (0, 0) if listener is None else (len(listener), listener.backlog)

    def change(self, **parameters: Any) -> None:
        """Change parameters of `tunstack.tcp.config.Config`, for this socket only."""
        before = self.config
        self.config = _replaced(before, tuple(parameters.items()))
        if self.config is before:
            return
        if self.listener is not None:
            self.listener.config = self.config
        flow = self.flow
        if flow is not None:
            only_nodelay = parameters.keys() == {"nodelay"}
            self.endpoint.stack.reconfigure(flow, self.config, only_nodelay=only_nodelay)
            if flow.pending:
                self.endpoint.flush()

    def begin_stream(self) -> None:
        """Set TCP_NODELAY and TCP_NOTSENT_LOWAT as trio's streams do.

        Of a socket that is closed nothing is set, as in trio.
        """
        if not (self.closed or self.endpoint.ended):
            self.set_nodelay()
            self.set_stream_lowat()

    def set_nodelay(self) -> None:
        """Set TCP_NODELAY, which sends what is queued; not of a listener."""
        before, flow = self.config, self.flow
        config = _for_stream(before)
        if config is not before:
            self.config = config
            if flow is not None:
                self.endpoint.stack.reconfigure(flow, config, only_nodelay=True)
        if flow is not None and (flow.sender.buffer.size or flow.pending):
            self.push(small=True)

    def set_stream_lowat(self) -> None:
        """Set TCP_NOTSENT_LOWAT to the number of trio's streams."""
        self.notsent_lowat = STREAM_LOWAT
        flow = self.flow
        if flow is not None and flow.sender.buffer.size:
            self._changed()  # A task that waits to send may do so now.

    def note_close(self, flow: Flow) -> None:
        """Record whether our half is closed right after an answer: nothing has arrived since."""
        if self.habit is None or not flow.sender.buffer.size:
            return
        if flow.sender.unsent or flow.idle_timers.received_at <= flow.sender.last_sent:
            self.habit.closed()

    def read_size(self, unread: int) -> int:
        """Return how much a stream reads that names no number; `unread` is what there is."""
        if unread <= READ_SIZE:
            self.end_large_reads()
            return READ_SIZE
        if not self.reads_large:
            large = self.endpoint.large_reads
            if large.free <= 0:
                return READ_SIZE
            large.free -= 1
            self.reads_large = True
        return LARGE_READ

    def end_large_reads(self) -> None:
        """Leave large reads to others; idempotent."""
        if self.reads_large:
            self.reads_large = False
            self.endpoint.large_reads.free += 1

    def release(self) -> None:
        """Send what is held for a FIN: the application does not close."""
        self.held = False
        flow = self.flow
        if flow is not None and self.habit is not None:
            self.endpoint.answers.release(flow, self.habit)

    def push(self, *, small: bool) -> None:
        """Send what TCP_CORK or MSG_MORE holds back; if `small`, what Nagle does as well."""
        flow = self.flow
        if flow is None:
            return
        self.endpoint.stack.push(flow, small=small)
        if flow.pending:
            self.endpoint.flush()

    def take_error(self) -> int:
        """Return and clear SO_ERROR: the connection's error, or the latest soft error, or 0."""
        flow = self.flow
        if flow is None:
            return 0
        if flow.error is not None and not self.error_reported:
            self.error_reported = True
            return flow.error.errno or 0
        soft, flow.soft_error = flow.soft_error, None
        return 0 if soft is None else soft.errno or 0


__all__ = ["NO_LOWAT", "STREAM_LOWAT", "SocketState", "os_error"]
