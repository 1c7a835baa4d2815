"""Where the kernel's sockets of this process are created, and its names looked up, within a block.

Within the block of :func:`elsewhere` the sockets of Python are those of another network, a private
namespace, in every thread. These are replaced:

=============================  ====================================================================
`socket.socket.__init__`       the descriptor of an internet socket comes from there. The class
                               stays, and so do its subclasses, whoever imported or derived them
                               when
`socket.getaddrinfo` and the   know the names that are known there, and ask no name server. They are
other four look-ups            replaced in `_socket`, where `socket.getaddrinfo` looks, too
=============================  ====================================================================

Sockets of other families (AF_UNIX, AF_NETLINK), `socket.socketpair`, and what is created from a
descriptor, stay as they are; and so does `socket.SocketType`, the class below, which this package
uses where it means the machine's network.

:mod:`tunstack.socket.factory` replaces the same `__init__`. Which of both holds does not depend on
the order of the blocks: in a trio run with a block of the factory a socket that its host speaks is
the host's; every other is the kernel's, and is created as described here.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket as stdlib_socket
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

INTERNET: Final = frozenset(
    {
        stdlib_socket.AF_INET,
        stdlib_socket.AF_INET6,
        stdlib_socket.AF_PACKET,
        21,  # AF_RDS
        33,  # AF_RXRPC
        43,  # AF_SMC
        44,  # AF_XDP
    }
)
"""Families of Linux that send IP packets, or use the same interfaces."""

LOOK_UPS: Final = (
    "getaddrinfo",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
)
"""The functions of `socket` that look up names."""

original: Final[dict[str, Callable[..., Any]]] = {name: getattr(_socket, name) for name in LOOK_UPS}
"""The machine's look-ups: those of `_socket`."""

_original_init: Final = stdlib_socket.socket.__init__


class Network(Protocol):
    """A network in which sockets are created. Any thread may call it."""

    name: str

    def descriptor(self, family: int, type: int, proto: int) -> int:
        """Create a kernel socket, and return its descriptor; raises OSError as `socket` does."""
        ...

    def look_up(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Do what a function of :data:`LOOK_UPS` does."""
        ...


lock: Final = RLock()
"""Held while `socket.socket.__init__` is replaced, here and by the factory."""
_network: Network | None = None
_blocks = 0
_before: Final[dict[tuple[ModuleType, str], Callable[..., Any]]] = {}
"""What was replaced, by module and name."""


@contextmanager
def elsewhere(network: Network) -> Iterator[None]:
    """Create the kernel sockets of this process in `network` while the block runs.

    Blocks of the same network may be nested, and may run at the same time in several threads.

    Raises:
        RuntimeError: a block of another network is active.
    """
    _begin(network)
    try:
        yield
    finally:
        _end()


def is_elsewhere() -> bool:
    """Whether a block is active."""
    return _network is not None


def create(sock: stdlib_socket.socket, *args: Any, **kwargs: Any) -> None:
    """Initialize a kernel socket, as `socket.socket.__init__` does, in the network of the block."""
    network, wanted = _network, requested(*args, **kwargs)
    if network is None or wanted is None or wanted[0] not in INTERNET:
        _original_init(sock, *args, **kwargs)
        return
    descriptor = network.descriptor(*wanted)
    try:
        _original_init(sock, *wanted, fileno=descriptor)
    except BaseException:
        if sock.fileno() == -1:  # Otherwise it is the socket's to close.
            os.close(descriptor)
        raise


def requested(
    family: int = -1, type: int = -1, proto: int = -1, fileno: object = None
) -> tuple[int, int, int] | None:
    """Return family, type and protocol of a `socket.socket` call; None for a descriptor."""
    if fileno is not None:
        return None
    return (
        stdlib_socket.AF_INET if family == -1 else family,
        stdlib_socket.SOCK_STREAM if type == -1 else type,
        0 if proto == -1 else proto,
    )


def replace_init(replacement: Callable[..., None] | None) -> None:
    """Replace `socket.socket.__init__`; with None by what is here without a factory's block."""
    here = _original_init if _network is None else _init
    setattr(stdlib_socket.socket, "__init__", replacement or here)  # noqa: B010


def _init(self: stdlib_socket.socket, *args: Any, **kwargs: Any) -> None:
    """Replace `socket.socket.__init__`."""
    create(self, *args, **kwargs)


def _begin(network: Network) -> None:
    global _blocks, _network
    with lock:
        if _network is not None and _network is not network:
            raise RuntimeError(
                f"the sockets of this process are in {_network.name} already: "
                "end that block first, or create single sockets with Namespace.socket"
            )
        _blocks += 1
        if _blocks > 1:
            return
        _network = network
        if stdlib_socket.socket.__init__ is _original_init:
            replace_init(None)
        for name in LOOK_UPS:
            replacement = _replacement_of(name)
            for module in (_socket, stdlib_socket):
                # That of `socket` calls the one of `_socket`.
                if (module, name) != (stdlib_socket, "getaddrinfo"):
                    _before[module, name] = getattr(module, name)
                    setattr(module, name, replacement)


def _end() -> None:
    global _blocks, _network
    with lock:
        _blocks -= 1
        if _blocks:
            return
        _network = None
        if stdlib_socket.socket.__init__ is _init:
            replace_init(None)
        for (module, name), function in _before.items():
            setattr(module, name, function)
        _before.clear()


def _replacement_of(name: str) -> Callable[..., Any]:
    def look_up(*args: Any, **kwargs: Any) -> Any:
        network = _network
        if network is None:  # Somebody has imported it within a block that has ended.
            return original[name](*args, **kwargs)
        return network.look_up(name, *args, **kwargs)

    look_up.__name__ = name
    return look_up


class _Forked:
    """The network of a forked child of a process with a block: it has none."""

    name = "the namespace of the parent process"

    def descriptor(self, family: int, type: int, proto: int) -> NoReturn:
        raise OSError(
            errno.ENETDOWN,
            f"{os.strerror(errno.ENETDOWN)}: a forked process cannot create sockets in "
            f"{self.name}: start it with Namespace.run_process",
        )

    def look_up(self, function: str, *args: Any, **kwargs: Any) -> NoReturn:
        raise stdlib_socket.gaierror(stdlib_socket.EAI_FAIL, "a forked process has no network")


def _in_child() -> None:
    global _network
    if _network is not None:
        _network = _Forked()


os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
os.register_at_fork(after_in_child=_in_child)
