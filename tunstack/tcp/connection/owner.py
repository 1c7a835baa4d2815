"""The owner of a connection."""

from __future__ import annotations

from typing import Protocol, TypeVar

Owned = TypeVar("Owned", contravariant=True)


class Owner(Protocol[Owned]):
    """Called when a connection opens or fails to: the listener that it came to."""

    def may_open(self) -> bool:
        """Whether a passive handshake may end now: there may be no room for its connection."""
        ...

    def opened(self, connection: Owned, /) -> None:
        """It has entered ESTABLISHED."""
        ...

    def opened_early(self, connection: Owned, /) -> None:
        """It is in SYN-RECEIVED, and the application may have it (RFC 7413 section 4.2.2)."""
        ...

    def failed_to_open(self, connection: Owned, /) -> None:
        """It has ended before it was ESTABLISHED; its `error` says why."""
        ...
