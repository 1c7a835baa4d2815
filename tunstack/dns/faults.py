"""What a DNS server does wrong, by name.

The text of a fault is a list of these, with commas between them:

==================  ===============================================================================
``no-answer[:N]``   nothing is sent
``delay:SECONDS``   the reply is late; other queries are not held up, but those that follow on the
                    same TCP connection
``servfail[:N]``    SERVFAIL in place of the answer
``refused[:N]``     REFUSED
``nxdomain[:N]``    NXDOMAIN, with the SOA record
``truncated``       over UDP an empty reply with TC set: the resolver must ask over TCP
``wrong-id``        the id of the reply is not that of the query
==================  ===============================================================================

With ``:N`` it does so for the first N queries for that name, of any type, and then answers. The
name is an owner name, ``*.a.test`` for all names below ``a.test``, or ``*`` for every name. A name
itself precedes the patterns, and of patterns the longest counts::

    {"slow.test": "delay:3", "*.flaky.test": "servfail:2", "*": "delay:0.1,truncated"}
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

import dns.name

if TYPE_CHECKING:
    from collections.abc import Mapping

_COUNTED: Final = ("no-answer", "servfail", "refused", "nxdomain")
_LATEST: Final = 3600.0
"""Seconds of the longest delay."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the replies about a name.

    Attributes:
        delay: Seconds before the reply is sent.
        outcome: ``"no-answer"``, ``"servfail"``, ``"refused"``, ``"nxdomain"``; None: the answer.
        times: For how many queries that outcome is; None for all.
        truncated: Whether replies over UDP are empty, with TC set.
        wrong_id: Whether the id is another.
    """

    delay: float = 0.0
    outcome: str | None = None
    times: int | None = None
    truncated: bool = False
    wrong_id: bool = False


def parse_fault(text: str) -> Fault:
    """Parse a fault.

    Raises:
        ValueError: says what was expected.
    """
    fault = Fault()
    for item in text.split(","):
        kind, colon, argument = item.strip().partition(":")
        if kind == "delay":
            fault = replace(fault, delay=_seconds(argument, item))
        elif kind in _COUNTED and fault.outcome is None:
            fault = replace(fault, outcome=kind, times=_times(argument, item) if colon else None)
        elif kind == "truncated" and not colon:
            fault = replace(fault, truncated=True)
        elif kind == "wrong-id" and not colon:
            fault = replace(fault, wrong_id=True)
        else:
            known = ", ".join(["delay:SECONDS", *(f"{each}[:N]" for each in _COUNTED)])
            raise ValueError(
                f"{item!r} is no fault, or one too many; there are {known}, truncated, wrong-id"
            )
    return fault


def _seconds(argument: str, item: str) -> float:
    try:
        seconds = float(argument)
    except ValueError:
        seconds = -1.0
    if not math.isfinite(seconds) or not 0 <= seconds <= _LATEST:
        raise ValueError(f"{item!r}: give seconds from 0 to 3600, as in delay:1.5")
    return seconds


def _times(argument: str, item: str) -> int:
    if not (argument.isascii() and argument.isdigit() and 0 < int(argument) < 1 << 31):
        raise ValueError(f"{item!r}: give the number of queries, as in servfail:2")
    return int(argument)


@final
class Faults:
    """The faults of a server, by pattern, and how often each was asked for.

    Args:
        table: The faults by pattern.

    Raises:
        ValueError: a pattern or a fault is malformed.
    """

    def __init__(self, table: Mapping[str, str | Fault]) -> None:
        self._names: dict[dns.name.Name, Fault] = {}
        self._below: dict[dns.name.Name, Fault] = {}
        self._asked: dict[int, int] = {}
        for pattern, given in table.items():
            fault = parse_fault(given) if isinstance(given, str) else given
            try:
                name = dns.name.from_text(pattern)
            except Exception as error:
                raise ValueError(f"{pattern!r} is no name: {error}") from None
            if name.is_wild():
                self._below[name.parent()] = fault
            else:
                self._names[name] = fault

    def __bool__(self) -> bool:
        return bool(self._names or self._below)

    def find(self, name: dns.name.Name) -> Fault | None:
        """Return the fault of a name, without regard to how often it was asked for."""
        found = self._names.get(name)
        while found is None and self._below and len(name) > 1:
            name = name.parent()
            found = self._below.get(name)
        return found

    def next_for(self, name: dns.name.Name) -> Fault | None:
        """Return the fault for a query for a name, and count the query."""
        fault = self.find(name)
        if fault is None or fault.times is None:
            return fault
        asked = self._asked.get(id(fault), 0)
        self._asked[id(fault)] = asked + 1
        return fault if asked < fault.times else replace(fault, outcome=None)
