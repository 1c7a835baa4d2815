"""Creates the sockets of a trio program on a host, within a block.

A task is in the block that it has entered, or that the task which started it was in; so several
programs of one trio run can each be on a host of their own.

trio calls a `trio.abc.SocketFactory` for each socket that it creates. That is not enough: anyio and
hypercorn create listening sockets with `socket.socket`, and pass them to
`trio.socket.from_stdlib_socket`; anyio creates a socket for each address of a look-up. So
within the block of any host, these are replaced:

==================================  ===============================================================
`socket.socket`                     within a trio run that has a block, what the host speaks is
                                    the host's (:mod:`tunstack.socket.stdlib`). In a thread of
                                    `trio.to_thread` it is refused: it would block, as a host's
                                    cannot. Other threads and runs see no difference. Only `__new__`
                                    and `__init__` of the class change, so that it does not matter
                                    who imported it when
`trio.socket.from_stdlib_socket`    returns the trio socket of a host's socket
`trio.socket.getaddrinfo`           leaves out addresses of families that the host lacks, if there
                                    are others; a machine without IPv6 does the same
==================================  ===============================================================

A socket created from a descriptor stays the kernel's. Within a block of
`tunstack.Namespace.sockets` (:mod:`tunstack.socket.kernel`) the kernel's sockets are those of the
namespace, and threads may create them, whichever block is the inner one. If the host has a
resolver, it looks up the names of its tasks (`trio.socket.set_custom_hostname_resolver`).
"""

from __future__ import annotations

import errno
import os
import socket as stdlib_socket
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

import trio

from tunstack.socket.kernel import INTERNET, create, is_elsewhere, lock, replace_init, requested
from tunstack.socket.stdlib import StdlibSocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.socket.endpoint import NameResolver, SocketMaker

Others: TypeAlias = Literal["refuse", "kernel"]
"""For sockets that the host does not support: an error, or the kernel's socket."""


@final
class SocketFactory(trio.abc.SocketFactory):
    """Creates sockets on a host.

    Args:
        host: The host.
        others: What to do for internet families and types that the host does not support.

    Attributes:
        in_force: Whether its block is active.
    """

    def __init__(self, host: SocketMaker, others: Others = "refuse") -> None:
        self.in_force = True
        self._host = host
        self._others = others

    @property
    def resolver(self) -> NameResolver | None:
        """What looks up names; None for trio's own."""
        return self._host.resolver

    def socket(
        self,
        family: int = trio.socket.AF_INET,
        type: int = trio.socket.SOCK_STREAM,
        proto: int = 0,
    ) -> trio.socket.SocketType:
        """Create a socket; called by trio for each of its sockets.

        Raises:
            OSError: EAFNOSUPPORT or EPROTONOSUPPORT if the host does not support it.
        """
        if self.speaks(family, type, proto):
            return self._host.socket(family, type, proto)
        with _kernels():
            return trio.socket.from_stdlib_socket(stdlib_socket.socket(family, type, proto))

    def speaks(self, family: int, type: int, proto: int) -> bool:
        """Whether the socket is created on the host, and not by the kernel.

        Raises:
            OSError: The host does not support it, and the kernel's is refused.
        """
        if family not in INTERNET:
            return False
        try:
            self._host.check_speaks(family, type, proto)
        except OSError:
            if self._others == "kernel":
                return False
            raise
        return True

    def check_thread(self, family: int) -> None:
        """Raise OSError (EAFNOSUPPORT) for a socket that a thread must not create."""
        if family in INTERNET and self._others == "refuse":
            raise OSError(
                errno.EAFNOSUPPORT,
                f"{os.strerror(errno.EAFNOSUPPORT)}: a host's socket cannot be used in a thread",
            )

    def supported_addresses(self, found: list[Any]) -> list[Any]:
        """Remove addresses of families that are refused, unless there are no others."""
        if self._others == "kernel":
            return found
        return [each for each in found if self._host.has_family(each[0])] or found


@contextmanager
def installed(host: SocketMaker, others: Others, *, for_run: bool = True) -> Iterator[None]:
    """Create sockets on `host`; restore what was before afterwards.

    Those of this task, and of the tasks that it starts: a block in another task does not change
    that. With `for_run` those of all tasks of this trio run that are in no block, too; of several
    such blocks the latest counts.

    Raises:
        ValueError: `others` is not one of its values.
    """
    if others not in ("refuse", "kernel"):
        raise ValueError(f"others is 'refuse' or 'kernel', not {others!r}")
    blocks = _blocks.get()
    if blocks is None:
        blocks = _Blocks()
        _blocks.set(blocks)
    factory = SocketFactory(host, others)
    of_task = _of_task.get()
    blocks.add(factory, for_run=for_run)
    _of_task.set(factory)
    _replacement.begin()
    try:
        yield
    finally:
        _replacement.end()
        factory.in_force = False  # Copies of the context still have it.
        _of_task.set(of_task)
        blocks.remove(factory)


@final
class _Blocks(trio.abc.SocketFactory, trio.abc.HostnameResolver):
    """The blocks of a trio run; while there is one, trio's socket factory and resolver."""

    def __init__(self) -> None:
        self.kernels = False
        self._all: list[SocketFactory] = []
        self._for_run: list[SocketFactory] = []
        self._before: tuple[trio.abc.SocketFactory | None, trio.abc.HostnameResolver | None]

    def add(self, factory: SocketFactory, *, for_run: bool) -> None:
        if not self._all:
            self._before = (
                trio.socket.set_custom_socket_factory(self),
                trio.socket.set_custom_hostname_resolver(self),
            )
        self._all.append(factory)
        if for_run:
            self._for_run.append(factory)

    def remove(self, factory: SocketFactory) -> None:
        self._all.remove(factory)
        if factory in self._for_run:
            self._for_run.remove(factory)
        if not self._all:
            trio.socket.set_custom_socket_factory(self._before[0])
            trio.socket.set_custom_hostname_resolver(self._before[1])

    def current(self) -> SocketFactory | None:
        """Return the factory of the current task."""
        if self.kernels:
            return None
        factory = _of_task.get()
        if factory in self._all:  # A context may come from another run, or outlive its block.
            return factory
        return self._for_run[-1] if self._for_run else None

    def socket(
        self,
        family: int = trio.socket.AF_INET,
        type: int = trio.socket.SOCK_STREAM,
        proto: int = 0,
    ) -> trio.socket.SocketType:
        factory = self.current() or self._before[0]
        if factory is not None:
            return factory.socket(family, type, proto)
        return _original_from_stdlib_socket(stdlib_socket.socket(family, type, proto))

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        wanted = host, port, family, type, proto, flags
        resolver = self._resolver()
        if resolver is not None:
            return await resolver.getaddrinfo(*wanted)
        look_up = stdlib_socket.getaddrinfo
        return await trio.to_thread.run_sync(look_up, *wanted, abandon_on_cancel=True)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
        resolver = self._resolver()
        if resolver is not None:
            return await resolver.getnameinfo(sockaddr, flags)
        look_up = stdlib_socket.getnameinfo
        return await trio.to_thread.run_sync(look_up, sockaddr, flags, abandon_on_cancel=True)

    def _resolver(self) -> NameResolver | trio.abc.HostnameResolver | None:
        factory = self.current()
        return (None if factory is None else factory.resolver) or self._before[1]


_blocks: Final = trio.lowlevel.RunVar[_Blocks | None]("tunstack socket factories", None)

_of_task: Final = ContextVar[SocketFactory | None]("tunstack socket factory", default=None)
"""The factory of the innermost block of a task, of the tasks that it starts and its threads."""


def _current() -> SocketFactory | None:
    """Return the factory of the current task; None if it is in no trio run or no block."""
    blocks = _blocks.get() if trio.lowlevel.in_trio_run() else None
    return None if blocks is None else blocks.current()


@contextmanager
def _kernels() -> Iterator[None]:
    """Within the block, sockets are the kernel's."""
    blocks = _blocks.get()
    assert blocks is not None
    blocks.kernels = True
    try:
        yield
    finally:
        blocks.kernels = False


# The replacements while any block is active

_original_from_stdlib_socket: Final = trio.socket.from_stdlib_socket
_original_getaddrinfo: Final = trio.socket.getaddrinfo


def _new(cls: type[stdlib_socket.socket], *args: Any, **kwargs: Any) -> Any:
    """Replace `socket.socket.__new__`: create the host's socket, for that class itself."""
    if cls is stdlib_socket.socket and (factory := _current()) is not None:
        wanted = requested(*args, **kwargs)
        if wanted is not None and factory.speaks(*wanted):
            return factory.socket(*wanted)._sock  # type: ignore[attr-defined]
    return stdlib_socket.SocketType.__new__(cls)


def _init(self: stdlib_socket.socket, *args: Any, **kwargs: Any) -> None:
    """Replace `socket.socket.__init__`: refuse derived classes, which cannot be the host's."""
    in_run = trio.lowlevel.in_trio_run()
    factory = _current() if in_run else _of_task.get()
    wanted = requested(*args, **kwargs)
    if factory is not None and factory.in_force and wanted is not None:
        if not in_run:
            if not is_elsewhere():
                factory.check_thread(wanted[0])
        elif factory.speaks(*wanted):
            kind = type(self).__name__
            raise OSError(
                errno.EAFNOSUPPORT,
                f"{os.strerror(errno.EAFNOSUPPORT)}: a host's socket cannot be a {kind}",
            )
    create(self, *args, **kwargs)


def _from_stdlib_socket(sock: stdlib_socket.socket) -> trio.socket.SocketType:
    if isinstance(sock, StdlibSocket):
        return sock.on_host
    return _original_from_stdlib_socket(sock)


async def _getaddrinfo(*args: Any, **kwargs: Any) -> list[Any]:
    found: list[Any] = await _original_getaddrinfo(*args, **kwargs)
    factory = _current()
    return found if factory is None else factory.supported_addresses(found)


class _Replacement:
    """Installs the replacements from the first block of all trio runs to the end of the last."""

    def __init__(self) -> None:
        self._blocks = 0

    def begin(self) -> None:
        with lock:
            self._blocks += 1
            if self._blocks == 1:
                setattr(stdlib_socket.socket, "__new__", staticmethod(_new))  # noqa: B010
                replace_init(_init)
                trio.socket.from_stdlib_socket = _from_stdlib_socket
                setattr(trio.socket, "getaddrinfo", _getaddrinfo)  # noqa: B010

    def end(self) -> None:
        with lock:
            self._blocks -= 1
            if self._blocks == 0:
                delattr(stdlib_socket.socket, "__new__")
                replace_init(None)
                trio.socket.from_stdlib_socket = _original_from_stdlib_socket
                setattr(trio.socket, "getaddrinfo", _original_getaddrinfo)  # noqa: B010


_replacement: Final = _Replacement()
