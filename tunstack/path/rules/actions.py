"""What a rule does to a packet: one small class for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, final

from tunstack.path.rules.packet import Packet

if TYPE_CHECKING:
    import random
    from collections import deque

    from tunstack.path.rules.packet import Direction

Function: TypeAlias = Callable[[Packet], "Packet | Sequence[Packet] | None"]


class Stage(Protocol):
    """The part of a gate that actions use: where a packet waits, and who hears of it."""

    def wait(self, packet: Packet, due: float, rule: int, word: str) -> None:
        """Keep a packet until `due` seconds; then it goes to the rules behind `rule`."""

    def postpone(self, packet: Packet, count: int, rule: int) -> None:
        """Keep a packet until `count` more of its direction have passed."""

    def hold(self, packet: Packet) -> bool:
        """Account for a packet that an action keeps; False if no more are kept: it is dropped."""

    def took(self, packet: Packet, word: str) -> None:
        """Count and report a packet that does not go on."""

    def made(self, packet: Packet, word: str, results: Sequence[Packet]) -> None:
        """Count and report what goes on in place of a packet."""


class Action(ABC):
    """What a rule does to the packets that it matches.

    Attributes:
        word: What it is called in counters and verdicts, as ``"dropped"``.
        held: The packets that it holds until they are released; None if it never does.
    """

    word: ClassVar[str]
    held: deque[Packet] | None = None

    def suits(self, packet: Packet) -> bool:
        """Whether it can be done to a packet; others do not match the rule."""
        return True

    @abstractmethod
    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:
        """Do it to a packet; returns what goes on to the later rules, or back the other way."""

    @abstractmethod
    def __str__(self) -> str:
        """What the rule does, as it is called."""


@final
class Drop(Action):
    """Drops the packet."""

    word = "dropped"

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        stage.took(packet, self.word)
        return ()

    def __str__(self) -> str:
        return "drop"


@final
class Delay(Action):
    """Delays the packet by some seconds, or by a random time between two.

    Raises:
        ValueError: a time that is negative, or a least above the most.
    """

    word = "delayed"

    def __init__(self, seconds: float | tuple[float, float], rng: random.Random) -> None:
        least, most = seconds if isinstance(seconds, tuple) else (seconds, seconds)
        if not 0 <= least <= most < float("inf"):
            raise ValueError(f"delay must be 0 or more seconds, or (least, most), not {seconds!r}")
        self._least, self._most = float(least), float(most)
        self._rng = rng

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        least, most = self._least, self._most
        delay = least if least == most else self._rng.uniform(least, most)
        stage.wait(packet, now + delay, rule, self.word)
        return ()

    def __str__(self) -> str:
        if self._least == self._most:
            return f"delay {self._least:g} s"
        return f"delay {self._least:g} to {self._most:g} s"


@final
class Call(Action):
    """Asks a function what becomes of the packet."""

    word = "changed"

    def __init__(self, function: Function) -> None:
        if not callable(function):
            raise TypeError(f"call takes a function of a packet, not {function!r}")
        self._function = function

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        results = as_packets(self._function(packet), self)
        if not results:
            stage.took(packet, "taken")
        elif any(result is not packet for result in results):
            stage.made(packet, self.word, results)
        return results

    def __str__(self) -> str:
        return f"call {getattr(self._function, '__qualname__', self._function)}"


def as_packets(given: Any, action: Action) -> Sequence[Packet]:
    """Return what a function or a caller gave, as a sequence.

    Raises:
        TypeError: it is neither a packet, nor a sequence of them, nor None.
    """
    if given is None:
        return ()
    if isinstance(given, Packet):
        return (given,)
    if isinstance(given, Sequence) and all(isinstance(each, Packet) for each in given):
        return given
    raise TypeError(f"{action}: expected a Packet, a sequence of them or None, not {given!r}")


def headed(packets: Sequence[Packet], direction: Direction) -> list[Packet]:
    """Return packets as they go in a direction."""
    return [packet.going(direction) for packet in packets]
