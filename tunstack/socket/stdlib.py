"""A socket of a host as the standard library's look, for libraries that want one of those.

anyio asks a trio socket for its `_sock`, and reads addresses and options there. anyio and hypercorn
make the sockets that they listen on with `socket.socket`, bind them, and hand them to
`trio.socket.from_stdlib_socket`. So there is what can be done at once: names, options, `bind`,
`listen`, `shutdown`, `close`. What may have to wait would hold up the host itself, and is refused.
"""

from __future__ import annotations

import errno
import os
import socket as stdlib_socket
from typing import TYPE_CHECKING, Any, NoReturn, final

if TYPE_CHECKING:
    from tunstack.socket.addresses import AddressFormat
    from tunstack.socket.host_socket import HostSocket


@final
class StdlibSocket(stdlib_socket.socket):
    """The other side of a :class:`tunstack.Socket`; made by that, and one with it.

    It is a `socket.socket`, without a descriptor: what asks for that class takes it.

    Attributes:
        on_host: The socket that it belongs to.
    """

    on_host: HostSocket
    _timeout: float | None

    def __new__(cls, *args: Any, **kwargs: Any) -> StdlibSocket:
        """Make one that has no descriptor."""
        return stdlib_socket.SocketType.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: no socket of the kernel's is made, whatever the arguments."""

    @classmethod
    def of(cls, sock: HostSocket) -> StdlibSocket:
        """Return the one of `sock`; blocking at first, as the kernel's are."""
        raw = cls()
        raw.on_host = sock
        raw._timeout = stdlib_socket.getdefaulttimeout()
        return raw

    def __repr__(self) -> str:
        return f"<tunstack.socket.stdlib.StdlibSocket of {self.on_host!r}>"

    def __exit__(self, *args: object) -> None:
        self.close()

    # What it is

    @property
    def family(self) -> stdlib_socket.AddressFamily:
        """AF_INET."""
        return self.on_host.family

    @property
    def type(self) -> stdlib_socket.SocketKind:
        """SOCK_STREAM or SOCK_DGRAM."""
        return self.on_host.type

    @property
    def proto(self) -> int:
        """IPPROTO_TCP."""
        return self.on_host.proto

    def fileno(self) -> int:
        """Return a number that is no descriptor's; -1 once the socket is closed."""
        return self.on_host.fileno()

    def get_inheritable(self) -> bool:
        """Return False: no child process can have it."""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Do nothing: hypercorn asks for it, whether it forks or not."""

    # Whether it blocks: remembered, as nothing that would block is done here

    @property
    def timeout(self) -> float | None:
        """Seconds; None for a blocking socket."""
        return self._timeout

    def gettimeout(self) -> float | None:
        """Return :attr:`timeout`."""
        return self._timeout

    def settimeout(self, value: float | None, /) -> None:
        """Set :attr:`timeout`."""
        self._timeout = value

    def getblocking(self) -> bool:
        """Whether the timeout is not 0."""
        return self._timeout != 0

    def setblocking(self, flag: bool, /) -> None:
        """Have no timeout, or one of 0."""
        self._timeout = None if flag else 0.0

    # What is done at once

    def getsockname(self) -> AddressFormat:
        """As :meth:`tunstack.Socket.getsockname`."""
        return self.on_host.getsockname()

    def getpeername(self) -> AddressFormat:
        """As :meth:`tunstack.Socket.getpeername`."""
        return self.on_host.getpeername()

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> Any:
        """As :meth:`tunstack.Socket.getsockopt`."""
        return self.on_host.getsockopt(level, optname, buflen)

    def setsockopt(
        self, level: int, optname: int, value: Any, optlen: int | None = None, /
    ) -> None:
        """As :meth:`tunstack.Socket.setsockopt`."""
        self.on_host.setsockopt(level, optname, value, optlen)

    def bind(self, address: AddressFormat, /) -> None:
        """As :meth:`tunstack.Socket.bind`; a name is looked up, and that blocks as elsewhere."""
        self.on_host.bind_now(address)

    def listen(self, backlog: int = 128, /) -> None:
        """As :meth:`tunstack.Socket.listen`."""
        self.on_host.listen(backlog)

    def shutdown(self, how: int, /) -> None:
        """As :meth:`tunstack.Socket.shutdown`."""
        self.on_host.shutdown(how)

    def close(self) -> None:
        """As :meth:`tunstack.Socket.close`."""
        self.on_host.close()

    # What is not done

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise OSError (EOPNOTSUPP): it may have to wait, and would hold up the host."""
        raise OSError(
            errno.EOPNOTSUPP,
            f"{os.strerror(errno.EOPNOTSUPP)} by a host's socket without trio: "
            "give it to trio.socket.from_stdlib_socket",
        )

    accept = _refuse
    connect = _refuse
    connect_ex = _refuse
    detach = _refuse
    dup = _refuse
    makefile = _refuse
    recv = _refuse
    recv_into = _refuse
    recvfrom = _refuse
    recvfrom_into = _refuse
    recvmsg = _refuse
    recvmsg_into = _refuse
    send = _refuse
    sendall = _refuse
    sendfile = _refuse
    sendmsg = _refuse
    sendmsg_afalg = _refuse
    sendto = _refuse
