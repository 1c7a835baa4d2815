"""The socket: a `trio.socket.SocketType` over a host, so that everything higher is trio's own.

`trio.SocketStream`, `trio.SocketListener`, `trio.serve_listeners` and `trio.SSLStream` take it for
one of trio's. Where the documentation of :mod:`trio.socket` and Linux's man pages say what a call
does, this does the same.
"""

from __future__ import annotations

import errno
import itertools
import operator
import os
import socket as stdlib_socket
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, cast, final

import trio

from tunstack.flow import Flow
from tunstack.sockopt import get_option, set_option
from tunstack.tcp.state import CAN_SEND, State
from tunstack.waiter import Waiter

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable
    from types import TracebackType

    from tunstack.flow import TcpInfo
    from tunstack.host import Host
    from tunstack.ip.datagram import Address
    from tunstack.tcp.listener import Listener

Buffer: TypeAlias = bytes | bytearray | memoryview
AddressFormat: TypeAlias = Any

_descriptors: Final = itertools.count(1 << 30)
"""Numbers for `fileno`: no real descriptor's, so that nobody can mistake one for the other."""

_NO_LOWAT: Final = 0xFFFF_FFFF
_PIECE: Final = 65536
"""With TCP_NOTSENT_LOWAT one call takes about so much at a time, as on Linux."""

_ANY: Final = IPv4Address("0.0.0.0")


@final
class Socket(trio.socket.SocketType):
    """A TCP socket on a :class:`~tunstack.Host`; made by :meth:`tunstack.Host.socket`.

    Beside what trio's have, it knows :meth:`abort` and :meth:`tcp_info`.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._fileno = next(_descriptors)
        self._flow: Flow | None = None
        self._listener: Listener | None = None
        self._bound: tuple[Address | None, int] | None = None
        self._bound_reuse = False
        self._shut_down_write = False
        self._config = host.stack.config
        self._receiving = Waiter()
        self._sending = Waiter()
        self._connecting = Waiter()
        self.linger: int | None = None
        """SO_LINGER's seconds when it is on, else None. With 0, `close` aborts."""
        self.reuse_address: bool = False
        self.notsent_lowat: int = _NO_LOWAT
        self.noted: dict[tuple[int, int], int] = {}
        """Options that are remembered and have no effect."""

    def __repr__(self) -> str:
        if self._fileno == -1:
            return "<tunstack.Socket [closed]>"
        if self._flow is not None:
            (local, port), (remote, remote_port) = self.getsockname(), self._peer()
            state = self._flow.state.value
            return f"<tunstack.Socket {local}:{port} to {remote}:{remote_port}, {state}>"
        if self._bound is not None:
            what = "listening on" if self.listening else "bound to"
            return "<tunstack.Socket {} {}:{}>".format(what, *self.getsockname())
        return "<tunstack.Socket [not connected]>"

    # What it is

    @property
    def family(self) -> stdlib_socket.AddressFamily:
        """AF_INET."""
        return stdlib_socket.AF_INET

    @property
    def type(self) -> stdlib_socket.SocketKind:
        """SOCK_STREAM."""
        return stdlib_socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        """IPPROTO_TCP."""
        return stdlib_socket.IPPROTO_TCP

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # trio's name
        """Whether our half was shut down."""
        return self._shut_down_write

    def fileno(self) -> int:
        """Return a number that is no descriptor's; -1 once the socket is closed."""
        return self._fileno

    def detach(self) -> NoReturn:
        """Raise OSError (EOPNOTSUPP): there is no descriptor to hand out."""
        raise _error(errno.EOPNOTSUPP)

    def dup(self) -> NoReturn:
        """Raise OSError (EOPNOTSUPP): there is no descriptor to duplicate."""
        raise _error(errno.EOPNOTSUPP)

    def get_inheritable(self) -> bool:
        """Return False: no child process can have it."""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Do nothing for False; raise OSError (EOPNOTSUPP) for True."""
        if inheritable:
            raise _error(errno.EOPNOTSUPP)

    def __enter__(self) -> Socket:
        return self

    def __exit__(
        self,
        exc_type: builtins.type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Addresses

    def getsockname(self) -> tuple[str, int]:
        """Return our address and port; ``("0.0.0.0", 0)`` before there are any."""
        self._check_open()
        if self._flow is not None:
            name = self._flow.four_tuple
            return str(IPv4Address(name.local)), name.local_port
        address, port = self._bound or (None, 0)
        return str(_ANY if address is None else IPv4Address(address)), port

    def getpeername(self) -> tuple[str, int]:
        """Return the peer's address and port; raises OSError (ENOTCONN)."""
        self._check_open()
        if self._flow is None or self._flow.state in (State.SYN_SENT, State.CLOSED):
            raise _error(errno.ENOTCONN)
        return self._peer()

    def _peer(self) -> tuple[str, int]:
        assert self._flow is not None
        name = self._flow.four_tuple
        return str(IPv4Address(name.remote)), name.remote_port

    async def bind(self, address: AddressFormat) -> None:
        """Take a local address and port; ``"0.0.0.0"`` and 0 stand for any.

        Raises:
            OSError: EADDRNOTAVAIL for an address that is not the host's, EADDRINUSE, EINVAL.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        if self._bound is not None or self._flow is not None:
            raise _error(errno.EINVAL)
        local, port = await self._resolve(address)
        stack = self._host.stack
        where = None if local == _ANY.packed else local
        if where is not None and not stack.is_local(where):
            raise _error(errno.EADDRNOTAVAIL)
        port = stack.demux.bind(where, port, reuse=self.reuse_address)
        self._bound = where, port
        self._bound_reuse = self.reuse_address

    async def _resolve(self, address: AddressFormat) -> tuple[Address, int]:
        if not isinstance(address, tuple) or len(address) != 2:
            raise ValueError("address should be a (host, port) tuple")
        host, port = address
        port = operator.index(port)
        if not 0 <= port <= 65535:
            raise OverflowError("port must be 0-65535.")
        if host in ("", b""):
            return _ANY.packed, port
        if isinstance(host, str):
            try:
                return IPv4Address(host).packed, port
            except ValueError:
                pass
        found = await trio.socket.getaddrinfo(host, port, self.family, self.type)
        return IPv4Address(cast("str", found[0][4][0])).packed, port

    # Opening

    async def connect(self, address: AddressFormat) -> None:
        """Connect to ``(host, port)``. When cancelled, the socket is closed.

        Raises:
            OSError: ECONNREFUSED (a RST came), ETIMEDOUT (nothing did, for three minutes),
                EHOSTUNREACH or ENETUNREACH (ICMP says so), EADDRNOTAVAIL, EISCONN, EALREADY.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        remote, port = await self._resolve(address)
        self._check_open()
        if self._connecting:
            raise _error(errno.EALREADY)
        if self._flow is not None or self._listener is not None:
            raise _error(errno.EISCONN)
        self._host.check_up()
        local, local_port = self._bound or (None, 0)
        if remote == _ANY.packed:  # As on Linux: this host itself.
            remote = local or self._host.stack.source_for(remote)
        flow = self._host.stack.connect(
            remote,
            port,
            trio.current_time(),
            local=local,
            local_port=local_port,
            config=self._config,
        )
        self._attach(flow)
        self._host.acted(flow)
        try:
            while flow.state in (State.SYN_SENT, State.SYN_RECEIVED):
                await self._connecting.wait()
        except trio.Cancelled:
            self.close()
            raise
        if self._fileno == -1:
            raise trio.ClosedResourceError("another task closed this socket")
        if flow.state is State.CLOSED and flow.error is not None:
            self._flow = None  # So that another attempt may be made, as on Linux.
            raise OSError(flow.error.errno, flow.error.strerror)

    def _attach(self, flow: Flow) -> None:
        self._flow = flow
        flow.changed = self._changed

    def listen(self, backlog: int = 128) -> None:
        """Answer SYNs; at most `backlog` connections wait to be accepted (4096 at the most).

        Raises:
            OSError: EADDRINUSE, EINVAL when connected.
        """
        self._check_open()
        if self._flow is not None:
            raise _error(errno.EINVAL)
        self._host.check_up()
        if self._listener is not None:
            self._listener.set_backlog(backlog)
            return
        stack = self._host.stack
        if self._bound is None:
            self._bound = None, stack.demux.bind(None, 0, reuse=self.reuse_address)
            self._bound_reuse = self.reuse_address
        listener = stack.listen(*self._bound, backlog, config=self._config)
        listener.changed = self._receiving.wake
        self._listener = listener
        self._host.listening(self)

    @property
    def listening(self) -> bool:
        """Whether it listens (SO_ACCEPTCONN)."""
        return self._listener is not None

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
            raise _error(errno.EINVAL)
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

    # Transfer

    def recv(self, buflen: int, flags: int = 0, /) -> Any:
        """Receive at most `buflen` octets; ``b""`` at the peer's end of stream.

        Raises:
            OSError: ECONNRESET, ETIMEDOUT..., ENOTCONN.
            trio.BusyResourceError: another task waits in `recv`.
        """
        return self._recv(buflen, flags)

    async def _recv(self, size: int, flags: int = 0) -> bytes:
        size = operator.index(size)
        if size < 0:
            raise ValueError("negative buffersize in recv")
        await trio.lowlevel.checkpoint_if_cancelled()
        flow = self._connected()
        if flags:
            raise _error(errno.EOPNOTSUPP)
        self._receiving.check_free()
        waited = False
        while not flow.readable and size:
            await self._receiving.wait()
            waited = True
            self._check_not_closed_meanwhile()
        data = self._take(flow, size)
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    def _take(self, flow: Flow, size: int) -> bytes:
        try:
            data = flow.receive(size)
        except OSError as error:
            flow.error = None  # Told once, as on Linux; from now on it is the end.
            raise OSError(error.errno, error.strerror) from None
        if flow.receiver.ack_now:  # There is room to tell of.
            self._host.acted(flow)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> Any:
        """Receive into `buffer`, at most `nbytes` octets of it if not 0; returns how many."""
        return self._recv_into(buffer, nbytes, flags)

    async def _recv_into(self, buffer: Any, nbytes: int, flags: int) -> int:
        with memoryview(buffer).cast("B") as view:
            data = await self._recv(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data)

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> Any:
        """Receive; returns the data, and None for the address, as Linux does for TCP."""
        return self._recvfrom(bufsize, flags)

    async def _recvfrom(self, bufsize: int, flags: int) -> tuple[bytes, None]:
        return await self._recv(bufsize, flags), None

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> Any:
        """Receive into `buffer`; returns how many octets, and None."""
        return self._recvfrom_into(buffer, nbytes, flags)

    async def _recvfrom_into(self, buffer: Any, nbytes: int, flags: int) -> tuple[int, None]:
        return await self._recv_into(buffer, nbytes, flags), None

    def is_readable(self) -> bool:
        """Whether `recv`, or `accept`, would return at once."""
        self._check_open()
        if self._listener is not None:
            return len(self._listener) > 0
        return self._flow is None or self._flow.readable

    async def wait_writable(self) -> None:
        """Wait until `send` would take something, or fail.

        Raises:
            trio.BusyResourceError: another task waits to send.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        flow = self._connected()
        self._sending.check_free()
        waited = False
        while not self._writable(flow):
            await self._sending.wait()
            waited = True
            self._check_not_closed_meanwhile()
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _writable(self, flow: Flow) -> bool:
        """Whether to let the application send: not for a few octets, as on Linux."""
        if flow.state not in CAN_SEND or self._shut_down_write:
            return True
        queued = len(flow.sender.buffer)
        return flow.writable_size * 2 >= queued and flow.sender.unsent < self.notsent_lowat

    def send(self, bytes: Any, flags: int = 0, /) -> Any:
        """Send what there is room for of `bytes`; returns how many octets that was, at least one.

        Raises:
            OSError: EPIPE after shutdown, ECONNRESET, ETIMEDOUT..., ENOTCONN.
            trio.BusyResourceError: another task waits to send.
        """
        return self._send(bytes, flags)

    async def _send(self, data: Any, flags: int = 0) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        flow = self._connected()
        if flags & ~stdlib_socket.MSG_NOSIGNAL:
            raise _error(errno.EOPNOTSUPP)
        self._sending.check_free()
        with memoryview(data).cast("B") as view:
            size = len(view)
            waited = False
            while size and not self._writable(flow):
                await self._sending.wait()
                waited = True
                self._check_not_closed_meanwhile()
            if self.notsent_lowat != _NO_LOWAT and size > _PIECE:
                size = _PIECE
            sent = self._give(flow, view[:size])
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return sent

    def _give(self, flow: Flow, data: memoryview) -> int:
        try:
            sent = flow.send(data, trio.current_time())
        except OSError as error:
            flow.error = None
            raise OSError(error.errno, error.strerror) from None
        if sent:
            self._host.acted(flow)
        return sent

    async def sendto(self, *args: Any) -> int:
        """Send ``(data[, flags], address)``; the address is ignored, as Linux does for TCP."""
        return await self._send(args[0], args[1] if len(args) > 2 else 0)

    async def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
        /,
    ) -> int:
        """Send `buffers` one after another; raises OSError (EOPNOTSUPP) for ancillary data."""
        if list(ancdata):
            raise _error(errno.EOPNOTSUPP)
        return await self._send(b"".join(buffers), flags)

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """Receive; returns ``(data, [], 0, None)``."""
        return self._recvmsg(bufsize, flags)

    async def _recvmsg(self, bufsize: int, flags: int) -> tuple[bytes, list[Any], int, None]:
        return await self._recv(bufsize, flags), [], 0, None

    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /
    ) -> NoReturn:
        """Raise OSError (EOPNOTSUPP)."""
        raise _error(errno.EOPNOTSUPP)

    # Closing

    def shutdown(self, flag: int) -> None:
        """End our half (SHUT_WR), stop reading (SHUT_RD), or both (SHUT_RDWR).

        Raises:
            OSError: ENOTCONN, EINVAL.
        """
        flow = self._connected()
        if flow.state is State.CLOSED:
            raise _error(errno.ENOTCONN)
        if flag not in (stdlib_socket.SHUT_RD, stdlib_socket.SHUT_WR, stdlib_socket.SHUT_RDWR):
            raise _error(errno.EINVAL)
        if flag != stdlib_socket.SHUT_WR:
            flow.shutdown_receive()
            self._receiving.wake()
        if flag != stdlib_socket.SHUT_RD:
            self._shut_down_write = True
            flow.shutdown()
        self._host.acted(flow)

    def close(self) -> None:
        """Let go of the connection, or of the port; idempotent.

        What was sent is still delivered, and the teardown goes on without us. The connection is
        reset instead if data is unread, or with SO_LINGER on and 0 seconds. Tasks that wait in this
        socket wake with `trio.ClosedResourceError`.
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
            flow.changed = None
            if abort:
                flow.abort()
            else:
                flow.close()
            self._host.acted(flow)
        self._stop_listening()
        if self._bound is not None:
            self._host.stack.demux.unbind(*self._bound, reuse=self._bound_reuse)
            self._bound = None
        for waiter in (self._receiving, self._sending, self._connecting):
            waiter.wake()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            assert self._bound is not None
            self._host.stack.close_listener(*self._bound, self._listener)
            self._host.not_listening(self)
            self._listener = None
            self._host.flush()

    # Options

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """Return a socket option: an int, or bytes if `buflen` is given; see `tunstack.sockopt`."""
        self._check_open()
        return get_option(self, level, optname, buflen)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set a socket option to an int or to bytes; see `tunstack.sockopt`."""
        self._check_open()
        if value is None:
            raise _error(errno.EINVAL)
        set_option(self, level, optname, value)

    def tcp_info(self) -> TcpInfo:
        """Return what the connection is like now (Linux's TCP_INFO); raises OSError (ENOTCONN)."""
        return self._connected().info()

    def take_error(self) -> int:
        """Return and clear SO_ERROR: the errno of what ended the connection, else 0."""
        flow = self._flow
        if flow is None or flow.error is None:
            return 0
        error, flow.error = flow.error, None
        return error.errno or 0

    def change(self, **parameters: Any) -> None:
        """Change parameters of `tunstack.tcp.config.Config`, for this socket's connection alone."""
        self._config = replace(self._config, **parameters)
        if self._listener is not None:
            self._listener.config = self._config
        if self._flow is not None:
            self._flow.reconfigure(self._config)
            self._host.acted(self._flow)

    def set_user_timeout(self, seconds: float) -> None:
        """Set how long sent data may go unacknowledged; 0 for the host's own default."""
        self.change(user_timeout=seconds or self._host.stack.config.user_timeout)

    @property
    def user_timeout_ms(self) -> int:
        """TCP_USER_TIMEOUT: milliseconds; 0 for the host's own default."""
        seconds = self._config.user_timeout
        return 0 if seconds == self._host.stack.config.user_timeout else round(seconds * 1000)

    @property
    def receive_buffer_size(self) -> int:
        """SO_RCVBUF, in octets (not doubled, as Linux's is): what it has grown to by now."""
        return self._config.receive_buffer if self._flow is None else self._flow.receiver.size

    @property
    def send_buffer_size(self) -> int:
        """SO_SNDBUF, in octets (not doubled, as Linux's is): what it has grown to by now."""
        return self._config.send_buffer if self._flow is None else self._flow.sender.bound

    @property
    def nodelay(self) -> bool:
        """TCP_NODELAY."""
        return self._config.nodelay

    @property
    def max_segment(self) -> int:
        """TCP_MAXSEG: what one segment carries when connected; before, what we will announce."""
        flow = self._flow
        if flow is not None and flow.state not in (State.SYN_SENT, State.CLOSED):
            return flow.sender.mss
        return self._config.mss

    @property
    def largest_mss(self) -> int:
        """The largest MSS that the link allows."""
        return self._host.stack.config.mss

    # Within

    def _changed(self) -> None:
        """The flow changed: wake whoever waits for just that."""
        flow = self._flow
        if flow is None:
            return
        if self._receiving and flow.readable:
            self._receiving.wake()
        if self._sending and self._writable(flow):
            self._sending.wake()
        if self._connecting and flow.state not in (State.SYN_SENT, State.SYN_RECEIVED):
            self._connecting.wake()

    def _check_open(self) -> None:
        if self._fileno == -1:
            raise _error(errno.EBADF)

    def _check_not_closed_meanwhile(self) -> None:
        if self._fileno == -1:
            raise trio.ClosedResourceError("another task closed this socket")

    def _connected(self) -> Flow:
        if self._flow is None:
            self._check_open()
            raise _error(errno.ENOTCONN)
        return self._flow


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
