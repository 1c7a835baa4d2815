"""The texts of behaviours, for Python, the command line and pytest: ``loss=5%,refuse``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from tunstack.behaviours.base import Behaviour

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.behaviours.base import Direction, Protocol

BehaviourLike: TypeAlias = "str | Behaviour | Iterable[Behaviour] | None"
"""A text, one behaviour, several, or none."""


def parse(given: BehaviourLike, protocol: Protocol | None = None) -> tuple[Behaviour, ...]:
    """Return the behaviours of a text, or those given, checked together.

    Args:
        given: A text of `name` or `name=VALUE`, several with commas, each with ``in:`` or ``out:``
            before it where it has a direction; or behaviours.
        protocol: What is served with them; None if that is not known.

    Raises:
        ValueError: an unknown name, a value that is not possible, two that contradict each other,
            one that is not of the protocol; the message is for the user.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        behaviours = tuple(_read(item.strip()) for item in given.split(","))
    else:
        behaviours = (given,) if isinstance(given, Behaviour) else tuple(given)
    for each in behaviours:
        if not isinstance(each, Behaviour):
            raise TypeError(f"a behaviour is a text or a Behaviour, not {each!r}")
        if protocol is not None and protocol not in each.protocols:
            raise ValueError(f"{each.name} is of TCP: UDP has no connections")
    _check_together(behaviours)
    return behaviours


def _read(item: str) -> Behaviour:
    from tunstack.behaviours.known import BY_NAME

    way, colon, rest = item.partition(":")
    if not colon:
        way, rest = "", item
    elif way not in ("in", "out"):
        raise ValueError(f"{way!r} is no direction: write out: or in: before {rest!r}")
    name, equals, value = rest.partition("=")
    found = BY_NAME.get(name.strip())
    if found is None:
        raise ValueError(_unknown(name.strip()))
    return found.read(value.strip() if equals else None, cast("Direction", way) if way else None)


def _unknown(name: str) -> str:
    if not name:
        return "a behaviour is missing after a comma: tunstack behaviours lists them"
    from difflib import get_close_matches

    from tunstack.behaviours.elsewhere import ELSEWHERE
    from tunstack.behaviours.known import BY_NAME

    other = next((each for each in ELSEWHERE if each.name == name), None)
    if other is not None:
        return f"{name} is {other.of}: {other.use}"
    close = get_close_matches(name, BY_NAME, n=3, cutoff=0.5)
    there = f"did you mean {' or '.join(close)}?" if close else "tunstack behaviours lists them"
    return f"there is no behaviour {name!r}: {there}"


def _check_together(behaviours: tuple[Behaviour, ...]) -> None:
    for at, behaviour in enumerate(behaviours):
        for other in behaviours[:at]:
            if why := _contradiction(other, behaviour):
                raise ValueError(f"{other.name} and {behaviour.name} contradict each other: {why}")
    chosen = next((each for each in behaviours if each.part == "choice"), None)
    if chosen is None:
        return
    if len(behaviours) == 1:
        raise ValueError(f"{chosen} needs what these connections do, as in {chosen.example}")
    for each in behaviours:
        if not each.usable_for_some:
            raise ValueError(f"{each.name} is of all connections: leave out {chosen}")


def _contradiction(one: Behaviour, other: Behaviour) -> str | None:
    """Return why two behaviours cannot be had together; None if they can."""
    if one.name == other.name:
        return "it is there twice"
    if "choice" in (one.part, other.part):
        return "give one of them" if one.part == other.part else None
    for each in (one, other):
        if each.excludes_all:
            return f"with {each.name} no connection is served"
    if one.part == other.part == "ending":
        return "a connection ends in one way"
    if {one.name, other.name} == {"small-mtu", "pmtu-blackhole"}:
        return "large packets are answered or lost"
    if "nonsense" in (one.name, other.name) and "slow-reader" in (one.name, other.name):
        return "nonsense reads nothing"
    return None


def check_one_process(behaviours: Iterable[Behaviour]) -> None:
    """Check that several processes can serve with these.

    Raises:
        ValueError: one counts connections, or has them share something.
    """
    for each in behaviours:
        if each.one_process:
            raise ValueError(f"{each} is of all connections together: not with several workers")
