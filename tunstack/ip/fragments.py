"""The fragments of IPv4 datagrams, put together within bounds (RFC 791 section 3.2).

On a link of less than 88 octets Linux fragments its TCP segments: it makes none smaller than 48
octets behind a header of 40 (net.ipv4.tcp_min_snd_mss, which it lets nobody make smaller). Wider
links need none of this: there the stack drops what comes in fragments.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import replace
from typing import Final

from tunstack.ip.datagram import Address, Datagram

UNFRAGMENTED: Final = 88
"""The smallest MTU, in octets, at which Linux fragments no TCP segment."""

LIFETIME: Final = 30.0
"""Seconds for all fragments of a datagram to come: Linux's ipfrag_time."""

MOST: Final = 1 << 18
"""Octets that all fragments together may take."""
MOST_DATAGRAMS: Final = 16
"""How many datagrams of one source may be incomplete."""

_OVERHEAD: Final = 128
"""Octets that a fragment takes beside its data."""
_LARGEST: Final = 0xFFFF

_Key = tuple[Address, Address, int, int]


class _Partial:
    """A datagram of which some fragments are here.

    Attributes:
        first: The fragment whose header counts: the one at offset 0, once it is here.
        began: When the first of them came, in seconds.
        starts: Offsets of those that are here, in order; none overlap.
        pieces: Their data.
        size: Octets of it.
        end: Octets of the whole, if the last is here.
    """

    __slots__ = ("began", "end", "first", "pieces", "size", "starts")

    def __init__(self, now: float) -> None:
        self.first: Datagram | None = None
        self.began = now
        self.starts: list[int] = []
        self.pieces: list[bytes] = []
        self.size = 0
        self.end: int | None = None

    @property
    def held(self) -> int:
        """Octets that it takes."""
        return self.size + _OVERHEAD * len(self.pieces)

    def fits(self, start: int, end: int, *, last: bool) -> bool:
        """Whether a fragment agrees with those that are here."""
        highest = self.starts[-1] + len(self.pieces[-1]) if self.pieces else 0
        if last and (highest > end or self.end not in (None, end)):
            return False
        if self.end is not None and end > self.end:
            return False
        at = bisect_left(self.starts, start)
        before = self.starts[at - 1] + len(self.pieces[at - 1]) if at else 0
        return before <= start and (at == len(self.starts) or end <= self.starts[at])

    def has(self, start: int, end: int) -> bool:
        """Whether one that is here has all of it: the network has doubled it."""
        at = bisect_right(self.starts, start) - 1
        return at >= 0 and start < end <= self.starts[at] + len(self.pieces[at])

    def add(self, fragment: Datagram, data: bytes) -> Datagram | None:
        """Take a fragment that fits; returns the whole if it is complete."""
        start = fragment.fragment_offset
        at = bisect_left(self.starts, start)
        self.starts.insert(at, start)
        self.pieces.insert(at, data)
        self.size += len(data)
        if not start:
            self.first = fragment
        if not fragment.more_fragments:
            self.end = start + len(data)
        if self.size != self.end or self.first is None:
            return None
        return replace(self.first, payload=b"".join(self.pieces), more_fragments=False)


class Fragments:
    """Those that wait for others.

    Attributes:
        held: Octets that they take.
        dropped: Fragments that were given up: they did not fit, or the others did not come.
    """

    def __init__(self) -> None:
        self.held = 0
        self.dropped = 0
        self._partial: OrderedDict[_Key, _Partial] = OrderedDict()
        """In the order in which they began."""
        self._by_source: dict[Address, dict[_Key, None]] = {}
        """So are these, of each source."""

    def add(self, fragment: Datagram, now: float) -> Datagram | None:
        """Take a fragment; returns the whole datagram once all of it is here.

        As on Linux, one that is a part of another is ignored, and any other overlap ends them all:
        nobody sends such in good faith.
        """
        self._expire(now)
        key = (fragment.src, fragment.dst, fragment.protocol, fragment.identification)
        data = bytes(fragment.payload)
        start = fragment.fragment_offset
        end, last = start + len(data), not fragment.more_fragments
        partial = self._partial.get(key)
        if partial is not None and partial.has(start, end):
            return None
        if not data or end > _LARGEST or (len(data) & 7 and not last):
            self.dropped += 1
            return None
        if partial is None:
            partial = self._begin(key, now)
        elif not partial.fits(start, end, last=last):
            self.dropped += 1
            self._give_up(key)
            return None
        before = partial.held
        whole = partial.add(replace(fragment, payload=b""), data)
        self.held += partial.held - before
        if whole is not None:
            self._forget(key)
        while self.held > MOST:  # Once it is whole it takes nothing.
            self._give_up(next(iter(self._partial)))
        return whole

    def _expire(self, now: float) -> None:
        while self._partial:
            key, oldest = next(iter(self._partial.items()))
            if now < oldest.began + LIFETIME:
                return
            self._give_up(key)

    def _begin(self, key: _Key, now: float) -> _Partial:
        own = self._by_source.setdefault(key[0], {})
        own[key] = None
        if len(own) > MOST_DATAGRAMS:
            self._give_up(next(iter(own)))
        partial = self._partial[key] = _Partial(now)
        return partial

    def _give_up(self, key: _Key) -> None:
        self.dropped += len(self._partial[key].pieces)
        self._forget(key)

    def _forget(self, key: _Key) -> None:
        self.held -= self._partial.pop(key).held
        own = self._by_source[key[0]]
        del own[key]
        if not own:
            del self._by_source[key[0]]
