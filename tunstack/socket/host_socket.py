"""The base of all sockets of a host: its descriptor, and what none of them supports."""

from __future__ import annotations

import errno
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from tunstack.ip.errors import os_error

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tunstack.socket.addresses import AddressFormat


class HostSocket(trio.socket.SocketType):
    """A socket of a host."""

    _fileno: int
    """See :meth:`fileno`."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raise OSError (EBADF, ENETDOWN)."""

    @abstractmethod
    def bind_now(self, address: AddressFormat) -> None:
        """Bind without awaiting; looking up a name blocks the event loop."""

    @abstractmethod
    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set a socket option to an int or to bytes."""

    @abstractmethod
    def close(self) -> None:
        """Release whatever it holds; idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return a number that is not a descriptor; -1 after close."""
        return self._fileno

    def get_inheritable(self) -> bool:
        """Return False: child processes do not inherit it."""
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


def scatter(data: bytes, views: list[memoryview]) -> int:
    """Copy `data` into `views`, one after another; returns how many octets they have taken."""
    given = 0
    for view in views:
        piece = data[given : given + len(view)]
        view[: len(piece)] = piece
        given += len(piece)
    return given
