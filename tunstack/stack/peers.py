"""Connections and memory by peer, to find the peer that uses most when the host is full.

A peer is an IPv4 address or an IPv6 /64, the smallest prefix that a site is assigned.

No search goes through all connections: the largest is found within a factor of two, by the
position of its highest bit, and of those at the same position `CANDIDATES` are compared, others the
next time. An arriving segment costs one addition to its peer's sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CANDIDATES: Final = 32
"""Connections or peers, of about the same weight, that are compared to choose one."""

_IPV6_SIZE: Final = 16
_NETWORK_SIZE: Final = 8
HEAVY: Final = 1 << 14
"""Octets of a connection below which its memory is not tracked."""
_LEAST_MEMORY: Final = 1 << 16
"""Octets of a peer, below which its memory is not tracked."""
_LEAST_CONNECTIONS: Final = 2
"""Connections of a peer, below which their number is not tracked."""
_LEAST_ORPHANS: Final = 2
"""Orphans of a peer, below which their number is not tracked."""


def peer_key(address: bytes) -> bytes:
    """Return the key of a peer: the IPv4 address, or the /64 of the IPv6 address."""
    return address[:_NETWORK_SIZE] if len(address) == _IPV6_SIZE else address


class Member(Protocol):
    """A connection, as these tables use it.

    Attributes:
        accounted: Octets of memory that it uses.
        heavy_from: Octets from which it moves to a higher level of `_HeavyMembers`.
        place: Its index in the list of its peer.
        place_of_all: Its index in the list of all.
    """

    accounted: int
    heavy_from: int
    place: int
    place_of_all: int

    @property
    def active_at(self) -> float:
        """When the last segment was received or sent, in seconds."""
        ...


T = TypeVar("T")
M = TypeVar("M", bound=Member)


class Peer(Generic[M]):
    """The connections and memory of one peer.

    Attributes:
        key: `peer_key` of its addresses.
        members: Its connections, without those in TIME-WAIT without a socket.
        orphans: Those of them that the application has closed, the oldest first.
        held: Octets that they hold together.
        memory_from, connections_from, orphans_from: As `Member.heavy_from`, of octets,
            connections, and orphans.
    """

    __slots__ = (
        "_hand",
        "_heavy",
        "connections_from",
        "held",
        "key",
        "members",
        "memory_from",
        "orphans",
        "orphans_from",
    )

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.members: list[M] = []
        self.orphans: OrderedDict[M, None] | None = None
        self.held = 0
        self.memory_from = _LEAST_MEMORY
        self.connections_from = _LEAST_CONNECTIONS
        self.orphans_from = _LEAST_ORPHANS
        self._hand = 0
        self._heavy: _HeavyMembers[M] | None = None

    def grew(self, member: M) -> None:
        """Record that `member` uses `heavy_from` octets or more."""
        if self._heavy is None:
            self._heavy = _HeavyMembers(HEAVY)
        self._heavy.put(member)

    def forget(self, member: M) -> None:
        """Remove `member`, which has ended."""
        if self._heavy is not None:
            self._heavy.drop(member)

    def idle_longest(self) -> M:
        """Return the connection idle longest, of the next `CANDIDATES`."""
        chosen, self._hand = _idle_longest(self.members, self._hand)
        return chosen

    def heaviest(self) -> M:
        """Return the largest connection, within a factor of two; of several the idlest."""
        heavy = self._heavy and self._heavy.heaviest(lambda member: -member.active_at)
        return heavy or self.idle_longest()


class _Levels(ABC, Generic[T]):
    """Items by weight, in levels of powers of two.

    An item that has become lighter is moved only when a search finds it: one whose weight goes up
    and down repeatedly is moved once.
    """

    def __init__(self, unit: int) -> None:
        """Track items of weight `unit` or more."""
        self._unit = unit
        self._levels: dict[int, OrderedDict[T, None]] = {}
        self._at: dict[T, int] = {}

    @abstractmethod
    def weight(self, item: T) -> int:
        """The weight of `item`."""

    @abstractmethod
    def note(self, item: T, weight: int) -> None:
        """Set the weight of `item` at which :meth:`put` is to be called again."""

    def put(self, item: T) -> None:
        """Move `item`, which has become heavier, to its level."""
        level = (self.weight(item) // self._unit).bit_length()
        if level > self._at.get(item, 0):
            self._move(item, level)

    def drop(self, item: T) -> None:
        """Remove `item`, if it is here."""
        level = self._at.pop(item, None)
        if level is not None:
            self._take_out(item, level)

    def heaviest(self, score: Callable[[T], float]) -> T | None:
        """Return the item with the greatest `score` of `CANDIDATES` in the heaviest level."""
        found: list[T] = []
        for _ in range(CANDIDATES):
            if not self._levels:
                break
            level = max(self._levels)
            together = self._levels[level]
            item = next(iter(together))
            now = (self.weight(item) // self._unit).bit_length()
            if now < level:
                self._move(item, now)
                continue
            if found and item is found[0]:
                break
            together.move_to_end(item)
            found.append(item)
        return max(found, key=score, default=None)

    def _move(self, item: T, level: int) -> None:
        self.drop(item)
        if level:
            self._at[item] = level
            self._levels.setdefault(level, OrderedDict())[item] = None
        self.note(item, self._unit << level)

    def _take_out(self, item: T, level: int) -> None:
        together = self._levels[level]
        del together[item]
        if not together:
            del self._levels[level]


class _HeavyMembers(_Levels[M]):
    def weight(self, item: M) -> int:
        return item.accounted

    def note(self, item: M, weight: int) -> None:
        item.heavy_from = weight


class _ByMemory(_Levels[Peer[M]]):
    def weight(self, item: Peer[M]) -> int:
        return item.held

    def note(self, item: Peer[M], weight: int) -> None:
        item.memory_from = weight


class _ByConnections(_Levels[Peer[M]]):
    def weight(self, item: Peer[M]) -> int:
        return len(item.members)

    def note(self, item: Peer[M], weight: int) -> None:
        item.connections_from = weight


class _ByOrphans(_Levels[Peer[M]]):
    def weight(self, item: Peer[M]) -> int:
        return len(item.orphans or ())

    def note(self, item: Peer[M], weight: int) -> None:
        item.orphans_from = weight


class Peers(Generic[M]):
    """The peers of a host, and their connections."""

    def __init__(self) -> None:
        self._oldest: OrderedDict[M, None] = OrderedDict()  # All orphans.
        self._by_key: dict[bytes, Peer[M]] = {}
        self._members: list[M] = []
        self._hand = 0
        self._by_memory: _ByMemory[M] = _ByMemory(_LEAST_MEMORY)
        self._by_connections: _ByConnections[M] = _ByConnections(_LEAST_CONNECTIONS)
        self._by_orphans: _ByOrphans[M] = _ByOrphans(_LEAST_ORPHANS)

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, address: bytes) -> Peer[M] | None:
        """Return the peer at `address`; None if it has no connection."""
        return self._by_key.get(peer_key(address))

    @property
    def orphans(self) -> int:
        """Number of orphans."""
        return len(self._oldest)

    # Changes

    def join(self, address: bytes, member: M) -> Peer[M]:
        """Add a connection with `address`; returns its peer."""
        key = peer_key(address)
        peer = self._by_key.get(key)
        if peer is None:
            peer = self._by_key[key] = Peer(key)
        members, everyone = peer.members, self._members
        member.place, member.place_of_all = len(members), len(everyone)
        members.append(member)
        everyone.append(member)
        peer.held += member.accounted
        if member.place + 1 >= peer.connections_from:
            self._by_connections.put(peer)
        return peer

    def leave(self, peer: Peer[M], member: M) -> None:
        """Remove a connection of `peer`, which must not be an orphan."""
        members, everyone = peer.members, self._members
        last = members.pop()
        if last is not member:
            members[member.place] = last
            last.place = member.place
        last = everyone.pop()
        if last is not member:
            everyone[member.place_of_all] = last
            last.place_of_all = member.place_of_all
        peer.held -= member.accounted
        if member.heavy_from > HEAVY:  # Else it was never added.
            peer.forget(member)
        if not members:
            del self._by_key[peer.key]
            if peer.memory_from > _LEAST_MEMORY:  # Else it was never added.
                self._by_memory.drop(peer)
            if peer.connections_from > _LEAST_CONNECTIONS:
                self._by_connections.drop(peer)
            if peer.orphans_from > _LEAST_ORPHANS:
                self._by_orphans.drop(peer)

    def grew(self, peer: Peer[M], member: M) -> None:
        """Record that `peer` uses `memory_from` octets or more, or `member` `heavy_from`."""
        if member.accounted >= member.heavy_from:
            peer.grew(member)
        if peer.held >= peer.memory_from:
            self._by_memory.put(peer)

    def add_orphan(self, peer: Peer[M], member: M) -> None:
        """Add `member` to the orphans, as its application has closed it; idempotent."""
        if member in self._oldest:
            return
        self._oldest[member] = None
        orphans = peer.orphans
        if orphans is None:
            orphans = peer.orphans = OrderedDict()
        orphans[member] = None
        if len(orphans) >= peer.orphans_from:
            self._by_orphans.put(peer)

    def remove_orphan(self, peer: Peer[M], member: M) -> None:
        """Remove `member` from the orphans, if it is one."""
        if member in self._oldest and peer.orphans is not None:
            del self._oldest[member]
            del peer.orphans[member]

    # The largest

    def oldest_orphan(self) -> M | None:
        """Return the oldest orphan of the peer with most orphans; of all, if none has two."""
        peer = self._by_orphans.heaviest(lambda peer: len(peer.orphans or ()))
        return next(iter(self._oldest if peer is None else peer.orphans or ()), None)

    def with_most_connections(self) -> Peer[M] | None:
        """Return the peer with most connections; None if none has two."""
        return self._by_connections.heaviest(lambda peer: len(peer.members))

    def with_most_memory(self) -> Peer[M] | None:
        """Return the peer that uses most memory; None if none uses `_LEAST_MEMORY`."""
        return self._by_memory.heaviest(lambda peer: peer.held)

    def idle_longest(self) -> M | None:
        """Return the connection idle longest, of the next `CANDIDATES` of all."""
        if not self._members:
            return None
        chosen, self._hand = _idle_longest(self._members, self._hand)
        return chosen


def _idle_longest(members: Sequence[M], hand: int) -> tuple[M, int]:
    """Return the one idle longest of `CANDIDATES` members from `hand` on, and the next `hand`."""
    first = hand % len(members)
    some = [*members[first : first + CANDIDATES]]
    some += members[: min(first, CANDIDATES - len(some))]
    return min(some, key=lambda member: member.active_at), first + len(some)
