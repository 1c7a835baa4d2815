"""The base of the TCP socket: the calls that come down to `recv` and `send`."""

from __future__ import annotations

import errno
import socket as stdlib_socket
from abc import abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tunstack.ip.errors import os_error
from tunstack.socket.host_socket import HostSocket, scatter
from tunstack.socket.options.tcp import MSG_FASTOPEN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.socket.addresses import AddressFormat


class Surface(HostSocket):
    """A socket of type SOCK_STREAM and protocol TCP."""

    @abstractmethod
    async def _recv(self, size: int, flags: int = 0) -> bytes: ...

    @abstractmethod
    async def _send(self, data: Any, flags: int = 0) -> int: ...

    @abstractmethod
    async def _send_opening(self, data: Any, flags: int, address: AddressFormat) -> int: ...

    # What it is

    @property
    def type(self) -> stdlib_socket.SocketKind:
        """SOCK_STREAM."""
        return stdlib_socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        """IPPROTO_TCP."""
        return stdlib_socket.IPPROTO_TCP

    # Receiving and sending

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

    async def sendto(self, *args: Any) -> int:
        """Send ``(data[, flags], address)``; the address is ignored, as Linux does for TCP.

        With MSG_FASTOPEN, connect to it: what :meth:`connect` and :meth:`send` do, in one round
        trip less where the two hosts have met before (RFC 7413). Only for what may come twice.
        """
        flags = args[1] if len(args) > 2 else 0
        if flags & MSG_FASTOPEN:
            return await self._send_opening(args[0], flags & ~MSG_FASTOPEN, args[-1])
        return await self._send(args[0], flags)

    async def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
        /,
    ) -> int:
        """Send `buffers` one after another; raises OSError (EOPNOTSUPP) for ancillary data.

        MSG_FASTOPEN is :meth:`sendto`'s.
        """
        if list(ancdata):
            raise os_error(errno.EOPNOTSUPP)
        if flags & MSG_FASTOPEN:
            return await self._send_opening(b"".join(buffers), flags & ~MSG_FASTOPEN, address)
        return await self._send(b"".join(buffers), flags)

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """Receive; returns ``(data, [], 0, None)``."""
        return self._recvmsg(bufsize, flags)

    async def _recvmsg(self, bufsize: int, flags: int) -> tuple[bytes, list[Any], int, None]:
        return await self._recv(bufsize, flags), [], 0, None

    def recvmsg_into(self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """Receive into `buffers`, one after another; returns ``(octets, [], 0, None)``."""
        return self._recvmsg_into(buffers, flags)

    async def _recvmsg_into(
        self, buffers: Iterable[Any], flags: int
    ) -> tuple[int, list[Any], int, None]:
        with ExitStack() as stack:
            views = [stack.enter_context(memoryview(each).cast("B")) for each in buffers]
            data = await self._recv(sum(map(len, views)), flags)
            return scatter(data, views), [], 0, None
