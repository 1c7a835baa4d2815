"""The base of datagram sockets, UDP and ping: names, shutdown, close, and the calls for messages.

The calls that receive come down to :meth:`DatagramBase._receive_message`, those that send to
:meth:`DatagramBase._send`.
"""

from __future__ import annotations

import errno
import operator
import socket as stdlib_socket
from abc import abstractmethod
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

import trio

from tunstack.ip.errors import os_error
from tunstack.socket.addresses import mapped_is_invalid, resolved, resolved_now, sockaddr
from tunstack.socket.descriptors import next_descriptor
from tunstack.socket.host_socket import HostSocket, scatter
from tunstack.socket.stdlib import StdlibSocket
from tunstack.socket.waiter import Waiter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.ip.datagram import Address
    from tunstack.socket.addresses import AddressFormat
    from tunstack.socket.ancillary import Message
    from tunstack.socket.endpoint import Endpoint

# As plain numbers: operations on Python's flags are slow.
_TRUNCATED: Final = int(stdlib_socket.MSG_TRUNC)
_SHUT_RD: Final = stdlib_socket.SHUT_RD
_SHUT_WR: Final = stdlib_socket.SHUT_WR
_DIRECTIONS: Final = frozenset({_SHUT_RD, _SHUT_WR, stdlib_socket.SHUT_RDWR})


class DatagramBase(HostSocket):
    """A socket of type SOCK_DGRAM."""

    _TRUNC_TELLS_LENGTH: ClassVar[bool]
    """Whether with MSG_TRUNC the calls return the message's length, also where that is more."""

    def __init__(self, endpoint: Endpoint, family: int) -> None:
        self._fileno = next_descriptor()
        self._endpoint = endpoint
        self._family = family
        self._receiving = Waiter()
        self._shut_down_write = False

    # What each protocol does

    @property
    @abstractmethod
    def _v6only(self) -> bool:
        """Whether an AF_INET6 socket is not for IPv4."""

    @abstractmethod
    def _names(self) -> tuple[tuple[Address, int], tuple[Address, int] | None]:
        """Our address and port, the wildcard and 0 if not bound, and the peer's if connected."""

    @abstractmethod
    def _bind(self, local: Address, port: int) -> None:
        """Bind to an address, or to a wildcard, and a port."""

    @abstractmethod
    def _connect(self, remote: Address, port: int) -> None:
        """Set the peer."""

    @abstractmethod
    def _shut_down(self, *, receiving: bool, sending: bool) -> None:
        """Stop receiving, sending or both."""

    @abstractmethod
    def _release(self) -> None:
        """Give back port and memory: the socket is closed."""

    @abstractmethod
    async def _receive_message(
        self, ancbufsize: int, flags: int
    ) -> tuple[bytes, list[Message], int, Any]:
        """Receive; returns all of the data, control messages, flags, the source's address."""

    @abstractmethod
    async def _send(self, data: Any, flags: int, address: AddressFormat | None) -> int:
        """Send `data` to an address, or to the peer; returns its length."""

    # Properties

    @cached_property
    def _sock(self) -> StdlibSocket:
        """The `socket.socket` of this socket, under trio's name; anyio reads it."""
        return StdlibSocket.of(self)

    @property
    def family(self) -> stdlib_socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return stdlib_socket.AddressFamily(self._family)

    @property
    def type(self) -> stdlib_socket.SocketKind:
        """SOCK_DGRAM."""
        return stdlib_socket.SOCK_DGRAM

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # trio's name
        """Whether SHUT_WR was called."""
        return self._shut_down_write

    def listen(self, backlog: int = 128) -> NoReturn:
        """Raise OSError (EOPNOTSUPP)."""
        raise os_error(errno.EOPNOTSUPP)

    async def accept(self) -> NoReturn:
        """Raise OSError (EOPNOTSUPP)."""
        await trio.lowlevel.checkpoint()
        raise os_error(errno.EOPNOTSUPP)

    def _check_open(self) -> None:
        if self._fileno == -1:
            raise os_error(errno.EBADF)
        if self._endpoint.ended:
            self._endpoint.check_link()

    def _check_not_closed_meanwhile(self) -> None:
        if self._fileno == -1:
            raise trio.ClosedResourceError("this socket was closed, or its host's device is gone")

    # Names

    def getsockname(self) -> tuple[Any, ...]:
        """Return our address and port; ``("0.0.0.0", 0)`` if not bound."""
        self._check_open()
        return sockaddr(*self._names()[0], self._family)

    def getpeername(self) -> tuple[Any, ...]:
        """Return the peer's address and port; raises OSError (ENOTCONN)."""
        self._check_open()
        peer = self._names()[1]
        if peer is None:
            raise os_error(errno.ENOTCONN)
        return sockaddr(*peer, self._family)

    async def _resolved(self, address: AddressFormat) -> tuple[Address, int]:
        resolver = self._endpoint.resolver
        found = await resolved(address, self._family, v6only=self._v6only, resolver=resolver)
        self._check_open()
        return found

    async def bind(self, address: AddressFormat) -> None:
        """Bind a local address and port; ``"0.0.0.0"`` for all addresses, 0 for any port.

        Raises:
            OSError: EADDRNOTAVAIL for an address that is not the host's, EADDRINUSE, EINVAL.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        with mapped_is_invalid():
            found = await self._resolved(address)
        self._endpoint.check_link()
        self._bind(*found)

    def bind_now(self, address: AddressFormat) -> None:
        """Bind without awaiting; looking up a name blocks the event loop."""
        self._check_open()
        with mapped_is_invalid():
            found = resolved_now(address, self._family, v6only=self._v6only)
        self._endpoint.check_link()
        self._bind(*found)

    async def connect(self, address: AddressFormat) -> None:
        """Set the peer, to which `send` sends; a UDP socket receives from it alone.

        Raises:
            OSError: ENETUNREACH, EACCES (a broadcast address without SO_BROADCAST), EAGAIN (no
                port is free).
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        found = await self._resolved(address)
        self._endpoint.check_link()
        self._connect(*found)

    # Closing

    def shutdown(self, flag: int) -> None:
        """Let `send` raise EPIPE (SHUT_WR), or `recv` return at once (SHUT_RD), or both.

        As on Linux, of a socket that is not connected it raises OSError (ENOTCONN), and does it.
        """
        self._check_open()
        if flag not in _DIRECTIONS:
            raise os_error(errno.EINVAL)
        self._shut_down(receiving=flag != _SHUT_WR, sending=flag != _SHUT_RD)
        if flag != _SHUT_WR:
            self._receiving.wake()
        if self._names()[1] is None:
            raise os_error(errno.ENOTCONN)
        self._shut_down_write |= flag != _SHUT_RD

    def close(self) -> None:
        """Release the port, and what was received; idempotent.

        Tasks that wait in this socket wake with `trio.ClosedResourceError`.
        """
        if self._fileno == -1:
            return
        self._fileno = -1
        self._release()
        self._receiving.wake()

    # Receiving

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        """Receive a message; of a longer one, the first `buflen` octets.

        With ``MSG_PEEK`` it stays where it is. ``MSG_DONTWAIT`` changes nothing, as for trio's own
        sockets. After `shutdown` of receiving it returns ``b""``.

        Raises:
            OSError: ECONNREFUSED and other ICMP errors about messages that were sent; EBADF.
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
        data, _, _, address = await self._receive_message(0, flags)
        return data[:size], address

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into `buffer`, at most `nbytes` octets if not 0; returns how many.

        With ``MSG_TRUNC`` it returns a UDP datagram's length, also where that is more.
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

        The flags are MSG_TRUNC (the message was longer), MSG_CTRUNC (the control messages were),
        MSG_ERRQUEUE. With the flag MSG_ERRQUEUE a UDP socket waits for an entry of the error queue
        (IP_RECVERR), and returns the data and the destination of the datagram that failed.
        """
        size = operator.index(bufsize)
        if size < 0 or ancbufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        data, messages, told, address = await self._receive_message(ancbufsize, flags)
        if len(data) > size:
            return data[:size], messages, told | _TRUNCATED, address
        return data, messages, told, address

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
        given = scatter(data, views)
        if given < len(data):
            told |= _TRUNCATED
            if flags & _TRUNCATED and self._TRUNC_TELLS_LENGTH:
                given = len(data)
        return given, messages, told, address

    # Sending

    async def send(self, bytes: Any, flags: int = 0, /) -> int:
        """Send a message to the peer; returns its length.

        It waits only where the device has taken less than SO_SNDBUF allows to wait. ``MSG_MORE`` is
        not supported.

        Raises:
            OSError: EDESTADDRREQ, it is not connected; EMSGSIZE, the message is longer than an IP
                packet can be, or than the path's MTU and must not be fragmented; EPIPE, after
                `shutdown`; EINVAL, of a ping socket: it is no echo request; ECONNREFUSED and other
                ICMP errors about messages before.
            trio.BusyResourceError: another task waits to send.
        """
        return await self._send(bytes, flags, None)

    async def sendto(self, *args: Any) -> int:
        """Send ``(data[, flags], address)``; returns the length.

        Raises:
            OSError: as :meth:`send` does; ENETUNREACH, EACCES (a broadcast address without
                SO_BROADCAST), EAGAIN (no port is free), EINVAL (port 0 of UDP).
        """
        if not 2 <= len(args) <= 3:
            raise TypeError("sendto takes (data, address) or (data, flags, address)")
        return await self._send(args[0], args[1] if len(args) == 3 else 0, args[-1])
