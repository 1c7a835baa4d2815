"""The socket: connect, listen, accept, shutdown and close."""

from __future__ import annotations

import errno
import socket as stdlib_socket
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.ip.errors import os_error
from tunstack.socket import transfer
from tunstack.socket.addresses import (
    mapped_is_invalid,
    printed,
    resolved,
    resolved_now,
    sockaddr,
    wildcard,
)
from tunstack.socket.answers import Habit
from tunstack.socket.descriptors import next_descriptor
from tunstack.socket.notices import Notices
from tunstack.socket.options.stream import get_option, set_option
from tunstack.socket.state import STREAM_LOWAT, SocketState
from tunstack.socket.stdlib import StdlibSocket
from tunstack.socket.verbs import Verbs
from tunstack.stack.flow import Flow
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address
    from tunstack.socket.addresses import AddressFormat
    from tunstack.socket.endpoint import Endpoint
    from tunstack.tcp.congestion import CongestionFactory
    from tunstack.tcp.info import TcpInfo

# As ints: operations on enum members are slow.
_TCP: Final = int(stdlib_socket.IPPROTO_TCP)
_NODELAY: Final = int(stdlib_socket.TCP_NODELAY)
_NOTSENT_LOWAT: Final = int(stdlib_socket.TCP_NOTSENT_LOWAT)


@final
class Socket(Verbs):
    """A TCP socket on a :class:`~tunstack.Host`; made by :meth:`tunstack.Host.socket`.

    Besides the methods of trio's sockets it has :meth:`abort`, :meth:`tcp_info`,
    :meth:`wait_acknowledged`, :meth:`wait_soft_error`, and for urgent data :meth:`wait_urgent`,
    :meth:`at_mark` and :attr:`urgent_remaining`; and for tests :meth:`vanish`, :meth:`freeze` and
    :meth:`thaw`, :meth:`stop_acknowledging` and :meth:`resume_acknowledging`, and
    :meth:`send_segment`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        family: int = stdlib_socket.AF_INET,
        *,
        congestion: CongestionFactory | None = None,
    ) -> None:
        self._fileno = next_descriptor()
        self._stack = endpoint.stack
        self._state = SocketState(endpoint, family)
        if congestion is not None:
            self._state.change(congestion=congestion)

    def __repr__(self) -> str:
        if self._fileno == -1:
            return "<tunstack.Socket [closed]>"
        if self._state.flow is not None:
            local, remote = printed(self.getsockname()), printed(self._peer())
            return f"<tunstack.Socket {local} to {remote}, {self._state.flow.state.value}>"
        if self._state.bound is not None:
            what = "listening on" if self._state.listener is not None else "bound to"
            return f"<tunstack.Socket {what} {printed(self.getsockname())}>"
        return "<tunstack.Socket [not connected]>"

    @cached_property
    def _sock(self) -> StdlibSocket:
        """The `socket.socket` of this socket, under trio's name; anyio reads it."""
        return StdlibSocket.of(self)

    # Properties

    @property
    def family(self) -> stdlib_socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return stdlib_socket.AddressFamily(self._state.family)

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # trio's name
        """Whether our half was shut down."""
        return self._state.shut_down_write

    def _check_open(self) -> None:
        self._state.check_open()

    # Addresses

    def getsockname(self) -> tuple[Any, ...]:
        """Return our address and port; ``("0.0.0.0", 0)`` if not bound.

        Of AF_INET6 it is ``("2001:db8::2", 80, 0, 0)``, flow information and scope id at the end.
        """
        self._state.check_open()
        if self._state.flow is not None:
            name = self._state.flow.four_tuple
            return sockaddr(name.local, name.local_port, self._state.family)
        address, port = self._state.bound or (None, 0)
        family = self._state.family
        return sockaddr(wildcard(family) if address is None else address, port, family)

    def getpeername(self) -> tuple[Any, ...]:
        """Return the peer's address and port; raises OSError (ENOTCONN)."""
        self._state.check_open()
        if self._state.flow is None or self._state.flow.state in (State.SYN_SENT, State.CLOSED):
            raise os_error(errno.ENOTCONN)
        return self._peer()

    def _peer(self) -> tuple[Any, ...]:
        assert self._state.flow is not None
        name = self._state.flow.four_tuple
        return sockaddr(name.remote, name.remote_port, self._state.family)

    async def bind(self, address: AddressFormat) -> None:
        """Bind a local address and port; ``"0.0.0.0"`` for all addresses, 0 for any port.

        ``"::"`` is all addresses of both families, unless IPV6_V6ONLY is on.

        Raises:
            OSError: EADDRNOTAVAIL for an address that is not the host's, EADDRINUSE, EINVAL.
        """
        await trio.lowlevel.checkpoint()
        self._state.check_open()
        self._check_unnamed()
        self._bind(*await self._resolved_to_bind(address))

    def bind_now(self, address: AddressFormat) -> None:
        """Bind without awaiting; looking up a name blocks the event loop."""
        self._state.check_open()
        self._check_unnamed()
        with mapped_is_invalid():
            found = resolved_now(address, self._state.family, v6only=self._state.v6only)
        self._bind(*found)

    async def _resolved_to_bind(self, address: AddressFormat) -> tuple[Address, int]:
        with mapped_is_invalid():
            return await self._resolved(address)

    async def _resolved(self, address: AddressFormat) -> tuple[Address, int]:
        state = self._state
        resolver = state.endpoint.resolver
        return await resolved(address, state.family, v6only=state.v6only, resolver=resolver)

    def _check_unnamed(self) -> None:
        if self._state.bound is not None or self._state.flow is not None:
            raise os_error(errno.EINVAL)

    def _bind(self, local: Address, port: int) -> None:
        self._state.check_open()
        self._check_unnamed()
        self._state.endpoint.check_link()
        both = self._state.family == stdlib_socket.AF_INET6 and not self._state.v6only
        where = None if both and local == wildcard(stdlib_socket.AF_INET6) else local
        port = self._stack.bind(where, port, reuse=self._state.reuse_address)
        self._state.bound = where, port
        self._state.bound_reuse = self._state.reuse_address

    # Options

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """Return a socket option: an int, or bytes if `buflen` is given.

        For the options see :mod:`tunstack.socket.options`.
        """
        self._state.check_open()
        return get_option(self._state, level, optname, buflen)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set a socket option to an int or to bytes; see :mod:`tunstack.socket.options`."""
        state = self._state
        if level == _TCP and state.listener is None and not (state.closed or state.endpoint.ended):
            # What trio's streams set of each connection that is accepted.
            if optname == _NODELAY and value is True:
                return state.set_nodelay()
            if optname == _NOTSENT_LOWAT and type(value) is int and value == STREAM_LOWAT:
                return state.set_stream_lowat()
        state.check_open()
        if value is None:
            raise os_error(errno.EINVAL)
        return set_option(state, level, optname, value)

    def tcp_info(self) -> TcpInfo:
        """Return a snapshot of the connection (Linux's TCP_INFO); raises OSError (ENOTCONN)."""
        return self._state.connected().info()

    # Opening

    async def connect(self, address: AddressFormat) -> None:
        """Connect to ``(host, port)``. When cancelled, the socket is closed.

        With TCP_FASTOPEN_CONNECT and a cached cookie it returns at once, and the data
        sent first is in the SYN; if the handshake fails, `send` and `recv` raise the error.

        Raises:
            OSError: ECONNREFUSED (RST received), ETIMEDOUT (no answer for three minutes),
                EHOSTUNREACH or ENETUNREACH (ICMP error), EADDRNOTAVAIL, EISCONN, EALREADY.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        early = self._state.config.fast_open_connect
        flow = await self._begin(address, early=early)
        if early and flow.awaits_data:
            self._stack.withhold_syn(flow)
            self._state.endpoint.flush()
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self._state.endpoint.flush()
            await self._until_open(flow)

    async def _send_opening(self, data: Any, flags: int, address: AddressFormat) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        if flags & ~(stdlib_socket.MSG_NOSIGNAL | stdlib_socket.MSG_DONTWAIT):
            raise os_error(errno.EOPNOTSUPP)
        if address is None:
            raise os_error(errno.EDESTADDRREQ)
        flow = await self._begin(address, early=True)
        with memoryview(data).cast("B") as view:
            sent = self._state.endpoint.send(flow, view)
        await self._until_open(flow)
        return sent

    async def _begin(self, address: AddressFormat, *, early: bool) -> Flow:
        self._state.check_open()
        remote, port = await self._resolved(address)
        self._state.check_open()
        if self._state.connecting:
            raise os_error(errno.EALREADY)
        if self._state.flow is not None or self._state.listener is not None:
            raise os_error(errno.EISCONN)
        self._state.endpoint.check_link()
        local, local_port = self._source_for(remote)
        if not any(remote):  # The unspecified address: as on Linux, this host itself.
            remote = local or self._stack.source_for(remote)
        flow = self._stack.connect(
            remote,
            port,
            trio.current_time(),
            local=local,
            local_port=local_port,
            config=self._state.config,
            early=early,
        )
        self._state.attach(flow)
        return flow

    def _source_for(self, remote: Address) -> tuple[Address | None, int]:
        """Return the address to connect from, None for whichever suits, and the port.

        Raises:
            OSError: ENETUNREACH, EAFNOSUPPORT: it is bound to an address of the other family.
        """
        local, port = self._state.bound or (None, 0)
        if local is None or not any(local):
            return None, port
        if len(local) != len(remote):
            raise os_error(errno.EAFNOSUPPORT if len(local) == 4 else errno.ENETUNREACH)
        return local, port

    async def _until_open(self, flow: Flow) -> None:
        try:
            while flow.state in (State.SYN_SENT, State.SYN_RECEIVED):
                await self._state.connecting.wait()
        except trio.Cancelled:
            self.close()
            raise
        self._state.check_not_closed_meanwhile()
        if flow.state is State.CLOSED:
            self._state.flow = None  # `connect` may be called again, as on Linux.
            self._stack.detach(flow)
            self._stack.mark_pending(flow)
            self._state.endpoint.flush()
            error = flow.error or os_error(errno.ECONNABORTED)  # None after `shutdown`.
            raise OSError(error.errno, error.strerror)

    def listen(self, backlog: int = 128) -> None:
        """Listen; the accept queue holds at most `backlog` connections (4096 at most).

        Raises:
            OSError: EADDRINUSE, EINVAL when connected.
        """
        self._state.check_open()
        if self._state.flow is not None:
            raise os_error(errno.EINVAL)
        self._state.endpoint.check_link()
        if self._state.listener is not None:
            self._state.listener.set_backlog(backlog)
            return
        stack = self._stack
        if self._state.bound is None:
            self._state.bound = None, stack.bind(None, 0, reuse=self._state.reuse_address)
            self._state.bound_reuse = self._state.reuse_address
        listener = stack.listen(*self._state.bound, backlog, config=self._state.config)
        listener.changed = self._state.receiving.wake
        self._state.listener = listener
        self._state.habit = Habit()
        self._state.endpoint.add_listener(self.close)

    async def accept(self) -> tuple[Socket, tuple[Any, ...]]:
        """Return a socket for the next connection, and the peer's address and port.

        Raises:
            OSError: EINVAL when not listening.
            trio.BusyResourceError: another task waits in `accept`.
            trio.ClosedResourceError: the socket was closed meanwhile, or its host's device is gone.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._state.check_open()
        if self._state.listener is None:
            raise os_error(errno.EINVAL)
        self._state.receiving.check_free()
        waited = False
        while (sock := self._accept_now()) is None:
            await self._state.receiving.wait()
            waited = True
            if self._state.listener is None:
                raise trio.ClosedResourceError(
                    "this socket was closed, or its host's device is gone"
                )
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return sock, sock._peer()

    def _accept_now(self) -> Socket | None:
        """Return a socket for the next connection; None if there is none, or it does not listen."""
        ours = self._state
        listener = ours.listener
        if listener is None or (connection := listener.accept()) is None:
            return None
        assert isinstance(connection, Flow)
        sock = Socket(ours.endpoint, ours.family)
        state = sock._state
        state.v6only = ours.v6only
        state.linger = ours.linger
        state.notsent_lowat = ours.notsent_lowat
        state.noted = None if ours.noted is None else dict(ours.noted)
        state.config = connection.config
        state.habit = ours.habit
        state.attach(connection)
        if ours.habit is not None and ours.habit.closes and connection.readable:
            ours.endpoint.answers.expect(2)  # It takes one to read the request.
        return sock

    # Closing

    def shutdown(self, flag: int) -> None:
        """Send FIN after all queued data (SHUT_WR), stop reading (SHUT_RD), or both (SHUT_RDWR).

        Raises:
            OSError: ENOTCONN, EINVAL.
        """
        flow = self._state.connected()
        if flow.state is State.CLOSED:
            raise os_error(errno.ENOTCONN)
        if flag not in (stdlib_socket.SHUT_RD, stdlib_socket.SHUT_WR, stdlib_socket.SHUT_RDWR):
            raise os_error(errno.EINVAL)
        if flag != stdlib_socket.SHUT_WR:
            self._state.receiving.wake()
        if flag != stdlib_socket.SHUT_RD:
            self._state.shut_down_write = True
            self._state.note_close(flow)
        self._stack.shutdown(
            flow,
            send=flag != stdlib_socket.SHUT_RD,
            receive=flag != stdlib_socket.SHUT_WR,
        )
        self._state.endpoint.flush()

    def close(self) -> None:
        """Close the connection or the listener; idempotent.

        Queued data is still delivered, and the teardown continues without the socket; SO_LINGER
        limits its time. The connection is reset instead if data is unread, or with SO_LINGER on
        and 0 seconds. Tasks blocked in this socket get `trio.ClosedResourceError`.
        """
        self._close(abort=self._state.linger == 0)

    def abort(self) -> None:
        """Close with a RST (RFC 9293 section 3.10.5, ABORT)."""
        self._close(abort=True)

    def _close(self, *, abort: bool) -> None:
        if self._fileno == -1:
            return
        self._fileno = -1
        self._state.closed = True
        self._state.end_large_reads()
        flow, self._state.flow = self._state.flow, None
        if flow is not None:
            self._state.note_close(flow)
            if self._state.held and (abort or flow.receiver.unread):
                self._state.endpoint.write()  # A RST follows.
            if abort or self._state.silent:
                self._stack.detach(flow)
                self._stack.abort(flow)
            else:
                self._stack.close(flow, self._state.linger)
            self._state.endpoint.flush()
        self._stop_listening()
        if self._state.bound is not None:
            self._stack.unbind(*self._state.bound, reuse=self._state.bound_reuse)
            self._state.bound = None
        self._state.wake_all()

    def _stop_listening(self) -> None:
        if self._state.listener is not None:
            assert self._state.bound is not None
            self._stack.unlisten(*self._state.bound, self._state.listener)
            self._state.endpoint.remove_listener(self.close)
            self._state.listener = None
            self._state.endpoint.flush()

    # Data

    def recv(self, buflen: int, flags: int = 0, /) -> Any:
        """Receive at most `buflen` octets; ``b""`` at the peer's end of stream.

        A read stops before the last octet of urgent data. With the flag
        ``MSG_OOB`` it returns that octet, if SO_OOBINLINE is off. With ``MSG_PEEK`` the data
        is not removed. ``MSG_DONTWAIT`` has no effect, as with trio's own sockets.

        Raises:
            OSError: ECONNRESET, ETIMEDOUT..., ENOTCONN; EINVAL for MSG_OOB without urgent data.
            trio.BusyResourceError: another task waits in `recv`.
        """
        if buflen is None:
            raise TypeError("recv takes a number of octets, not None")
        return transfer.receive(self._state, buflen, flags)

    def _recv(self, size: int, flags: int = 0) -> Any:
        return transfer.receive(self._state, size, flags)

    def send(self, bytes: Any, flags: int = 0, /) -> Any:
        """Queue as much of `bytes` as fits, at least one octet; returns the number of octets.

        With the flag ``MSG_MORE`` a partial segment waits for the next call. With
        ``MSG_OOB`` the data is urgent, up to the last octet queued (RFC 6093: not for new
        programs).

        Raises:
            OSError: EPIPE after shutdown, ECONNRESET, ETIMEDOUT..., ENOTCONN.
            trio.BusyResourceError: another task waits to send.
        """
        if type(bytes) is memoryview and bytes.format == "B" and bytes.ndim == 1:
            return transfer.send(self._state, bytes, flags)  # As trio's streams pass it.
        return self._send(bytes, flags)

    async def _send(self, data: Any, flags: int = 0) -> int:
        with memoryview(data).cast("B") as view:
            return await transfer.send(self._state, view, flags)

    async def wait_writable(self) -> None:
        """Wait until `send` would not block.

        Raises:
            trio.BusyResourceError: another task waits to send.
        """
        await transfer.wait_writable(self._state)

    def is_readable(self) -> bool:
        """Whether `recv` or `accept` would not block."""
        self._state.check_open()
        if self._state.listener is not None:
            return len(self._state.listener) > 0
        return self._state.flow is None or self._state.flow.readable

    # Notices

    async def wait_acknowledged(self) -> None:
        """Wait until the peer has acknowledged all data sent, and our FIN after shutdown.

        A `close` after it loses no data. It replaces SO_LINGER of blocking sockets::

            with trio.move_on_after(5):
                await sock.wait_acknowledged()
            sock.close()

        Raises:
            OSError: ECONNRESET, ETIMEDOUT..., ENOTCONN.
            trio.BusyResourceError: another task waits for it.
        """
        await Notices.of(self._state).wait_acknowledged()

    async def wait_soft_error(self) -> OSError:
        """Wait for the next error that does not end the connection, and return it.

        That is what ICMP says, and that the third retransmission of a segment had no answer
        (ETIMEDOUT), as long as the connection has not ended by it. Of several since the last call
        it returns the latest. Soft errors are not reported otherwise (RFC 9293 section
        3.9.1.8, MUST-47, SHLD-20).

        Raises:
            OSError: ENOTCONN, as the connection has ended.
            trio.BusyResourceError: another task waits for it.
        """
        return await Notices.of(self._state).wait_soft_error()

    # Urgent data (RFC 6093)

    async def wait_urgent(self) -> None:
        """Wait until the peer has announced urgent data, or more of it, since the last call.

        It stands in the stream, or still will; :attr:`urgent_remaining` says how far to read.

        Raises:
            OSError: ENOTCONN, as no more data can arrive.
            trio.BusyResourceError: another task waits for it, or for its octet.
        """
        await Notices.of(self._state).wait_urgent()

    @property
    def urgent_remaining(self) -> int:
        """Octets from what is read next to the end of the urgent data; 0 when all of it is read.

        Raises:
            OSError: ENOTCONN.
        """
        return self._state.connected().receiver.urgent_remaining

    def at_mark(self) -> bool:
        """Whether what is read next is the last urgent octet; SO_OOBINLINE off, what follows it.

        As `sockatmark` of POSIX. No `recv` goes from before the mark past it.

        Raises:
            OSError: ENOTCONN.
        """
        return self._state.connected().receiver.at_mark
