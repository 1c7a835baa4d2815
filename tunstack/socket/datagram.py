"""The UDP socket: names, options, sending, receiving."""

from __future__ import annotations

import errno
import operator
import socket as stdlib_socket
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from tunstack.socket.addresses import printed, resolved, resolved_now, sockaddr, wildcard
from tunstack.socket.ancillary import (
    Control,
    Message,
    fitted,
    read_control,
    written_control,
    written_error,
)
from tunstack.socket.datagram_options import DatagramState, get_option, set_option
from tunstack.socket.descriptors import next_descriptor
from tunstack.socket.host_socket import HostSocket
from tunstack.socket.state import os_error
from tunstack.socket.stdlib import StdlibSocket
from tunstack.socket.waiter import Waiter
from tunstack.udp.receive_queue import OVERHEAD

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from tunstack.ip.datagram import Address
    from tunstack.socket.addresses import AddressFormat
    from tunstack.socket.endpoint import Endpoint
    from tunstack.stack.datagrams import Route
    from tunstack.udp.receive_queue import Received

# As plain numbers: Python takes its time over operations of its flags.
_PEEK: Final = int(stdlib_socket.MSG_PEEK)
_TRUNCATED: Final = int(stdlib_socket.MSG_TRUNC)
_CONTROL_TRUNCATED: Final = int(stdlib_socket.MSG_CTRUNC)
_ERROR_QUEUE: Final = int(stdlib_socket.MSG_ERRQUEUE)
_OUT_OF_BAND: Final = int(stdlib_socket.MSG_OOB)
_MORE: Final = int(stdlib_socket.MSG_MORE)

_MOST_ROUTES: Final = 256
"""Destinations for which a socket keeps the headers."""

_NO_CONTROL: Final = Control()


@final
class DatagramSocket(HostSocket):
    """A UDP socket on a :class:`~tunstack.Host`; made by :meth:`tunstack.Host.socket`.

    It does what trio's do, over Linux's: see udp(7) and ip(7); the options stand in
    :mod:`tunstack.socket.datagram_options`. Beside those it knows :meth:`disconnect` and
    :attr:`dropped`.
    """

    def __init__(self, endpoint: Endpoint, family: int = stdlib_socket.AF_INET) -> None:
        self._fileno = next_descriptor()
        self._endpoint = endpoint
        self._state = state = DatagramState(endpoint, family)
        self._family = family
        self._udp = state.udp
        self._datagrams = endpoint.stack.datagrams
        self._datagrams.open(self._udp)
        self._receiving = Waiter()
        self._sending = Waiter()
        self._udp.changed = self._receiving.wake
        self._backlog = 0  # Octets sent since the link last had taken all.
        self._shut_down_write = False

    def __del__(self) -> None:
        """Release the port, if the socket was not closed."""
        if getattr(self, "_fileno", -1) != -1 and hasattr(self, "_datagrams"):
            self._fileno = -1
            self._datagrams.close(self._udp)

    def __repr__(self) -> str:
        if self._fileno == -1:
            return "<tunstack.DatagramSocket [closed]>"
        if self._udp.port == 0:
            return "<tunstack.DatagramSocket [not bound]>"
        name = printed(self._name())
        if self._udp.remote is None:
            return f"<tunstack.DatagramSocket bound to {name}>"
        peer = printed(self.getpeername())
        return f"<tunstack.DatagramSocket {name} to {peer}>"

    @cached_property
    def _sock(self) -> StdlibSocket:
        """trio's own sockets have one by that name, a `socket.socket`; anyio asks for it."""
        return StdlibSocket.of(self)

    # What it is

    @property
    def family(self) -> stdlib_socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return stdlib_socket.AddressFamily(self._family)

    @property
    def type(self) -> stdlib_socket.SocketKind:
        """SOCK_DGRAM."""
        return stdlib_socket.SOCK_DGRAM

    @property
    def proto(self) -> int:
        """IPPROTO_UDP."""
        return stdlib_socket.IPPROTO_UDP

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # trio's name
        """Whether SHUT_WR was called."""
        return self._shut_down_write

    @property
    def dropped(self) -> int:
        """Datagrams that were dropped, as SO_RCVBUF was full."""
        return self._udp.dropped

    def fileno(self) -> int:
        """Return a number that is no descriptor's; -1 once the socket is closed."""
        return self._fileno

    def get_inheritable(self) -> bool:
        """Return False: no child process can have it."""
        self._check_open()
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Do nothing for False; raise OSError (EOPNOTSUPP) for True."""
        self._check_open()
        if inheritable:
            raise os_error(errno.EOPNOTSUPP)

    def detach(self) -> NoReturn:
        """Raise OSError (EOPNOTSUPP): there is no descriptor to hand out."""
        raise os_error(errno.EOPNOTSUPP)

    def dup(self) -> NoReturn:
        """Raise OSError (EOPNOTSUPP): there is no descriptor to duplicate."""
        raise os_error(errno.EOPNOTSUPP)

    def listen(self, backlog: int = 128) -> NoReturn:
        """Raise OSError (EOPNOTSUPP)."""
        raise os_error(errno.EOPNOTSUPP)

    async def accept(self) -> NoReturn:
        """Raise OSError (EOPNOTSUPP)."""
        raise os_error(errno.EOPNOTSUPP)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: builtins.type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._fileno == -1:
            raise os_error(errno.EBADF)
        if self._endpoint.ended:
            self._endpoint.check_link()

    # Names

    def getsockname(self) -> tuple[Any, ...]:
        """Return our address and port; ``("0.0.0.0", 0)`` before there are any."""
        self._check_open()
        return self._name()

    def _name(self) -> tuple[Any, ...]:
        local = self._udp.local
        if local is None or not any(local):
            local = wildcard(self._family)
        return sockaddr(local, self._udp.port, self._family)

    def getpeername(self) -> tuple[Any, ...]:
        """Return the peer's address and port; raises OSError (ENOTCONN)."""
        self._check_open()
        if self._udp.remote is None:
            raise os_error(errno.ENOTCONN)
        return sockaddr(self._udp.remote, self._udp.remote_port, self._family)

    async def _resolved(self, address: AddressFormat) -> tuple[Address, int]:
        return await resolved(address, self._family, v6only=self._state.v6only)

    async def bind(self, address: AddressFormat) -> None:
        """Take a local address and port; ``"0.0.0.0"`` and 0 stand for any.

        Raises:
            OSError: EADDRNOTAVAIL for an address that is not the host's, EADDRINUSE, EINVAL.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._bind(*await self._resolved(address))

    def bind_now(self, address: AddressFormat) -> None:
        """Do what :meth:`bind` does, as a plain call: to look up a name holds up everything."""
        self._check_open()
        self._bind(*resolved_now(address, self._family, v6only=self._state.v6only))

    def _bind(self, local: Address, port: int) -> None:
        self._check_open()
        self._endpoint.check_link()
        dual_stack = self._family == stdlib_socket.AF_INET6 and not self._state.v6only
        where = None if dual_stack and local == wildcard(self._family) else local
        self._datagrams.bind(self._udp, where, port)
        self._state.routes.clear()

    async def connect(self, address: AddressFormat) -> None:
        """Set the peer: where `send` sends to, and from where alone it receives.

        Raises:
            OSError: ENETUNREACH, EACCES (a broadcast address without SO_BROADCAST), EAGAIN (no
                port is free).
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        remote, port = await self._resolved(address)
        self._check_open()
        self._endpoint.check_link()
        self._datagrams.connect(self._udp, remote, port)
        self._state.routes.clear()

    def disconnect(self) -> None:
        """Forget the peer: what connect(2) to AF_UNSPEC does, for which Python has no call.

        A port that `bind` did not choose is released.
        """
        self._check_open()
        self._datagrams.disconnect(self._udp)
        self._state.routes.clear()

    # Options

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """Return a socket option: an int, or bytes if `buflen` is given.

        What there is, and what it does, stands in :mod:`tunstack.socket.datagram_options`.
        """
        self._check_open()
        return get_option(self._state, level, optname, buflen)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set a socket option to an int or to bytes."""
        self._check_open()
        if value is None:
            raise os_error(errno.EINVAL)
        set_option(self._state, level, optname, value)

    # Closing

    def shutdown(self, flag: int) -> None:
        """Let `send` raise EPIPE (SHUT_WR), or `recv` return at once (SHUT_RD), or both.

        As on Linux, of a socket that is not connected it raises OSError (ENOTCONN), and does it.
        """
        self._check_open()
        if flag not in (stdlib_socket.SHUT_RD, stdlib_socket.SHUT_WR, stdlib_socket.SHUT_RDWR):
            raise os_error(errno.EINVAL)
        if flag != stdlib_socket.SHUT_WR:
            self._udp.receive_shut_down = True
            self._receiving.wake()
        if flag != stdlib_socket.SHUT_RD:
            self._udp.send_shut_down = True
        if self._udp.remote is None:
            raise os_error(errno.ENOTCONN)
        self._shut_down_write |= flag != stdlib_socket.SHUT_RD

    def close(self) -> None:
        """Release the port, and what was received; idempotent.

        Tasks that wait in this socket wake with `trio.ClosedResourceError`.
        """
        if self._fileno == -1:
            return
        self._fileno = -1
        self._datagrams.close(self._udp)
        self._receiving.wake()
        self._sending.wake()

    # Receiving

    async def _receive(self, flags: int) -> Received | None:
        """Wait for a datagram; None after SHUT_RD.

        Raises:
            OSError: The pending error; EBADF, ENETDOWN.
            trio.BusyResourceError: Another task waits.
        """
        udp = self._udp
        if self._fileno == -1 or self._endpoint.ended:
            await checkpoint_if_cancelled()  # As in trio, a cancellation comes first.
            self._check_open()
        if udp.queue.items or udp.readable:
            await checkpoint_if_cancelled()
            received = self._take(flags)
            await cancel_shielded_checkpoint()
            return received
        while True:
            await self._receiving.wait()
            self._check_not_closed_meanwhile()
            if udp.readable:
                return self._take(flags)

    def _take(self, flags: int) -> Received | None:
        udp = self._udp
        if udp.error:
            self._endpoint.check_link()
            raise os_error(udp.take_error())
        if not udp.queue.items:
            return None
        return udp.queue.items[0] if flags & _PEEK else self._datagrams.take(udp)

    def _check_not_closed_meanwhile(self) -> None:
        if self._fileno == -1:
            raise trio.ClosedResourceError("another task closed this socket")

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        """Receive a datagram; of a longer one, the first `buflen` octets.

        With ``MSG_PEEK`` it stays where it is. ``MSG_DONTWAIT`` changes nothing, as for trio's own
        sockets. After `shutdown` of receiving it returns ``b""``.

        Raises:
            OSError: ECONNREFUSED and what else ICMP told of datagrams that were sent; EBADF.
            trio.BusyResourceError: another task waits to receive.
            trio.ClosedResourceError: the socket was closed meanwhile.
        """
        data, _ = await self.recvfrom(buflen, flags)
        return data

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive; returns the data and the source's address: None after `shutdown`."""
        size = operator.index(bufsize)
        if size < 0:
            raise ValueError("negative buffersize in recvfrom")
        if flags & _ERROR_QUEUE:
            data, _, _, address = await self.recvmsg(size, 0, flags)
            return data, address
        received = await self._receive(flags)
        if received is None:
            return b"", None
        data = received[0]
        source = sockaddr(received[1], received[2], self._family)
        return data if len(data) <= size else data[:size], source

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into `buffer`, at most `nbytes` octets if not 0; returns how many.

        With ``MSG_TRUNC`` it returns the datagram's length, also where that is more.
        """
        return (await self.recvfrom_into(buffer, nbytes, flags))[0]

    async def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """As :meth:`recv_into`; returns the source's address as well."""
        with memoryview(buffer).cast("B") as view:
            if nbytes < 0:
                raise ValueError("negative buffersize in recvfrom_into")
            if nbytes > len(view):
                raise ValueError("nbytes is greater than the length of the buffer")
            given, _, _, address = await self._receive_into([view[: nbytes or len(view)]], 0, flags)
            return given, address

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[Message], int, Any]:
        """Receive; returns the data, the control messages, the flags and the source's address.

        The flags are MSG_TRUNC (the datagram was longer), MSG_CTRUNC (the control messages were),
        MSG_ERRQUEUE. With the flag MSG_ERRQUEUE it waits for an entry of the error queue
        (IP_RECVERR), and returns the data and the destination of the datagram that failed.
        """
        size = operator.index(bufsize)
        if size < 0 or ancbufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        data, messages, flags, address = await self._receive_message(ancbufsize, flags)
        if len(data) > size:
            return data[:size], messages, flags | _TRUNCATED, address
        return data, messages, flags, address

    async def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[Message], int, Any]:
        """As :meth:`recvmsg`, into `buffers`, one after another."""
        with ExitStack() as stack:
            views = [stack.enter_context(memoryview(each).cast("B")) for each in buffers]
            return await self._receive_into(views, ancbufsize, flags)

    async def _receive_into(
        self, views: list[memoryview], ancbufsize: int, flags: int
    ) -> tuple[int, list[Message], int, Any]:
        data, messages, told, address = await self._receive_message(ancbufsize, flags)
        given = 0
        for view in views:
            piece = data[given : given + len(view)]
            view[: len(piece)] = piece
            given += len(piece)
        if given < len(data):
            told |= _TRUNCATED
        return len(data) if flags & _TRUNCATED else given, messages, told, address

    async def _receive_message(
        self, ancbufsize: int, flags: int
    ) -> tuple[bytes, list[Message], int, Any]:
        if flags & _ERROR_QUEUE:
            return await self._receive_error(ancbufsize)
        received = await self._receive(flags)
        if received is None:
            return b"", [], 0, None
        messages, cut = fitted(written_control(self._state, received), ancbufsize)
        address = sockaddr(received[1], received[2], self._family)
        return received[0], messages, _CONTROL_TRUNCATED * cut, address

    async def _receive_error(self, ancbufsize: int) -> tuple[bytes, list[Message], int, Any]:
        await checkpoint_if_cancelled()
        self._check_open()
        waited = False
        while not self._udp.errors:
            await self._receiving.wait()
            waited = True
            self._check_not_closed_meanwhile()
            if self._endpoint.ended:
                self._endpoint.check_link()
        error = self._udp.errors.popleft()
        self._udp.error = self._udp.errors[0].errno if self._udp.errors else 0
        messages, cut = fitted(written_error(error), ancbufsize)
        if not waited:
            await cancel_shielded_checkpoint()
        address = sockaddr(error.remote, error.remote_port, self._family)
        return error.data, messages, _ERROR_QUEUE | _CONTROL_TRUNCATED * cut, address

    # Sending

    async def send(self, bytes: Any, flags: int = 0, /) -> int:
        """Send a datagram to the peer; returns its length.

        It waits only where the device has taken less than SO_SNDBUF allows to wait. ``MSG_MORE`` is
        not known.

        Raises:
            OSError: EDESTADDRREQ, it is not connected; EMSGSIZE, it is longer than 65,507 octets,
                or than the path's MTU and must not be fragmented; EPIPE, after `shutdown`;
                ECONNREFUSED and what else ICMP told of datagrams before.
            trio.BusyResourceError: another task waits to send.
        """
        return await self._send(bytes, flags, None)

    async def sendto(self, *args: Any) -> int:
        """Send ``(data[, flags], address)``; returns the length.

        Raises:
            OSError: as :meth:`send` does; ENETUNREACH, EACCES (a broadcast address without
                SO_BROADCAST), EAGAIN (no port is free), EINVAL (port 0).
        """
        if not 2 <= len(args) <= 3:
            raise TypeError("sendto takes (data, address) or (data, flags, address)")
        return await self._send(args[0], args[1] if len(args) == 3 else 0, args[-1])

    async def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[tuple[int, int, Any]] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
        /,
    ) -> int:
        """Send `buffers`, one after another, as a datagram; returns its length.

        Control messages: IP_PKTINFO (the source address), IP_TTL, IP_TOS, UDP_SEGMENT.
        """
        control = read_control(ancdata)
        return await self._send(b"".join(buffers), flags, address, control)

    async def _send(
        self,
        data: Any,
        flags: int,
        address: AddressFormat | None,
        control: Control = _NO_CONTROL,
    ) -> int:
        await checkpoint_if_cancelled()
        if type(data) is not bytes:
            with memoryview(data) as view:
                data = view.tobytes()
        self._check_open()
        if flags & (_OUT_OF_BAND | _MORE):
            raise os_error(errno.EOPNOTSUPP)
        plain = control is _NO_CONTROL
        route = self._state.routes.get(address) if plain and _is_plain(address) else None
        if route is None:
            route = await self._find_route(address, control)
        if self._backlog > self._udp.send_buffer:
            await self._wait_for_room()
        size = self._udp.segment_size if control.segment_size is None else control.segment_size
        endpoint = self._endpoint
        endpoint.send_datagram(self._udp, route, data, size)
        if endpoint.stack.outgoing:
            self._backlog += len(data) + OVERHEAD
        else:
            self._backlog = 0
        await cancel_shielded_checkpoint()
        return len(data)

    async def _find_route(self, address: AddressFormat | None, control: Control) -> Route:
        self._endpoint.check_link()
        udp = self._udp
        self._datagrams.bind_automatically(udp)  # As on Linux, even if it fails then.
        if address is not None:
            remote, port = await self._resolved(address)
            self._check_open()
        elif udp.remote is not None:
            remote, port = udp.remote, udp.remote_port
        else:
            raise os_error(errno.EDESTADDRREQ)
        route = self._datagrams.route(
            udp, remote, port, source=control.source, ttl=control.ttl, tos=control.tos
        )
        if control is _NO_CONTROL and (
            address is None or address == sockaddr(remote, port, self._family)[: len(address)]
        ):
            routes = self._state.routes
            if len(routes) >= _MOST_ROUTES:
                routes.clear()
            routes[address] = route
        return route

    async def _wait_for_room(self) -> None:
        """Wait until the link has taken what it could not take at once."""
        self._sending.check_free()
        self._endpoint.write()
        if self._endpoint.stack.outgoing:
            await self._endpoint.wait_drained()
            self._check_not_closed_meanwhile()
        self._backlog = 0

    async def wait_writable(self) -> None:
        """Wait until `send` would not wait."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        if self._backlog > self._udp.send_buffer:
            await self._wait_for_room()

    def is_readable(self) -> bool:
        """Whether `recv` would return at once."""
        self._check_open()
        return self._udp.readable


def _is_plain(address: AddressFormat | None) -> bool:
    """Whether its route may be remembered: it is the peer, or an address."""
    return address is None or (type(address) is tuple and type(address[0]) is str)
