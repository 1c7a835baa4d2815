"""Actions that let other packets go on in place of a packet: change, damage, split, duplicate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, final

from tunstack.path.rules.actions import Action
from tunstack.path.rules.fields import ADDRESS_FIELDS, FIELDS, ICMP_FIELDS, TCP_FIELDS, checked
from tunstack.path.rules.numbers import is_whole
from tunstack.tcp.segment import CWR, FIN, PSH, SYN, URG, flag_names

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tunstack.path.rules.actions import Stage
    from tunstack.path.rules.packet import Packet

_MOST_OCTETS: Final = 1 << 16
"""Octets of the largest packet, rounded up."""
_MOST_COPIES: Final = 1000


@final
class Change(Action):
    """Changes fields of the packet; values are constant, or functions of the packet.

    Raises:
        ValueError: no field, one that no packet has, a value that does not fit in.
    """

    word = "changed"

    def __init__(self, fields: Mapping[str, object]) -> None:
        if not fields or not isinstance(fields, Mapping):
            raise ValueError(f'change needs a field, as in change({{"ttl": 1}}), not {fields!r}')
        for name, value in fields.items():
            if name not in FIELDS:
                raise ValueError(f"no packet has a field {name!r}; there are {', '.join(FIELDS)}")
            if not callable(value):
                checked(name, value)
        self._fields = dict(fields)
        self._versions = {
            checked(name, fields[name]).version
            for name in ADDRESS_FIELDS
            if name in fields and not callable(fields[name])
        }
        for protocol, names in (("tcp", TCP_FIELDS), ("ICMP", ICMP_FIELDS)):
            theirs = [name for name in fields if name in names]
            if not theirs:
                continue
            if self.protocol is not None:
                raise ValueError(f"no packet has all the fields {', '.join(fields)}")
            self.protocol, self.because = protocol, theirs[0]

    def suits(self, packet: Packet) -> bool:  # noqa: D102
        if self._versions and {packet.version} != self._versions:
            return False
        if packet.is_fragment and not ADDRESS_FIELDS.isdisjoint(self._fields):
            return False
        return packet.fields.issuperset(self._fields)

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        fields: dict[str, Any] = {
            name: value(packet) if callable(value) else value
            for name, value in self._fields.items()
        }
        result = packet.replace(**fields)
        stage.made(packet, self.word, [result])
        return [result]

    def __str__(self) -> str:
        return f"change {self._fields}"


@final
class Damage(Action):
    """Inverts an octet of the packet, or one bit at random.

    Raises:
        ValueError: an octet that no packet has.
    """

    word = "damaged"

    def __init__(self, octet: int | None, rng: random.Random) -> None:
        if not (octet is None or (is_whole(octet) and -_MOST_OCTETS <= octet < _MOST_OCTETS)):
            raise ValueError(f"octet must be one of a packet, as 40 or -1, or None, not {octet!r}")
        self._octet = octet
        self._rng = rng

    def suits(self, packet: Packet) -> bool:  # noqa: D102
        size = len(packet.data)
        return size > 0 if self._octet is None else -size <= self._octet < size

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        data = bytearray(packet.data)
        if self._octet is None:
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)
        else:
            data[self._octet] ^= 0xFF
        result = packet.with_data(bytes(data))
        stage.made(packet, self.word, [result])
        return [result]

    def __str__(self) -> str:
        return f"damage octet {'at random' if self._octet is None else self._octet}"


@final
class Split(Action):
    """Makes two TCP segments of one, at an octet of its payload.

    Raises:
        ValueError: a number below 1.
    """

    word = "split"
    protocol = "tcp"
    because = "segments to split"

    def __init__(self, at: int) -> None:
        if not (is_whole(at) and at >= 1):
            raise ValueError(f"a segment is split at octet 1 of its payload or later, not {at!r}")
        self._at = at

    def suits(self, packet: Packet) -> bool:  # noqa: D102
        payload = packet.payload
        return packet.seq is not None and payload is not None and len(payload) > self._at

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        at = self._at
        payload, seq, flags = packet.payload, packet.seq, packet.flag_bits
        assert payload is not None
        assert seq is not None
        assert flags is not None
        urgent = max((packet.urgent or 0) - at, 0)
        later = flags & ~(SYN | CWR) & (0xFF if urgent else ~URG)
        results = [
            packet.replace(payload=payload[:at], flags=flag_names(flags & ~(FIN | PSH))),
            packet.replace(
                seq=seq + at + bool(flags & SYN),
                payload=payload[at:],
                flags=flag_names(later),
                urgent=urgent,
            ),
        ]
        stage.made(packet, self.word, results)
        return results

    def __str__(self) -> str:
        return f"split at {self._at}"


@final
class Duplicate(Action):
    """Sends copies after the packet.

    Raises:
        ValueError: less than one copy, or more than 1000.
    """

    word = "duplicated"

    def __init__(self, copies: int) -> None:
        if not (is_whole(copies) and 1 <= copies <= _MOST_COPIES):
            raise ValueError(f"copies must be from 1 to {_MOST_COPIES}, not {copies!r}")
        self._copies = copies

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        copies = [packet] * self._copies
        stage.made(packet, self.word, copies)
        return [packet, *copies]

    def __str__(self) -> str:
        return f"duplicate {self._copies} times" if self._copies > 1 else "duplicate"
