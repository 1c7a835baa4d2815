"""For testers: a handshake that stalls. It reads a ClientHello, and never answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.apps import discard

if TYPE_CHECKING:
    import ssl

    from tunstack.apps import Handler


def make_handler(_context: ssl.SSLContext) -> Handler:
    """Return the handler of a connection."""
    return discard.handler
