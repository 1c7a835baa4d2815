"""What a socket on a host is, whatever it is used for: its names, its addresses, its options."""

from __future__ import annotations

import errno
import itertools
import operator
import socket as stdlib_socket
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, cast

import trio

from tunstack.ip.address import text
from tunstack.socket.options import NO_LOWAT, get_option, os_error, set_option
from tunstack.tcp.connection.state import State

if TYPE_CHECKING:
    import builtins
    from types import TracebackType
    from typing import Self

    from tunstack.host.host import Host
    from tunstack.ip.datagram import Address
    from tunstack.stack.flow import Flow, TcpInfo
    from tunstack.tcp.config import Config
    from tunstack.tcp.listen.listener import Listener

AddressFormat: TypeAlias = Any


@lru_cache(maxsize=64)
def _changed(config: Config, parameters: tuple[tuple[str, Any], ...]) -> Config:
    """Change `parameters`; every stream of trio's sets the same ones, connection by connection."""
    if all(getattr(config, name) == value for name, value in parameters):
        return config
    return replace(config, **dict(parameters))


_descriptors: Final = itertools.count(1 << 30)
"""Numbers for `fileno`: no real descriptor's, so that nobody can mistake one for the other."""

ANY: Final = IPv4Address("0.0.0.0")


class BaseSocket(trio.socket.SocketType):
    """A TCP socket that can be named, bound and set up."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._fileno = next(_descriptors)
        self._flow: Flow | None = None
        self._listener: Listener | None = None
        self._bound: tuple[Address | None, int] | None = None
        self._bound_reuse = False
        self._shut_down_write = False
        self._error_told = False
        self._config = host.stack.config
        self.linger: int | None = None
        """SO_LINGER's seconds when it is on, else None. With 0, `close` aborts."""
        self.reuse_address: bool = False
        self.notsent_lowat: int = NO_LOWAT
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

    @property
    def backlog(self) -> tuple[int, int]:
        """How many connections wait for `accept`, and how many may."""
        listener = self._listener
        return (0, 0) if listener is None else (len(listener), listener.backlog)

    @property
    def listening(self) -> bool:
        """Whether it listens (SO_ACCEPTCONN)."""
        return self._listener is not None

    def fileno(self) -> int:
        """Return a number that is no descriptor's; -1 once the socket is closed."""
        return self._fileno

    def detach(self) -> NoReturn:
        """Raise OSError (EOPNOTSUPP): there is no descriptor to hand out."""
        raise os_error(errno.EOPNOTSUPP)

    def dup(self) -> NoReturn:
        """Raise OSError (EOPNOTSUPP): there is no descriptor to duplicate."""
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: builtins.type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of whatever it holds; idempotent."""
        raise NotImplementedError

    # Addresses

    def getsockname(self) -> tuple[str, int]:
        """Return our address and port; ``("0.0.0.0", 0)`` before there are any."""
        self._check_open()
        if self._flow is not None:
            name = self._flow.four_tuple
            return text(name.local), name.local_port
        address, port = self._bound or (None, 0)
        return str(ANY) if address is None else text(address), port

    def getpeername(self) -> tuple[str, int]:
        """Return the peer's address and port; raises OSError (ENOTCONN)."""
        self._check_open()
        if self._flow is None or self._flow.state in (State.SYN_SENT, State.CLOSED):
            raise os_error(errno.ENOTCONN)
        return self._peer()

    def _peer(self) -> tuple[str, int]:
        assert self._flow is not None
        name = self._flow.four_tuple
        return text(name.remote), name.remote_port

    async def bind(self, address: AddressFormat) -> None:
        """Take a local address and port; ``"0.0.0.0"`` and 0 stand for any.

        Raises:
            OSError: EADDRNOTAVAIL for an address that is not the host's, EADDRINUSE, EINVAL.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._check_unnamed()
        self._take_name(*await self._resolve(address))

    def bind_now(self, address: AddressFormat) -> None:
        """Do what :meth:`bind` does, as a plain call: to look up a name holds up everything."""
        self._check_open()
        self._check_unnamed()
        known = self._parse(address)
        if known is None:
            name, port = address
            known = IPv4Address(stdlib_socket.gethostbyname(name)).packed, port
        self._take_name(*known)

    def _check_unnamed(self) -> None:
        if self._bound is not None or self._flow is not None:
            raise os_error(errno.EINVAL)

    def _take_name(self, local: Address, port: int) -> None:
        self._check_open()
        self._check_unnamed()
        self._host.check_up()
        where = None if local == ANY.packed else local
        port = self._host.stack.bind(where, port, reuse=self.reuse_address)
        self._bound = where, port
        self._bound_reuse = self.reuse_address

    async def _resolve(self, address: AddressFormat) -> tuple[Address, int]:
        known = self._parse(address)
        if known is not None:
            return known
        host, port = address
        found = await trio.socket.getaddrinfo(host, port, self.family, self.type)
        return IPv4Address(cast("str", found[0][4][0])).packed, port

    @staticmethod
    def _parse(address: AddressFormat) -> tuple[Address, int] | None:
        """The address and port; None if there is a name that must be looked up."""
        if not isinstance(address, tuple) or len(address) != 2:
            raise ValueError("address should be a (host, port) tuple")
        host, port = address
        port = operator.index(port)
        if not 0 <= port <= 65535:
            raise OverflowError("port must be 0-65535.")
        if host in ("", b""):
            return ANY.packed, port
        if isinstance(host, str):
            try:
                return IPv4Address(host).packed, port
            except ValueError:
                pass
        return None

    # Options

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """Return a socket option: an int, or bytes if `buflen` is given.

        What there is, and what it does, stands in :mod:`tunstack.socket.options`.
        """
        self._check_open()
        return get_option(self, level, optname, buflen)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set a socket option to an int or to bytes; see :mod:`tunstack.socket.options`."""
        self._check_open()
        if value is None:
            raise os_error(errno.EINVAL)
        set_option(self, level, optname, value)

    def tcp_info(self) -> TcpInfo:
        """Return what the connection is like now (Linux's TCP_INFO); raises OSError (ENOTCONN)."""
        return self._connected().info()

    def take_error(self) -> int:
        """Return and clear SO_ERROR: what ended the connection, or else is wrong with it, or 0."""
        self._check_open()
        flow = self._flow
        if flow is None:
            return 0
        if flow.error is not None and not self._error_told:
            self._error_told = True
            return flow.error.errno or 0
        soft, flow.soft_error = flow.soft_error, None
        return 0 if soft is None else soft.errno or 0

    def change(self, **parameters: Any) -> None:
        """Change parameters of `tunstack.tcp.config.Config`, for this socket's connection alone."""
        before = self._config
        self._config = _changed(before, tuple(parameters.items()))
        if self._config is before:
            return
        if self._listener is not None:
            self._listener.config = self._config
        flow = self._flow
        if flow is not None:
            only_nodelay = parameters.keys() == {"nodelay"}
            self._host.stack.reconfigure(flow, self._config, only_nodelay=only_nodelay)
            if flow.pending:
                self._host.flush()

    def push(self, *, small: bool) -> None:
        """Send what waits for more to come; what is `small` too, though Nagle's rule holds it."""
        flow = self._flow
        if flow is None:
            return
        self._host.stack.push(flow, small=small)
        if flow.pending:
            self._host.flush()

    @property
    def config(self) -> Config:
        """What its connection begins, or goes on, with."""
        return self._config

    @property
    def default_config(self) -> Config:
        """What the host's connections begin with."""
        return self._host.stack.config

    @property
    def flow(self) -> Flow | None:
        """Its connection, if there is one."""
        return self._flow

    # Within

    def _check_open(self) -> None:
        """Raise OSError: EBADF, it is closed; ENETDOWN, its host has ended."""
        if self._fileno == -1:
            raise os_error(errno.EBADF)
        if self._host.ended:
            self._host.check_up()

    def _check_not_closed_meanwhile(self) -> None:
        if self._fileno == -1:
            raise trio.ClosedResourceError("another task closed this socket")

    def _connected(self) -> Flow:
        self._check_open()
        if self._flow is None:
            raise os_error(errno.ENOTCONN)
        return self._flow
