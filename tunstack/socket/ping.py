"""Ping sockets: SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6, as Linux has them.

What is sent is an echo request, from its type on; the identifier and the checksum are set. What is
received is an echo reply, from its type on. In addresses the port means nothing, but for
:meth:`PingSocket.bind`, where it is the identifier.

An ICMP error is told once, by the next call: to a connected socket those that Linux calls fatal,
and with IP_RECVERR or IPV6_RECVERR every error, connected or not. There is no queue of errors
(MSG_ERRQUEUE).

===================  ==============================================================================
SO_DOMAIN, SO_TYPE,  read only
SO_PROTOCOL
SO_ERROR             read only: the error that waits to be told. Reading it forgets it
SO_RCVBUF            octets, not doubled as Linux's are
SO_REUSEADDR         whether another socket may have the same identifier; on at first, as on Linux:
                     the latest one receives the replies
IP_TTL,              of what is sent, from 1 to 255; -1 for the host's default
IPV6_UNICAST_HOPS
IP_TOS, IPV6_TCLASS  the Differentiated Services field of what is sent
IP_RECVTTL,          whether `recvmsg` tells the time to live, or hop limit
IPV6_RECVHOPLIMIT
IP_RECVERR,          see above
IPV6_RECVERR
===================  ==============================================================================
"""

from __future__ import annotations

import errno
import itertools
import socket as stdlib_socket
import struct
from ipaddress import ip_address
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SO_DOMAIN,
    SO_ERROR,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_TYPE,
    SOCK_DGRAM,
    SOL_SOCKET,
)
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

import trio

from tunstack.ip.address import text
from tunstack.ip.family import FAMILIES
from tunstack.socket.options import LARGEST_BUFFER, SMALLEST_BUFFER
from tunstack.socket.state import os_error
from tunstack.socket.waiter import Waiter
from tunstack.stack.echo import Pinger

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from tunstack.ip.datagram import Address
    from tunstack.socket.addresses import AddressFormat
    from tunstack.socket.endpoint import Endpoint
    from tunstack.stack.echo import Reply

# Linux's numbers, where Python has no names, or another system others.
_IP_TOS: Final = 1
_IP_TTL: Final = 2
_IP_RECVERR: Final = 11
_IP_RECVTTL: Final = 12
_IPV6_UNICAST_HOPS: Final = 16
_IPV6_RECVERR: Final = 25
_IPV6_RECVHOPLIMIT: Final = 51
_IPV6_HOPLIMIT: Final = 52
_IPV6_TCLASS: Final = 67

_INT: Final = struct.Struct("i")
_FAMILIES: Final = {family.number: family for family in FAMILIES}
_PROTOCOLS: Final[dict[int, int]] = {AF_INET: IPPROTO_ICMP, AF_INET6: IPPROTO_ICMPV6}
_TTL_MESSAGES: Final[dict[int, tuple[int, int]]] = {
    AF_INET: (IPPROTO_IP, _IP_TTL),
    AF_INET6: (IPPROTO_IPV6, _IPV6_HOPLIMIT),
}
"""Level and type of the ancillary data with a reply's time to live."""
_OPTIONS: Final[dict[tuple[int, int, int], str]] = {
    (AF_INET, IPPROTO_IP, _IP_TTL): "ttl",
    (AF_INET, IPPROTO_IP, _IP_TOS): "tos",
    (AF_INET, IPPROTO_IP, _IP_RECVTTL): "tells_ttl",
    (AF_INET, IPPROTO_IP, _IP_RECVERR): "wants_errors",
    (AF_INET6, IPPROTO_IPV6, _IPV6_UNICAST_HOPS): "ttl",
    (AF_INET6, IPPROTO_IPV6, _IPV6_TCLASS): "tos",
    (AF_INET6, IPPROTO_IPV6, _IPV6_RECVHOPLIMIT): "tells_ttl",
    (AF_INET6, IPPROTO_IPV6, _IPV6_RECVERR): "wants_errors",
}
"""What an option sets, by family, level and number."""
_DEFAULT_TTL: Final = 64

_descriptors: Final = itertools.count(1 << 29)
"""Numbers for `fileno`: no real descriptor's."""


@final
class PingSocket(trio.socket.SocketType):
    """A ping socket on a :class:`~tunstack.Host`; made by :meth:`tunstack.Host.socket`."""

    def __init__(self, endpoint: Endpoint, family: int = AF_INET) -> None:
        self._fileno = next(_descriptors)
        self._family = stdlib_socket.AddressFamily(family)
        self._endpoint = endpoint
        self._echoes = endpoint.stack.echoes
        self._receiving = Waiter()
        self._pinger = Pinger(_FAMILIES[family], self._receiving.wake)
        self._tells_ttl = False
        self._shut_down: set[int] = set()
        endpoint.add_listener(self.close)

    def __repr__(self) -> str:
        if self._fileno == -1:
            return "<tunstack.PingSocket [closed]>"
        return f"<tunstack.PingSocket {self.getsockname()[0]}, identifier {self.getsockname()[1]}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: builtins.type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What it is

    @property
    def family(self) -> stdlib_socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return self._family

    @property
    def type(self) -> stdlib_socket.SocketKind:
        """SOCK_DGRAM."""
        return SOCK_DGRAM

    @property
    def proto(self) -> int:
        """IPPROTO_ICMP or IPPROTO_ICMPV6."""
        return _PROTOCOLS[self._family]

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # trio's name
        """Whether sending was shut down."""
        return stdlib_socket.SHUT_WR in self._shut_down

    def fileno(self) -> int:
        """Return a number that is no descriptor's; -1 once the socket is closed."""
        return self._fileno

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
        await trio.lowlevel.checkpoint()
        raise os_error(errno.EOPNOTSUPP)

    def get_inheritable(self) -> bool:
        """Return False: no child process can have it."""
        self._check_open()
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Do nothing for False; raise OSError (EOPNOTSUPP) for True."""
        self._check_open()
        if inheritable:
            raise os_error(errno.EOPNOTSUPP)

    def _check_open(self) -> None:
        if self._fileno == -1:
            raise os_error(errno.EBADF)
        self._endpoint.check_link()

    # Addresses

    def getsockname(self) -> Any:
        """Return our address, and the identifier; the wildcard and 0 before there are any."""
        self._check_open()
        pinger = self._pinger
        return self._sockaddr(pinger.local or pinger.family.wildcard, pinger.identifier)

    def getpeername(self) -> Any:
        """Return the address and port that it is connected to; raises OSError (ENOTCONN)."""
        self._check_open()
        if self._pinger.remote is None:
            raise os_error(errno.ENOTCONN)
        return self._sockaddr(*self._pinger.remote)

    def _sockaddr(self, address: Address, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        name = text(address)
        return (name, port) if self._family == AF_INET else (name, port, 0, 0)

    async def _resolved(self, address: AddressFormat) -> tuple[Address, int]:
        host, port = _parsed(address)
        wildcard = self._pinger.family.wildcard
        if host == "":
            return wildcard, port
        try:
            packed = ip_address(host.partition("%")[0]).packed
        except ValueError:
            found = await trio.socket.getaddrinfo(host, port, self._family, SOCK_DGRAM)
            packed = ip_address(str(found[0][4][0]).partition("%")[0]).packed
        if len(packed) != len(wildcard):
            raise os_error(errno.EAFNOSUPPORT)
        return packed, port

    def _destination(self, address: Address) -> Address:
        """An address; for the wildcard, as on Linux, this host itself."""
        if any(address):
            return address
        return self._pinger.local or self._endpoint.stack.source_for(address)

    async def bind(self, address: AddressFormat) -> None:
        """Take a local address, and an identifier as the port; the wildcard and 0 stand for any.

        Raises:
            OSError: EADDRNOTAVAIL, EADDRINUSE, EINVAL.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        local, identifier = await self._resolved(address)
        self._check_open()
        self._echoes.bind(self._pinger, local if any(local) else None, identifier)

    async def connect(self, address: AddressFormat) -> None:
        """Send to an address from now on, where no other is given."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        remote, port = await self._resolved(address)
        self._check_open()
        self._echoes.connect(self._pinger, self._destination(remote), port)

    # Options

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """Return an option: an int, or bytes if `buflen` is given."""
        self._check_open()
        value = self._option(level, optname)
        return _INT.pack(value)[:buflen] if buflen else value

    def _option(self, level: int, optname: int) -> int:
        pinger = self._pinger
        if level == SOL_SOCKET:
            if optname == SO_ERROR:
                error = pinger.take_error()
                return 0 if error is None else error.errno or 0
            values = {
                SO_DOMAIN: int(self._family),
                SO_TYPE: int(SOCK_DGRAM),
                SO_PROTOCOL: self.proto,
                SO_RCVBUF: pinger.receive_buffer,
                SO_REUSEADDR: int(pinger.reuse),
            }
            if optname in values:
                return values[optname]
        name = _OPTIONS.get((self._family, level, optname))
        if name is None:
            raise os_error(errno.ENOPROTOOPT)
        if name == "tells_ttl":
            return int(self._tells_ttl)
        if name == "ttl":
            return pinger.ttl or _DEFAULT_TTL
        return int(getattr(pinger, name))

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set an option to an int, or to its bytes."""
        self._check_open()
        if value is None:
            raise os_error(errno.EINVAL)
        if not isinstance(value, int):
            if len(value) < _INT.size:
                raise os_error(errno.EINVAL)
            value = _INT.unpack_from(value)[0]
        pinger = self._pinger
        if (level, optname) == (SOL_SOCKET, SO_RCVBUF):
            pinger.receive_buffer = min(max(value, SMALLEST_BUFFER), LARGEST_BUFFER)
            return
        if (level, optname) == (SOL_SOCKET, SO_REUSEADDR):
            pinger.reuse = value != 0
            return
        name = _OPTIONS.get((self._family, level, optname))
        if name is None:
            raise os_error(errno.ENOPROTOOPT)
        if name == "tells_ttl":
            self._tells_ttl = value != 0
        elif name == "wants_errors":
            pinger.wants_errors = value != 0
        elif name == "ttl":
            if value != -1 and not 1 <= value <= 255:
                raise os_error(errno.EINVAL)
            pinger.ttl = None if value == -1 else value
        else:
            pinger.tos = value & 0xFF

    # Sending

    async def send(self, data: Any, flags: int = 0, /) -> int:
        """Send an echo request to the address that it is connected to; see :meth:`sendto`."""
        return await self._send(data, flags, None)

    async def sendto(self, *args: Any) -> int:
        """Send ``(data[, flags], address)``: an echo request, from its type on.

        It is 8 octets of header, of which type 8 (or 128), code 0 and the sequence number are
        given, and the data. It never waits.

        Raises:
            OSError: EINVAL, it is no echo request; EMSGSIZE; EDESTADDRREQ; EACCES, a broadcast
                address; EPIPE after `shutdown`; or the ICMP error of an earlier request.
        """
        if len(args) not in (2, 3):
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(args)} given)")
        return await self._send(args[0], args[1] if len(args) == 3 else 0, args[-1])

    async def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
        /,
    ) -> int:
        """Send `buffers` as one request; raises OSError (EOPNOTSUPP) for ancillary data."""
        if list(ancdata):
            raise os_error(errno.EOPNOTSUPP)
        return await self._send(b"".join(buffers), flags, address)

    async def _send(self, data: Any, flags: int, address: AddressFormat | None) -> int:
        await trio.lowlevel.checkpoint()
        self._check_open()
        if flags & MSG_OOB:
            raise os_error(errno.EOPNOTSUPP)
        if self.did_shutdown_SHUT_WR:
            raise os_error(errno.EPIPE)
        remote = None
        if address is not None:
            remote = self._destination((await self._resolved(address))[0])
            self._check_open()
        with memoryview(data).cast("B") as view:
            sent = self._echoes.send(self._pinger, view, remote, trio.current_time())
        self._endpoint.flush()
        return sent

    async def wait_writable(self) -> None:
        """Return at once: sending never waits."""
        await trio.lowlevel.checkpoint()
        self._check_open()

    # Receiving

    def is_readable(self) -> bool:
        """Whether there is a reply, or an error to tell."""
        self._check_open()
        return self._pinger.readable

    async def _receive(self, flags: int) -> Reply | None:
        """The next reply; None after `shutdown`."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._receiving.check_free()
        while True:
            reply = self._echoes.receive(self._pinger, peek=flags & MSG_PEEK != 0)
            if reply is not None or stdlib_socket.SHUT_RD in self._shut_down:
                return reply
            await self._receiving.wait()
            if self._fileno == -1:
                raise trio.ClosedResourceError(
                    "this socket was closed, or its host's device is gone"
                )

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        """Receive an echo reply, from its type on; what `buflen` has no room for is lost.

        Raises:
            OSError: an ICMP error came about a request; EBADF, ENETDOWN.
            trio.BusyResourceError: another task waits here.
            trio.ClosedResourceError: the socket was closed meanwhile, or its host's device is gone.
        """
        return (await self.recvfrom(buflen, flags))[0]

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """As :meth:`recv`; returns the reply, and where it came from, with port 0."""
        data, _, _, address = await self.recvmsg(bufsize, 0, flags)
        return data, address

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As :meth:`recv`, into `buffer`, at most `nbytes` octets if not 0; returns how many."""
        return (await self.recvfrom_into(buffer, nbytes, flags))[0]

    async def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """As :meth:`recv_into`; returns how many octets, and where they came from."""
        with memoryview(buffer).cast("B") as view:
            data, address = await self.recvfrom(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data), address

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        """As :meth:`recvfrom`, with ancillary data and flags: MSG_TRUNC, MSG_CTRUNC.

        With IP_RECVTTL the ancillary data is ``(IPPROTO_IP, IP_TTL, int)``, with IPV6_RECVHOPLIMIT
        ``(IPPROTO_IPV6, IPV6_HOPLIMIT, int)``.
        """
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        reply = await self._receive(flags)
        if reply is None:
            return b"", [], 0, None
        told = 0
        ancillary: list[tuple[int, int, bytes]] = []
        if self._tells_ttl:
            if ancbufsize >= stdlib_socket.CMSG_LEN(_INT.size):
                ancillary.append((*_TTL_MESSAGES[self._family], _INT.pack(reply.ttl)))
            else:
                told |= stdlib_socket.MSG_CTRUNC
        if len(reply.data) > bufsize:
            told |= MSG_TRUNC
        return reply.data[:bufsize], ancillary, told, self._sockaddr(reply.source, 0)

    # Closing

    def shutdown(self, flag: int) -> None:
        """Stop sending, receiving, or both; raises OSError (ENOTCONN, EINVAL)."""
        self._check_open()
        if self._pinger.remote is None:
            raise os_error(errno.ENOTCONN)
        both = (stdlib_socket.SHUT_RD, stdlib_socket.SHUT_WR)
        if flag not in (*both, stdlib_socket.SHUT_RDWR):
            raise os_error(errno.EINVAL)
        self._shut_down.update(both if flag == stdlib_socket.SHUT_RDWR else (flag,))
        self._receiving.wake()

    def close(self) -> None:
        """Release the identifier; idempotent. A task that waits wakes with ClosedResourceError."""
        if self._fileno == -1:
            return
        self._fileno = -1
        self._endpoint.remove_listener(self.close)
        self._echoes.close(self._pinger)
        self._receiving.wake()


def _parsed(address: AddressFormat) -> tuple[str, int]:
    """Host and port of an address, with or without flow info and scope."""
    if not isinstance(address, tuple) or len(address) not in (2, 4):
        raise ValueError("address should be a (host, port[, flowinfo, scope_id]) tuple")
    host, port = address[0], int(address[1])
    if not 0 <= port <= 0xFFFF:
        raise OverflowError("port must be 0-65535.")
    return (host.decode("ascii") if isinstance(host, bytes) else host), port


__all__ = ["PingSocket"]
