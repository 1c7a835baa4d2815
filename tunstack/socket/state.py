"""What a socket holds: its connection or listener, its parameters, and the tasks that wait."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import trio

from tunstack.socket.waiter import Waiter
from tunstack.tcp.connection.state import CAN_SEND, State

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address
    from tunstack.socket.endpoint import Endpoint
    from tunstack.socket.notices import Notices
    from tunstack.stack.flow import Flow
    from tunstack.tcp.config import Config
    from tunstack.tcp.listen.listener import Listener

NO_LOWAT: Final = 0xFFFF_FFFF
"""TCP_NOTSENT_LOWAT, in octets, when it is off."""


def os_error(number: int) -> OSError:
    """An OSError as the system would raise it."""
    return OSError(number, os.strerror(number))


@lru_cache(maxsize=64)
def _replaced(config: Config, parameters: tuple[tuple[str, Any], ...]) -> Config:
    """Change `parameters`; trio's streams set the same ones for each connection."""
    if all(getattr(config, name) == value for name, value in parameters):
        return config
    return replace(config, **dict(parameters))


class SocketState:
    """The state of a socket, on which its parts work: options, transfer and notices.

    Attributes:
        endpoint: The host.
        family: AF_INET or AF_INET6.
        v6only: IPV6_V6ONLY: whether an AF_INET6 socket is not for IPv4.
        closed: Whether the socket is closed.
        flow: Its connection, if there is one.
        listener: Its listener, if it listens.
        bound: Its address and port, if it is bound. The unspecified address of a family stands
            for all addresses of that, and None for those of both.
        bound_reuse: Whether SO_REUSEADDR was on then.
        config: What its connection begins, or goes on, with.
        linger: SO_LINGER's seconds when it is on, else None. With 0, closing resets.
        reuse_address: SO_REUSEADDR.
        notsent_lowat: TCP_NOTSENT_LOWAT, in octets.
        noted: Options that are remembered and have no effect; None for none.
        shut_down_write: Whether our half was shut down.
        error_told: Whether a call has raised what ended the connection.
        receiving: The task that waits to receive, or to accept.
        sending: The task that waits to send.
        connecting: The task that waits for the handshake.
        notices: The tasks that wait for something else; None if there never was one.
    """

    __slots__ = (
        "bound",
        "bound_reuse",
        "closed",
        "config",
        "connecting",
        "endpoint",
        "error_told",
        "family",
        "flow",
        "linger",
        "listener",
        "noted",
        "notices",
        "notsent_lowat",
        "receiving",
        "reuse_address",
        "sending",
        "shut_down_write",
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
        self.error_told = False
        self.receiving = Waiter()
        self.sending = Waiter()
        self.connecting = Waiter()
        self.notices: Notices | None = None

    # Whether calls are possible

    def check_open(self) -> None:
        """Raise OSError: EBADF, it is closed; ENETDOWN, its host has ended."""
        if self.closed:
            raise os_error(errno.EBADF)
        if self.endpoint.ended:
            self.endpoint.check_up()

    def check_not_closed_meanwhile(self) -> None:
        """Raise `trio.ClosedResourceError`, to a task that has waited, if it is closed."""
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
        """Use `flow` from now on."""
        self.flow = flow
        self.error_told = False
        self.endpoint.stack.attach(flow, self._changed)

    def __del__(self) -> None:
        """Release the memory of a connection that has ended, if the socket was not closed."""
        flow = getattr(self, "flow", None)
        if flow is not None:
            self.endpoint.stack.forget(flow)

    def writable(self, flow: Flow) -> bool:
        """Whether to let the application send: not for a few octets."""
        if (flow.state not in CAN_SEND and not flow.sends_early) or self.shut_down_write:
            return True
        return flow.wants_data(self.notsent_lowat)

    def _changed(self) -> None:
        """Wake the tasks that wait for what has happened to the connection."""
        flow = self.flow
        if flow is None:
            return
        if self.receiving.task is not None and flow.readable:
            self.receiving.wake()
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
        """Wake all tasks that wait: it is closed."""
        for waiter in (self.receiving, self.sending, self.connecting):
            waiter.wake()
        if self.notices is not None:
            self.notices.wake_all()

    # Options

    @property
    def default_config(self) -> Config:
        """What the host's connections begin with."""
        return self.endpoint.stack.config

    @property
    def backlog(self) -> tuple[int, int]:
        """How many connections wait for `accept`, and how many may."""
        listener = self.listener
        return (0, 0) if listener is None else (len(listener), listener.backlog)

    def change(self, **parameters: Any) -> None:
        """Change parameters of `tunstack.tcp.config.Config`, for this socket's connection alone."""
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

    def push(self, *, small: bool) -> None:
        """Send what TCP_CORK or MSG_MORE holds; if `small`, what Nagle's algorithm does as well."""
        flow = self.flow
        if flow is None:
            return
        self.endpoint.stack.push(flow, small=small)
        if flow.pending:
            self.endpoint.flush()

    def take_error(self) -> int:
        """Return and clear SO_ERROR: what ended the connection, or the latest soft error, or 0."""
        flow = self.flow
        if flow is None:
            return 0
        if flow.error is not None and not self.error_told:
            self.error_told = True
            return flow.error.errno or 0
        soft, flow.soft_error = flow.soft_error, None
        return 0 if soft is None else soft.errno or 0


__all__ = ["NO_LOWAT", "SocketState", "os_error"]
