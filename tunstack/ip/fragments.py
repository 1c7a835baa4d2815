"""Reassembly of fragments (RFC 791 section 3.2, RFC 8200 section 4.5), within bounds.

As on Linux: a fragment is ignored if all of its octets were received before; any other overlap,
an end that contradicts another fragment, and an empty fragment drop the whole datagram (RFC 5722,
for IPv6). An incomplete datagram times out after 30 seconds, of IPv6 after 60. The datagram has CE
if any fragment has it; it is dropped if some fragments are Not-ECT and others are not (RFC 3168
section 5.3). DF in a fragment is ignored.

Unlike Linux, for IPv4 as for IPv6 (RFC 8200, RFC 7112): a first fragment without the fixed header
of TCP is dropped, and so is one that is not the last and has no multiple of eight octets.

The memory of all fragments is limited, that of a peer to a quarter of it, and the number of
incomplete datagrams of a peer: the oldest is evicted. That also limits how long a fragment waits
for one of a later datagram with the same identification (RFC 4963).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from tunstack.ip.datagram import TCP, Address, Datagram

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DATAGRAMS: Final = 64
"""Incomplete datagrams of one peer."""

# What is counted of fragments that are dropped: how many, by reason.
BAD: Final = "bad_fragment"
DUPLICATE: Final = "fragment_duplicate"
OVERLAP: Final = "fragment_overlap"
TIMEOUT: Final = "fragment_timeout"
MEMORY: Final = "fragment_memory"

DATAGRAM_SIZE: Final = 1280
"""Octets of memory of an incomplete datagram beside its fragments."""
FRAGMENT_SIZE: Final = 192
"""Octets of memory of a fragment beside its data, if it adjoins no other; else it takes 140."""

_TCP_HEADER: Final = 20
_PEER_SHARE: Final = 4
_LONGEST: Final = 0xFFFF
"""Octets: what the length field of either family can say."""

_NOT_ECT: Final = 1 << 0
_CE: Final = 1 << 3
_ECN: Final = 3
"""The two bits of the type of service, and their value that is CE."""

_Key = tuple[Address, Address, int, int]
_start_of = itemgetter(0)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What differs between the families.

    Attributes:
        lifetime: Seconds within which all fragments must arrive, from the first one on.
        named_by_protocol: Whether datagrams of different protocols may have one identification.
        counted: Octets of the fixed header that the length field counts.
    """

    lifetime: float
    named_by_protocol: bool
    counted: int


_RULES: Final[dict[int, _Rules]] = {
    4: _Rules(30.0, True, 20),
    16: _Rules(60.0, False, 0),
}
"""By octets of an address. The lifetimes are Linux's; RFC 8200 has the same for IPv6."""


class Refused(Exception):
    """Raised for a fragment that is dropped.

    Attributes:
        reason: Which of the counters counts it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Partial:
    """An incomplete datagram.

    Attributes:
        key: Its name.
        began: When the first of its fragments arrived, in seconds.
        first: The fragment at offset 0, whose header is the datagram's; None before it arrived.
        starts, ends: The octets that are there, as runs: sorted, and neither overlapping nor
            adjoining each other.
        pieces: The data of the fragments, each with its offset, as they came.
        size: Octets of their data.
        end: Octets of the whole; None before the last fragment arrived.
        ecn: Which ECN codepoints they have, as bits.
    """

    __slots__ = ("began", "ecn", "end", "ends", "first", "key", "pieces", "size", "starts")

    def __init__(self, key: _Key, now: float) -> None:
        self.key = key
        self.began = now
        self.first: Datagram | None = None
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.pieces: list[tuple[int, bytes]] = []
        self.size = 0
        self.end: int | None = None
        self.ecn = 0

    @property
    def held(self) -> int:
        """Octets of memory that it takes."""
        return DATAGRAM_SIZE + self.size + FRAGMENT_SIZE * len(self.pieces)

    def fault(self, start: int, end: int, *, last: bool) -> str | None:
        """Why a fragment with these octets cannot be added; None if it can."""
        if last:
            if (self.ends and end < self.ends[-1]) or self.end not in (None, end):
                return BAD
        elif self.end is not None and end > self.end:
            return BAD
        if start == end:
            return BAD
        at = bisect_right(self.starts, start)
        if at and end <= self.ends[at - 1]:
            return DUPLICATE
        if (at and start < self.ends[at - 1]) or (at < len(self.starts) and self.starts[at] < end):
            return OVERLAP
        return None

    def add(self, fragment: Datagram, start: int, data: bytes) -> bool:
        """Add a fragment without fault; tells whether the datagram is complete."""
        end = start + len(data)
        at = bisect_right(self.starts, start)
        after = at and self.ends[at - 1] == start
        before = at < len(self.starts) and self.starts[at] == end
        if after and before:
            self.ends[at - 1] = self.ends[at]
            del self.starts[at], self.ends[at]
        elif after:
            self.ends[at - 1] = end
        elif before:
            self.starts[at] = start
        else:
            self.starts.insert(at, start)
            self.ends.insert(at, end)
        self.pieces.append((start, data))
        self.size += len(data)
        self.ecn |= 1 << (fragment.tos & _ECN)
        if not start:
            self.first = replace(fragment, payload=data)
        if not fragment.more_fragments:
            self.end = end
        return self.size == self.end

    def whole(self) -> Datagram:
        """The datagram, which is complete; raises `Refused` if it cannot be one."""
        first = self.first
        assert first is not None
        if self.size + len(first.options) + _RULES[len(first.src)].counted > _LONGEST:
            raise Refused(BAD)
        tos = first.tos
        if self.ecn & (self.ecn - 1):  # They differ.
            if self.ecn & _NOT_ECT:
                raise Refused(BAD)
            if self.ecn & _CE:
                tos |= _ECN
        self.pieces.sort(key=_start_of)
        payload = b"".join([data for _, data in self.pieces])
        return replace(first, payload=payload, tos=tos, more_fragments=False)


class _Peer:
    """The incomplete datagrams of one peer.

    Attributes:
        partials: All of them, the oldest first.
        held: Octets of memory that they take.
    """

    __slots__ = ("held", "partials")

    def __init__(self) -> None:
        self.partials: OrderedDict[_Key, _Partial] = OrderedDict()
        self.held = 0


class Fragments:
    """The fragments of incomplete datagrams.

    Attributes:
        held: Octets of memory that they take.
    """

    def __init__(
        self, memory: int, counters: Counter[str], peer_key: Callable[[Address], bytes]
    ) -> None:
        """Make it empty.

        Args:
            memory: Octets that it may take.
            counters: For fragments that are dropped after they were kept, by reason.
            peer_key: Tells to which peer an address belongs.
        """
        self.held = 0
        self._memory = memory
        self._counters = counters
        self._peer_key = peer_key
        self._peers: dict[bytes, _Peer] = {}
        self._queues: dict[int, OrderedDict[_Key, _Partial]] = {
            size: OrderedDict() for size in _RULES
        }
        """By octets of an address, in the order in which their times are over."""

    def add(self, fragment: Datagram, now: float) -> Datagram | None:
        """Keep a fragment; returns the datagram once it is complete.

        Raises:
            Refused: the fragment is dropped.
        """
        rules = _RULES[len(fragment.src)]
        data = bytes(fragment.payload)
        start = fragment.fragment_offset
        end, last = start + len(data), not fragment.more_fragments
        if not _is_possible(fragment, end, rules):
            raise Refused(BAD)
        protocol = fragment.protocol if rules.named_by_protocol else 0
        key = (fragment.src, fragment.dst, protocol, fragment.identification)
        partial = self._queues[len(key[0])].get(key)
        if partial is None:
            if start == end:
                raise Refused(BAD)
            partial = self._begin(key, now)
        elif (fault := partial.fault(start, end, last=last)) is not None:
            if fault != DUPLICATE:
                self._drop(partial, fault)
            raise Refused(fault)
        complete = partial.add(fragment, start, data)
        if not complete:
            self._grew(partial, FRAGMENT_SIZE + len(data))
            return None
        self._remove(partial, FRAGMENT_SIZE + len(data))
        try:
            return partial.whole()
        except Refused as refused:
            self._counters[refused.reason] += len(partial.pieces) - 1
            raise

    def deadline(self) -> float | None:
        """When to call :meth:`expired`, in seconds; None if never."""
        first: float | None = None
        for size, queue in self._queues.items():
            if queue:
                at = next(iter(queue.values())).began + _RULES[size].lifetime
                if first is None or at < first:
                    first = at
        return first

    def expired(self, now: float) -> list[Datagram]:
        """Drop the datagrams that have timed out; returns those of their first fragments that came.

        Time Exceeded is sent about these (RFC 792, RFC 4443 section 3.3).
        """
        firsts: list[Datagram] = []
        for size, queue in self._queues.items():
            lifetime = _RULES[size].lifetime
            while queue:
                partial = next(iter(queue.values()))
                if now < partial.began + lifetime:
                    break
                self._drop(partial, TIMEOUT)
                if partial.first is not None:
                    firsts.append(partial.first)
        return firsts

    def _begin(self, key: _Key, now: float) -> _Partial:
        peer_key = self._peer_key(key[0])
        peer = self._peers.get(peer_key)
        if peer is None:
            peer = self._peers[peer_key] = _Peer()
        elif len(peer.partials) >= MAX_DATAGRAMS:
            self._drop(next(iter(peer.partials.values())), MEMORY)
        partial = _Partial(key, now)
        peer.partials[key] = self._queues[len(key[0])][key] = partial
        peer.held += DATAGRAM_SIZE
        self.held += DATAGRAM_SIZE
        return partial

    def _grew(self, partial: _Partial, size: int) -> None:
        """Account for memory, and evict the oldest datagrams while there is too much."""
        peer = self._peers[self._peer_key(partial.key[0])]
        peer.held += size
        self.held += size
        while peer.held > self._memory // _PEER_SHARE:
            self._drop(next(iter(peer.partials.values())), MEMORY)
        while self.held > self._memory:
            self._drop(self._oldest(), MEMORY)

    def _oldest(self) -> _Partial:
        firsts = [next(iter(queue.values())) for queue in self._queues.values() if queue]
        return min(firsts, key=_began)

    def _drop(self, partial: _Partial, reason: str) -> None:
        self._counters[reason] += len(partial.pieces)
        self._remove(partial)

    def _remove(self, partial: _Partial, uncounted: int = 0) -> None:
        """Forget a datagram, of which so many octets are not counted yet."""
        key = partial.key
        del self._queues[len(key[0])][key]
        peer_key = self._peer_key(key[0])
        peer = self._peers[peer_key]
        del peer.partials[key]
        peer.held -= partial.held - uncounted
        self.held -= partial.held - uncounted
        if not peer.partials:
            del self._peers[peer_key]


def _is_possible(fragment: Datagram, end: int, rules: _Rules) -> bool:
    """Whether it may be part of a datagram, whatever the other fragments are."""
    if end & 7 and fragment.more_fragments:
        return False
    if fragment.protocol == TCP and not fragment.fragment_offset and end < _TCP_HEADER:
        return False
    return end + len(fragment.options) + rules.counted <= _LONGEST


def _began(partial: _Partial) -> float:
    return partial.began
