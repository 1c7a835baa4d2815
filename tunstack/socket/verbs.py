"""What a test does to a connection, that no peer in order does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.socket.surface import Surface

if TYPE_CHECKING:
    from tunstack.socket.state import SocketState


class Verbs(Surface):
    """The verbs of a TCP socket: silence, closed windows, crafted segments."""

    _state: SocketState

    # The receive window

    def freeze(self, after: int = 0, *, shrink: bool = False) -> None:
        """Close the receive window after `after` octets more, until :meth:`thaw`.

        What arrives can be read, and the window stays closed. The peer's zero-window probes are
        answered (RFC 9293 section 3.8.6.1). By itself no window shrinks (SHLD-14): what was offered
        before stays offered, and it closes when that is used up, unless `after` is more.

        Args:
            after: Octets from what was received last, rounded up to the unit of the window scale;
                of a peer that sends less than that at a time, up to a unit more are taken.
            shrink: Whether to take back what was offered beyond them, and to tell the peer so at
                once. What it has sent by then is dropped.

        Raises:
            OSError: ENOTCONN.
            ValueError: `after` is negative, or more than a window can be.
        """
        flow = self._state.connected()
        flow.freeze(after, shrink=shrink)
        self._changed()

    def thaw(self) -> None:
        """Open the window again that :meth:`freeze` closed, and send a window update.

        Raises:
            OSError: ENOTCONN.
        """
        flow = self._state.connected()
        flow.thaw()
        self._changed()

    def _changed(self) -> None:
        """Transmit after a change of the connection."""
        state = self._state
        state.endpoint.stack.mark_pending(state.connected())
        state.endpoint.flush()
