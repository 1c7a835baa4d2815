"""What sockets of a host have beyond trio's, for the standard library's look of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from tunstack.socket.addresses import AddressFormat


class HostSocket(trio.socket.SocketType):
    """A socket of a host's."""

    @abstractmethod
    def bind_now(self, address: AddressFormat) -> None:
        """Do what `bind` does, as a plain call."""

    @abstractmethod
    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set a socket option to an int or to bytes."""
