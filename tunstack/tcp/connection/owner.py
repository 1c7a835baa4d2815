"""The owner of a connection."""

from __future__ import annotations

from typing import Protocol, TypeVar

Owned = TypeVar("Owned", contravariant=True)


class Owner(Protocol[Owned]):
    """Called when a connection opens or fails to: the listener that it came to."""

    def may_open(self) -> bool:
        """Whether the accept queue has room, so that a passive handshake may complete."""
        ...

    def opened(self, connection: Owned, /) -> None:
        """Called when `connection` enters ESTABLISHED."""
        ...

    def opened_early(self, connection: Owned, /) -> None:
        """Called in SYN-RECEIVED to accept `connection` early (RFC 7413 section 4.2.2)."""
        ...

    def failed_to_open(self, connection: Owned, /) -> None:
        """Called when `connection` is closed before ESTABLISHED; the cause is its `error`."""
        ...
