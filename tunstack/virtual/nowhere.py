"""What tasks have that are on no host of a network."""

from __future__ import annotations

import errno
from typing import Any, NoReturn, final

import trio


@final
class Nowhere:
    """What tasks have that are on no host: no sockets."""

    @property
    def resolver(self) -> Nowhere:
        """Itself."""
        return self

    def has_family(self, family: int) -> bool:
        """Whether it has addresses of a family: what is refused is not told from the others."""
        return True

    def check_speaks(self, family: int, type: int, proto: int) -> NoReturn:
        """Raise OSError (ENETUNREACH)."""
        raise OSError(
            errno.ENETUNREACH,
            "this task is on no host of the network: start it by net.start(host, ...), or use "
            "`with host.socket_factory():`",
        )

    def socket(self, family: int = 0, type: int = 0, proto: int = 0) -> NoReturn:
        """Raise OSError (ENETUNREACH)."""
        self.check_speaks(family, type, proto)

    async def getaddrinfo(self, *args: Any) -> NoReturn:
        """Raise OSError (ENETUNREACH)."""
        await trio.lowlevel.checkpoint()
        self.check_speaks(0, 0, 0)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> NoReturn:
        """Raise OSError (ENETUNREACH)."""
        await trio.lowlevel.checkpoint()
        self.check_speaks(0, 0, 0)
