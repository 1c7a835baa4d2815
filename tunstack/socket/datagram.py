"""The UDP socket: names, options, sending, receiving."""

from __future__ import annotations

import errno
import operator
import socket as stdlib_socket
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from tunstack.ip.errors import os_error
from tunstack.socket.addresses import printed, sockaddr, wildcard
from tunstack.socket.ancillary import (
    Control,
    Message,
    fitted,
    read_control,
    written_control,
    written_error,
)
from tunstack.socket.datagram_base import DatagramBase
from tunstack.socket.options.datagram import DatagramState, get_option, set_option
from tunstack.socket.waiter import Waiter
from tunstack.udp.receive_queue import OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.ip.datagram import Address
    from tunstack.socket.addresses import AddressFormat
    from tunstack.socket.endpoint import Endpoint
    from tunstack.stack.udp_route import Route
    from tunstack.udp.receive_queue import Received

# As plain numbers: operations on Python's flags are slow.
_PEEK: Final = int(stdlib_socket.MSG_PEEK)
_CONTROL_TRUNCATED: Final = int(stdlib_socket.MSG_CTRUNC)
_ERROR_QUEUE: Final = int(stdlib_socket.MSG_ERRQUEUE)
_OUT_OF_BAND: Final = int(stdlib_socket.MSG_OOB)
_MORE: Final = int(stdlib_socket.MSG_MORE)

_MOST_ROUTES: Final = 256
"""Destinations for which a socket keeps the headers."""

_NO_CONTROL: Final = Control()


@final
class DatagramSocket(DatagramBase):
    """A UDP socket on a :class:`~tunstack.Host`; made by :meth:`tunstack.Host.socket`.

    It does what trio's do, over Linux's: see udp(7) and ip(7); the options stand in
    :mod:`tunstack.socket.options.datagram`. Beside those it knows :meth:`disconnect` and
    :attr:`dropped`.
    """

    _TRUNC_TELLS_LENGTH: ClassVar[bool] = True

    def __init__(self, endpoint: Endpoint, family: int = stdlib_socket.AF_INET) -> None:
        super().__init__(endpoint, family)
        self._state = state = DatagramState(endpoint, family)
        self._udp = state.udp
        self._datagrams = endpoint.stack.datagrams
        self._datagrams.open(self._udp)
        self._sending = Waiter()
        self._udp.changed = self._receiving.wake
        self._backlog = 0  # Octets sent since the link last had taken all.

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
        local, remote = self._names()
        name = printed(sockaddr(*local, self._family))
        if remote is None:
            return f"<tunstack.DatagramSocket bound to {name}>"
        return f"<tunstack.DatagramSocket {name} to {printed(sockaddr(*remote, self._family))}>"

    # Properties

    @property
    def proto(self) -> int:
        """IPPROTO_UDP."""
        return stdlib_socket.IPPROTO_UDP

    @property
    def dropped(self) -> int:
        """Datagrams that were dropped, as SO_RCVBUF was full."""
        return self._udp.dropped

    # Names

    @property
    def _v6only(self) -> bool:
        return self._state.v6only

    def _names(self) -> tuple[tuple[Address, int], tuple[Address, int] | None]:
        udp = self._udp
        local = udp.local
        if local is None or not any(local):
            local = wildcard(self._family)
        return (local, udp.port), None if udp.remote is None else (udp.remote, udp.remote_port)

    def _bind(self, local: Address, port: int) -> None:
        dual_stack = self._family == stdlib_socket.AF_INET6 and not self._state.v6only
        where = None if dual_stack and local == wildcard(self._family) else local
        self._datagrams.bind(self._udp, where, port)
        self._state.routes.clear()

    def _connect(self, remote: Address, port: int) -> None:
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

        What there is, and what it does, stands in :mod:`tunstack.socket.options.datagram`.
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

    def _shut_down(self, *, receiving: bool, sending: bool) -> None:
        self._udp.receive_shut_down |= receiving
        self._udp.send_shut_down |= sending

    def _release(self) -> None:
        self._datagrams.close(self._udp)
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

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive; returns the data and the source's address: None after `shutdown`."""
        size = operator.index(bufsize)
        if size < 0:
            raise ValueError("negative buffersize in recvfrom")
        if flags & _ERROR_QUEUE:
            return await super().recvfrom(size, flags)
        received = await self._receive(flags)
        if received is None:
            return b"", None
        data = received[0]
        source = sockaddr(received[1], received[2], self._family)
        return data if len(data) <= size else data[:size], source

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
