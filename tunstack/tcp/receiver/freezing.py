"""A window that is closed by decision, whatever room the receive buffer has.

RFC 9293 section 3.8.6.2.2 lets a receiver close its window by offering no more as it fills, and
discourages moving its right edge to the left (SHLD-14). :func:`freeze` does the first, or the
second if it is to shrink; a peer must be prepared for both (MUST-34). The peer then probes the
window (section 3.8.6.1, MUST-36), and the probes are answered.

While the window is frozen, :attr:`Receiver.size` is so small that
:meth:`Receiver.acknowledge` finds no room: the per-segment path has no case for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.tcp.sequence import MASK, diff

if TYPE_CHECKING:
    from tunstack.tcp.receiver.receiver import Receiver

NO_ROOM: Final = -(1 << 40)
"""Octets: a size of the buffer with which `acknowledge` never finds room to grow."""
LARGEST_FIELD: Final = 0xFFFF
"""The largest window field."""


class Frozen:
    """The right edge of a frozen window, and how large the receive buffer was before.

    Attributes:
        size: The size of the receive buffer, in octets.
    """

    __slots__ = ("_last", "size")

    def __init__(self, receiver: Receiver) -> None:
        """Freeze the window of `receiver` at its present right edge."""
        self.size = 0
        self._last = (receiver.edge + (1 << receiver.shift)) & MASK
        self.hold(receiver)

    def hold(self, receiver: Receiver) -> None:
        """Put aside the size of its buffer, at first and when an option sets it."""
        self.size, receiver.size = receiver.size, NO_ROOM
        if receiver.tuning is not None:
            receiver.tuning.pause()

    def select_window(self, receiver: Receiver) -> int:
        """Return the window field: up to the right edge, rounded to the unit of the window scale.

        It is rounded up, so that the edge does not move left, until that has moved it by a unit:
        then down, or a peer that sends an octet at a time would never fill the window (RFC 7323
        section 2.4). What was offered is accepted in both cases.
        """
        shift = receiver.shift
        current = receiver.wnd
        field = -(-current >> shift)
        edge = (receiver.nxt + (field << shift)) & MASK
        if field > LARGEST_FIELD or diff(edge, self._last) > 0:
            return current >> shift
        receiver.edge = edge
        return field


def freeze(receiver: Receiver, after: int, *, shrink: bool) -> None:
    """Close the window after `after` octets more; :func:`thaw` ends that.

    Args:
        receiver: A synchronized receiver.
        after: Octets from RCV.NXT, rounded up to the unit of the window scale.
        shrink: Whether to take back what was offered beyond them. Otherwise that stays offered.

    Raises:
        ValueError: `after` is negative, or more than a window field can say.
    """
    shift = receiver.shift
    units = -(-after >> shift)
    if after < 0 or units > LARGEST_FIELD:
        most = LARGEST_FIELD << shift
        raise ValueError(f"the window can close after 0 to {most} octets, not after {after}")
    thaw(receiver)
    wanted = units << shift
    if wanted > receiver.wnd or shrink:
        if wanted < receiver.wnd and receiver.reassembly.size:
            receiver.renege()  # Some of it may be beyond the edge.
        receiver.edge = (receiver.nxt + wanted) & MASK
        receiver.ack_now = True
    receiver.frozen = Frozen(receiver)


def thaw(receiver: Receiver) -> None:
    """Offer again what the receive buffer has room for; nothing if the window is not frozen."""
    frozen = receiver.frozen
    if frozen is not None:
        receiver.frozen = None
        receiver.size = frozen.size
        if receiver.tuning is not None:
            receiver.tuning.restart()
        receiver.ack_now = True


__all__ = ["Frozen", "freeze", "thaw"]
