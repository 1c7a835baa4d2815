"""What a segment is expected to be like, and where another one differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from tunstack.path.rules.flags import flag_bits
from tunstack.tcp.segment import PSH, flag_names
from tunstack.tcp.sequence import diff

if TYPE_CHECKING:
    from tunstack.conversation.segment import TcpSegment

_T = TypeVar("_T")
Wanted: TypeAlias = _T | Callable[[_T], bool]
"""A value, or what tells whether a value will do."""

_SHOWN: Final = 26
"""Characters of a value in the table."""
_BEFORE: Final = 4
"""Octets that are shown before the first one that differs."""
_MODULAR: Final = ("seq", "ack")
_OCTETS: Final = ("payload", "options")


class Field(NamedTuple):
    """One field of an expectation beside that of a segment, as texts."""

    name: str
    expected: str
    came: str
    differs: bool


class Expectation:
    """The fields that a segment must have.

    Args:
        flags: Names of the flags that must be set, all others not: but PSH only if it is named.
        wanted: Fields of :class:`~tunstack.TcpSegment`, each with a value or a predicate; None for
            any value. For `timestamps` also True and False: there are any, or none.
        where: What the whole segment must satisfy.

    Raises:
        ValueError: There is no such flag.
        TypeError: Text is given where octets are compared.
    """

    def __init__(
        self,
        flags: str | None,
        wanted: Mapping[str, Any],
        where: Callable[[TcpSegment], bool] | None = None,
    ) -> None:
        self._flags = None if flags is None else flag_bits(flags)
        self._wanted = {name: value for name, value in wanted.items() if value is not None}
        self._where = where
        for name in _OCTETS:
            if isinstance(self._wanted.get(name), str):
                raise TypeError(f"{name} must be bytes, not a str: {self._wanted[name]!r}")

    def __str__(self) -> str:
        """The words of one line: ``"FIN,ACK seq 6"``."""
        words = ["a segment" if self._flags is None else flag_names(self._flags)]
        for name, value in self._wanted.items():
            words.append(
                f"{name} ({_named(value)})" if callable(value) else f"{name} {_shown(value)}"
            )
        if self._where is not None:
            words.append(f"where ({_named(self._where)})")
        return " ".join(words)

    def compare(self, segment: TcpSegment) -> list[Field]:
        """Each expected field beside the one that came.

        What a predicate raises comes out of it.
        """
        fields = []
        if self._flags is not None:
            bits = flag_bits(segment.flags)
            ignored = 0 if self._flags & PSH else PSH
            differs = bool((bits ^ self._flags) & ~ignored)
            fields.append(Field("flags", flag_names(self._flags), segment.flags, differs))
        for name, value in self._wanted.items():
            came = getattr(segment, name)
            texts = _both(value, came)
            fields.append(Field(name, *texts, not _suits(name, value, came)))
        if self._where is not None:
            held = bool(self._where(segment))
            fields.append(Field("where", _named(self._where), _shown(held), not held))
        return fields


def _suits(name: str, wanted: Any, came: Any) -> bool:
    if callable(wanted):
        return bool(wanted(came))
    if name == "timestamps" and isinstance(wanted, bool):
        return (came is not None) == wanted
    if name in _MODULAR and came is not None:
        return diff(came, wanted) == 0
    if name == "sack":
        return bool(tuple(map(tuple, wanted)) == came)
    return bool(came == wanted)


def _both(wanted: Any, came: Any) -> tuple[str, str]:
    """The texts of both values; of long octets the part that differs first."""
    octets = isinstance(wanted, bytes) and isinstance(came, bytes) and wanted != came
    if octets and max(len(repr(wanted)), len(repr(came))) > _SHOWN:
        start = max(0, _first_difference(wanted, came) - _BEFORE)
        return _from(wanted, start), _from(came, start)
    return _shown(wanted), _shown(came)


def _first_difference(one: bytes, other: bytes) -> int:
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


def _from(octets: bytes, start: int) -> str:
    """Octets from `start` on, as many as there is room for, and the number of all.

    ``[9:14] b'P/1.0' of 41``.
    """
    count = min(len(octets) - start, _SHOWN)
    while len(text := _part(octets, start, start + count)) > _SHOWN and count > 1:
        count -= 1
    return text


def _part(octets: bytes, start: int, end: int) -> str:
    where = f"[{start or ''}:{end if end < len(octets) else ''}]"
    return f"{where} {octets[start:end]!r} of {len(octets)}"


def _shown(value: Any) -> str:
    if callable(value):
        return _named(value)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return repr(value) if len(repr(value)) <= _SHOWN else _from(value, 0)
    return str(value)


def _named(predicate: Callable[..., object]) -> str:
    name = getattr(predicate, "__name__", "")
    return f"{name}()" if name and name != "<lambda>" else "a predicate"
