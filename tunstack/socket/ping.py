"""Ping sockets: SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6, as Linux has them.

What is sent is an echo request, from its type on; the identifier and the checksum are set. What is
received is an echo reply, from its type on. In addresses the port means nothing, but for
:meth:`PingSocket.bind`, where it is the identifier.

An ICMP error is told once, by the next call: to a connected socket those that Linux calls fatal,
and with IP_RECVERR or IPV6_RECVERR every error, connected or not. There is no queue of errors
(MSG_ERRQUEUE). The options are in :mod:`tunstack.socket.options.ping`.
"""

from __future__ import annotations

import errno
import struct
from socket import AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, MSG_CTRUNC, MSG_OOB, MSG_PEEK
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

import trio

from tunstack.ip.address import text
from tunstack.ip.errors import os_error
from tunstack.ip.family import FAMILIES
from tunstack.socket.addresses import mapped_is_invalid, sockaddr
from tunstack.socket.ancillary import fitted
from tunstack.socket.datagram_base import DatagramBase
from tunstack.socket.options.ping import IP_TTL, get_option, set_option
from tunstack.stack.echo import Pinger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.ip.datagram import Address
    from tunstack.socket.addresses import AddressFormat
    from tunstack.socket.ancillary import Message
    from tunstack.socket.endpoint import Endpoint
    from tunstack.stack.echo import Reply

_IPV6_HOPLIMIT: Final = 52
_INT: Final = struct.Struct("i")
_FAMILIES: Final = {family.number: family for family in FAMILIES}
_TTL_MESSAGES: Final[dict[int, tuple[int, int]]] = {
    AF_INET: (IPPROTO_IP, IP_TTL),
    AF_INET6: (IPPROTO_IPV6, _IPV6_HOPLIMIT),
}
"""Level and type of the control message with a reply's TTL or hop limit, by family."""


@final
class PingSocket(DatagramBase):
    """A ping socket on a :class:`~tunstack.Host`; made by :meth:`tunstack.Host.socket`."""

    _TRUNC_TELLS_LENGTH: ClassVar[bool] = False

    def __init__(self, endpoint: Endpoint, family: int = AF_INET) -> None:
        super().__init__(endpoint, family)
        self._echoes = endpoint.stack.echoes
        self._pinger = Pinger(_FAMILIES[family], self._receiving.wake)
        endpoint.add_listener(self.close)

    def __repr__(self) -> str:
        if self._fileno == -1:
            return "<tunstack.PingSocket [closed]>"
        local, identifier = self._names()[0]
        return f"<tunstack.PingSocket {text(local)}, identifier {identifier}>"

    @property
    def proto(self) -> int:
        """IPPROTO_ICMP or IPPROTO_ICMPV6."""
        return self._pinger.family.icmp

    # Names

    @property
    def _v6only(self) -> bool:
        return True

    def _names(self) -> tuple[tuple[Address, int], tuple[Address, int] | None]:
        pinger = self._pinger
        return (pinger.local or pinger.family.wildcard, pinger.identifier), pinger.remote

    def _bind(self, local: Address, port: int) -> None:
        self._echoes.bind(self._pinger, local if any(local) else None, port)

    def _connect(self, remote: Address, port: int) -> None:
        self._echoes.connect(self._pinger, self._destination(remote), port)

    def _destination(self, address: Address) -> Address:
        """Return an address; for the wildcard, as on Linux, one of this host."""
        if any(address):
            return address
        return self._pinger.local or self._endpoint.stack.source_for(address)

    # Options

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """Return a socket option: an int, or bytes if `buflen` is given."""
        self._check_open()
        return get_option(self._pinger, level, optname, buflen)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set a socket option to an int or to bytes."""
        self._check_open()
        if value is None:
            raise os_error(errno.EINVAL)
        set_option(self._pinger, level, optname, value)

    # Closing

    def _shut_down(self, *, receiving: bool, sending: bool) -> None:
        self._pinger.receive_shut_down |= receiving
        self._pinger.send_shut_down |= sending

    def _release(self) -> None:
        self._endpoint.remove_listener(self.close)
        self._echoes.close(self._pinger)

    # Sending

    async def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
        /,
    ) -> int:
        """Send `buffers` as one request; raises OSError (EOPNOTSUPP) for control messages."""
        if list(ancdata):
            raise os_error(errno.EOPNOTSUPP)
        return await self._send(b"".join(buffers), flags, address)

    async def _send(self, data: Any, flags: int, address: AddressFormat | None) -> int:
        await trio.lowlevel.checkpoint()
        self._check_open()
        if flags & MSG_OOB:
            raise os_error(errno.EOPNOTSUPP)
        if self._pinger.send_shut_down:
            raise os_error(errno.EPIPE)
        remote = None
        if address is not None:
            with mapped_is_invalid():
                remote = self._destination((await self._resolved(address))[0])
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
        """Whether `recv` would return at once."""
        self._check_open()
        return self._pinger.readable

    async def _receive(self, flags: int) -> Reply | None:
        """Wait for a reply; None after SHUT_RD."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._receiving.check_free()
        while True:
            reply = self._echoes.receive(self._pinger, peek=flags & MSG_PEEK != 0)
            if reply is not None or self._pinger.receive_shut_down:
                return reply
            await self._receiving.wait()
            self._check_not_closed_meanwhile()

    async def _receive_message(
        self, ancbufsize: int, flags: int
    ) -> tuple[bytes, list[Message], int, Any]:
        reply = await self._receive(flags)
        if reply is None:
            return b"", [], 0, None
        messages: list[Message] = []
        if self._pinger.receive_ttl:
            messages.append((*_TTL_MESSAGES[self._family], _INT.pack(reply.ttl)))
        messages, cut = fitted(messages, ancbufsize)
        address = sockaddr(reply.source, 0, self._family)
        return reply.data, messages, int(MSG_CTRUNC) * cut, address


__all__ = ["PingSocket"]
