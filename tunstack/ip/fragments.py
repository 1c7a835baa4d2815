"""Reassembly of IPv4 fragments, with bounded memory (RFC 791 section 3.2).

It is needed only on links with an MTU below 88 octets, where Linux fragments TCP segments: it sends
none smaller than 48 octets behind a header of 40 (net.ipv4.tcp_min_snd_mss, whose minimum this is).
On other links the stack drops fragments.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import replace
from typing import Final

from tunstack.ip.datagram import Address, Datagram

UNFRAGMENTED: Final = 88
"""Octets: the smallest MTU at which Linux fragments no TCP segment."""

LIFETIME: Final = 30.0
"""Seconds within which all fragments of a datagram must arrive: Linux's ipfrag_time."""

MAX_OCTETS: Final = 1 << 18
"""Octets of memory for all fragments together."""
MAX_DATAGRAMS: Final = 16
"""Incomplete datagrams of one source."""

_OVERHEAD: Final = 128
"""Octets of memory of a fragment beside its data."""
_MAX_END: Final = 0xFFFF
"""Octets: the largest length of a datagram."""

_Key = tuple[Address, Address, int, int]


class _Partial:
    """An incomplete datagram.

    Attributes:
        first: The fragment at offset 0, whose header is the datagram's; None before it arrived.
        began: When the first fragment arrived, in seconds.
        starts: Offsets of the fragments, sorted; they do not overlap.
        pieces: Their data.
        size: Octets of their data.
        end: Octets of the whole; None before the last fragment arrived.
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
        """Octets of memory that it takes."""
        return self.size + _OVERHEAD * len(self.pieces)

    def fits(self, start: int, end: int, *, last: bool) -> bool:
        """Whether a fragment neither overlaps others nor contradicts the length of the whole."""
        highest = self.starts[-1] + len(self.pieces[-1]) if self.pieces else 0
        if last and (highest > end or self.end not in (None, end)):
            return False
        if self.end is not None and end > self.end:
            return False
        at = bisect_left(self.starts, start)
        before = self.starts[at - 1] + len(self.pieces[at - 1]) if at else 0
        return before <= start and (at == len(self.starts) or end <= self.starts[at])

    def has(self, start: int, end: int) -> bool:
        """Whether one fragment contains all of it: a duplicate."""
        at = bisect_right(self.starts, start) - 1
        return at >= 0 and start < end <= self.starts[at] + len(self.pieces[at])

    def add(self, fragment: Datagram, data: bytes) -> Datagram | None:
        """Insert a fragment that fits; returns the datagram if it is complete."""
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
    """The reassembly queue: the fragments of incomplete datagrams.

    Attributes:
        held: Octets of memory that they take.
        dropped: Count of fragments dropped: invalid, expired, or evicted.
    """

    def __init__(self) -> None:
        self.held = 0
        self.dropped = 0
        self._partial: OrderedDict[_Key, _Partial] = OrderedDict()
        """In the order of arrival of their first fragments."""
        self._by_source: dict[Address, dict[_Key, None]] = {}
        """The same for each source."""

    def add(self, fragment: Datagram, now: float) -> Datagram | None:
        """Insert a fragment; returns the datagram once it is complete.

        As on Linux, a duplicate is ignored, and any other overlap drops the whole datagram, since
        it is an attack (RFC 5722 has the same for IPv6).
        """
        self._expire(now)
        key = (fragment.src, fragment.dst, fragment.protocol, fragment.identification)
        data = bytes(fragment.payload)
        start = fragment.fragment_offset
        end, last = start + len(data), not fragment.more_fragments
        partial = self._partial.get(key)
        if partial is not None and partial.has(start, end):
            return None
        if not data or end > _MAX_END or (len(data) & 7 and not last):
            self.dropped += 1
            return None
        if partial is None:
            partial = self._begin(key, now)
        elif not partial.fits(start, end, last=last):
            self.dropped += 1
            self._drop(key)
            return None
        before = partial.held
        whole = partial.add(replace(fragment, payload=b""), data)
        self.held += partial.held - before
        if whole is not None:
            self._remove(key)
        while self.held > MAX_OCTETS:  # A complete datagram is not counted any more.
            self._drop(next(iter(self._partial)))
        return whole

    def _expire(self, now: float) -> None:
        while self._partial:
            key, oldest = next(iter(self._partial.items()))
            if now < oldest.began + LIFETIME:
                return
            self._drop(key)

    def _begin(self, key: _Key, now: float) -> _Partial:
        own = self._by_source.setdefault(key[0], {})
        own[key] = None
        if len(own) > MAX_DATAGRAMS:
            self._drop(next(iter(own)))
        partial = self._partial[key] = _Partial(now)
        return partial

    def _drop(self, key: _Key) -> None:
        self.dropped += len(self._partial[key].pieces)
        self._remove(key)

    def _remove(self, key: _Key) -> None:
        self.held -= self._partial.pop(key).held
        own = self._by_source[key[0]]
        del own[key]
        if not own:
            del self._by_source[key[0]]
