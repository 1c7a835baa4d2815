"""How large a packet each path carries, as routers tell (RFC 1191)."""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address
    from tunstack.ip.icmp import IcmpMessage

PLATEAUS: Final = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)
"""MTUs in use, for routers that drop a packet and do not say what would have fitted (section 7)."""

LIFETIME: Final = 600.0
"""Seconds after which a path may have become wider: ten minutes (section 6.3)."""

SMALLEST_BELIEVED: Final = 552
"""No ICMP message brings us below this, as on Linux (min_pmtu).

By RFC 1191 it may be as little as 68, but then anyone who can forge one could have each octet cost
forty. Where a path is narrower indeed, the losses themselves will tell: see
:mod:`tunstack.tcp.sender.mtu_probing`.
"""

_LEAST: Final = 68
"""RFC 791: every module must forward that much. A message that speaks of less is nonsense."""

_MOST_PATHS: Final = 4096


def reported_mtu(message: IcmpMessage) -> int | None:
    """Read what a Fragmentation Needed tells of the path; None when that cannot be, or is no help.

    The packet that it quotes must have been too large for what it reports.
    """
    size = message.quoted_length
    mtu = message.next_hop_mtu or _plateau_below(size)
    if not _LEAST <= mtu < size:
        return None
    mtu = max(mtu, SMALLEST_BELIEVED)
    return mtu if mtu < size else None


def _plateau_below(size: int) -> int:
    return next((plateau for plateau in PLATEAUS if plateau < size), 0)


class PathMtus:
    """The paths that are known to be narrower than the link, by destination (section 3).

    What is known ages: nobody tells when a path becomes wider, so that has to be tried. There are
    never more than some thousands; then the one that is oldest is forgotten.
    """

    def __init__(self, link_mtu: int) -> None:
        self.link_mtu = link_mtu
        self._known: dict[Address, tuple[int, float]] = {}  # The oldest first.

    def get(self, remote: Address) -> int:
        """The largest packet, in octets, that the path to `remote` is thought to carry."""
        known = self._known.get(remote)
        return self.link_mtu if known is None else known[0]

    def lower(self, remote: Address, mtu: int, now: float) -> bool:
        """Note that the path carries `mtu` octets and no more; returns whether that is news.

        It is never raised by this: a router speaks only of what does not fit.
        """
        if mtu >= self.get(remote):
            return False
        self._known.pop(remote, None)
        self._known[remote] = mtu, now + LIFETIME
        if len(self._known) > _MOST_PATHS:
            del self._known[next(iter(self._known))]
        return True

    def deadline(self) -> float | None:
        """When to call :meth:`expired`, in seconds; None if never."""
        return next(iter(self._known.values()))[1] if self._known else None

    def expired(self, now: float) -> list[Address]:
        """Forget what is too old, and return whose paths those were."""
        known = self._known
        old = [remote for remote, _ in takewhile(lambda each: each[1][1] <= now, known.items())]
        if old:  # Anew, as a dictionary looks for its first entry among those that were deleted.
            self._known = dict(islice(known.items(), len(old), None))
        return old
