"""What the name servers said, for as long as they said that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

if TYPE_CHECKING:
    import dns.name
    import dns.rdatatype

    Key: TypeAlias = tuple[dns.name.Name, dns.rdatatype.RdataType]

_LONGEST: Final = 86400.0
"""Seconds of the longest TTL (RFC 2181 section 8 leaves it to us)."""
_LONGEST_NEGATIVE: Final = 10800.0
"""The same for a negative answer (RFC 2308 section 5)."""
_ENTRIES: Final = 1000


class Answer(NamedTuple):
    """What is known of a name and a type.

    Attributes:
        exists: Whether the name exists.
        data: The data of the records, as text: addresses, or names. None for a negative answer.
        canonical: The name that has them, at the end of all CNAME records.
        ttl: In seconds; 0 for what is not to be cached.
    """

    exists: bool
    data: tuple[str, ...]
    canonical: dns.name.Name
    ttl: float


@final
class Cache:
    """Answers by name and type; the oldest make place for new ones."""

    def __init__(self) -> None:
        self._entries: dict[Key, tuple[float, Answer]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> Answer | None:
        """Return the answer, unless its TTL is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry[0]:
            del self._entries[key]
            return None
        return entry[1]

    def put(self, key: Key, answer: Answer, now: float) -> None:
        """Keep an answer for its TTL."""
        ttl = min(answer.ttl, _LONGEST if answer.data else _LONGEST_NEGATIVE)
        if ttl <= 0:
            return
        self._entries.pop(key, None)
        if len(self._entries) >= _ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = now + ttl, answer
