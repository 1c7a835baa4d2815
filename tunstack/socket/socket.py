"""The socket itself: how it opens, listens, accepts and closes."""

from __future__ import annotations

import errno
import socket as stdlib_socket
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import trio

from tunstack.socket.base import ANY
from tunstack.socket.notices import NoticingSocket
from tunstack.socket.options import os_error
from tunstack.socket.stdlib import StdlibSocket
from tunstack.socket.waiter import Waiter
from tunstack.stack.flow import Flow
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from tunstack.host.host import Host
    from tunstack.socket.base import AddressFormat


@final
class Socket(NoticingSocket):
    """A TCP socket on a :class:`~tunstack.Host`; made by :meth:`tunstack.Host.socket`.

    Beside what trio's have, it knows :meth:`abort`, :meth:`tcp_info`, :meth:`wait_acknowledged`,
    :meth:`wait_soft_error`, and for urgent data :meth:`wait_urgent`, :meth:`at_mark` and
    :attr:`urgent_remaining`.
    """

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._connecting = Waiter()

    @cached_property
    def _sock(self) -> StdlibSocket:
        """trio's own sockets have one by that name, a `socket.socket`; anyio asks for it."""
        return StdlibSocket.of(self)

    # Opening

    async def connect(self, address: AddressFormat) -> None:
        """Connect to ``(host, port)``. When cancelled, the socket is closed.

        With TCP_FASTOPEN_CONNECT, and a cookie from before, it returns at once, and what is sent
        first goes out with the SYN; if that fails, sending and receiving say so.

        Raises:
            OSError: ECONNREFUSED (a RST came), ETIMEDOUT (nothing did, for three minutes),
                EHOSTUNREACH or ENETUNREACH (ICMP says so), EADDRNOTAVAIL, EISCONN, EALREADY.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        early = self._config.fast_open_connect
        flow = await self._begin(address, early=early)
        if early and flow.awaits_data:
            self._host.stack.withhold_syn(flow)
            self._host.flush()
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self._host.flush()
            await self._until_open(flow)

    async def _send_opening(self, data: Any, flags: int, address: AddressFormat) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        if flags & ~(stdlib_socket.MSG_NOSIGNAL | stdlib_socket.MSG_DONTWAIT):
            raise os_error(errno.EOPNOTSUPP)
        if address is None:
            raise os_error(errno.EDESTADDRREQ)
        flow = await self._begin(address, early=True)
        with memoryview(data).cast("B") as view:
            sent = self._host.send(flow, view)
        await self._until_open(flow)
        return sent

    async def _begin(self, address: AddressFormat, *, early: bool) -> Flow:
        self._check_open()
        remote, port = await self._resolve(address)
        self._check_open()
        if self._connecting:
            raise os_error(errno.EALREADY)
        if self._flow is not None or self._listener is not None:
            raise os_error(errno.EISCONN)
        self._host.check_up()
        local, local_port = self._bound or (None, 0)
        if remote == ANY.packed:  # As on Linux: this host itself.
            remote = local or self._host.stack.source_for(remote)
        flow = self._host.stack.connect(
            remote,
            port,
            trio.current_time(),
            local=local,
            local_port=local_port,
            config=self._config,
            early=early,
        )
        self._attach(flow)
        return flow

    async def _until_open(self, flow: Flow) -> None:
        try:
            while flow.state in (State.SYN_SENT, State.SYN_RECEIVED):
                await self._connecting.wait()
        except trio.Cancelled:
            self.close()
            raise
        if self._fileno == -1:
            raise trio.ClosedResourceError("another task closed this socket")
        if flow.state is State.CLOSED:
            self._flow = None  # So that another attempt may be made, as on Linux.
            self._host.stack.detach(flow)
            self._host.stack.mark_pending(flow)
            self._host.flush()
            error = flow.error or os_error(errno.ECONNABORTED)  # Else `shutdown` ended it.
            raise OSError(error.errno, error.strerror)

    def _attach(self, flow: Flow) -> None:
        self._flow = flow
        self._error_told = False
        self._host.stack.attach(flow, self._changed)

    def __del__(self) -> None:
        """What nobody has closed is not held any more, if its connection has ended."""
        flow = getattr(self, "_flow", None)
        if flow is not None:
            self._host.stack.forget(flow)

    def listen(self, backlog: int = 128) -> None:
        """Answer SYNs; at most `backlog` connections wait to be accepted (4096 at the most).

        Raises:
            OSError: EADDRINUSE, EINVAL when connected.
        """
        self._check_open()
        if self._flow is not None:
            raise os_error(errno.EINVAL)
        self._host.check_up()
        if self._listener is not None:
            self._listener.set_backlog(backlog)
            return
        stack = self._host.stack
        if self._bound is None:
            self._bound = None, stack.bind(None, 0, reuse=self.reuse_address)
            self._bound_reuse = self.reuse_address
        listener = stack.listen(*self._bound, backlog, config=self._config)
        listener.changed = self._receiving.wake
        self._listener = listener
        self._host.listening(self)

    async def accept(self) -> tuple[Socket, tuple[str, int]]:
        """Return a socket for the next connection, and the peer's address and port.

        Raises:
            OSError: EINVAL when not listening.
            trio.BusyResourceError: another task waits in `accept`.
            trio.ClosedResourceError: the socket was closed meanwhile, or its host's device is gone.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        if self._listener is None:
            raise os_error(errno.EINVAL)
        self._receiving.check_free()
        waited = False
        while (connection := self._listener.accept()) is None:
            await self._receiving.wait()
            waited = True
            if self._listener is None:
                raise trio.ClosedResourceError(
                    "this socket was closed, or its host's device is gone"
                )
        assert isinstance(connection, Flow)
        sock = Socket(self._host)
        sock.linger = self.linger
        sock.notsent_lowat = self.notsent_lowat
        sock.noted = dict(self.noted)
        sock._config = connection.config
        sock._attach(connection)
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return sock, sock._peer()

    # Closing

    def shutdown(self, flag: int) -> None:
        """End our half (SHUT_WR), stop reading (SHUT_RD), or both (SHUT_RDWR).

        Raises:
            OSError: ENOTCONN, EINVAL.
        """
        flow = self._connected()
        if flow.state is State.CLOSED:
            raise os_error(errno.ENOTCONN)
        if flag not in (stdlib_socket.SHUT_RD, stdlib_socket.SHUT_WR, stdlib_socket.SHUT_RDWR):
            raise os_error(errno.EINVAL)
        if flag != stdlib_socket.SHUT_WR:
            self._receiving.wake()
        if flag != stdlib_socket.SHUT_RD:
            self._shut_down_write = True
        self._host.stack.shutdown(
            flow,
            send=flag != stdlib_socket.SHUT_RD,
            receive=flag != stdlib_socket.SHUT_WR,
        )
        self._host.flush()

    def close(self) -> None:
        """Let go of the connection, or of the port; idempotent.

        What was sent is still delivered, and the teardown goes on without us; SO_LINGER may say for
        how long. The connection is reset instead if data is unread, or with SO_LINGER on and 0
        seconds. Tasks that wait in this socket wake with `trio.ClosedResourceError`.
        """
        self._let_go(abort=self.linger == 0)

    def abort(self) -> None:
        """Close with a RST (RFC 9293 section 3.10.5, ABORT): the peer learns of no good end."""
        self._let_go(abort=True)

    def _let_go(self, *, abort: bool) -> None:
        if self._fileno == -1:
            return
        self._fileno = -1
        flow, self._flow = self._flow, None
        if flow is not None:
            if abort:
                self._host.stack.detach(flow)
                self._host.stack.abort(flow)
            else:
                self._host.stack.close(flow, self.linger)
            self._host.flush()
        self._stop_listening()
        if self._bound is not None:
            self._host.stack.unbind(*self._bound, reuse=self._bound_reuse)
            self._bound = None
        for waiter in (self._receiving, self._sending, self._connecting, *self._conditions):
            waiter.wake()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            assert self._bound is not None
            self._host.stack.unlisten(*self._bound, self._listener)
            self._host.not_listening(self)
            self._listener = None
            self._host.flush()

    # Within

    def _changed(self) -> None:
        """The flow changed: wake whoever waits for just that."""
        flow = self._flow
        if flow is None:
            return
        if self._receiving.task is not None and flow.readable:
            self._receiving.wake()
        if self._sending.task is not None and self._writable(flow):
            self._sending.wake()
        if self._connecting.task is not None and flow.state not in (
            State.SYN_SENT,
            State.SYN_RECEIVED,
        ):
            self._connecting.wake()
        if self._conditions:
            self._notice(flow)
