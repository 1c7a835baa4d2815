"""What a rule does to a packet: the interface of all actions, and the two plainest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, final

from tunstack.path.rules.packet import Packet

if TYPE_CHECKING:
    from collections import deque


Function: TypeAlias = Callable[[Packet], "Packet | Sequence[Packet] | None"]


class Stage(Protocol):
    """The part of a gate that actions use: where a packet waits, and who hears of it."""

    def wait(self, packet: Packet, due: float, rule: int, word: str) -> None:
        """Keep a packet until `due` seconds; then it goes to the rules behind `rule`."""

    def postpone(self, packet: Packet, count: int, rule: int) -> None:
        """Keep a packet until `count` more of its direction have passed."""

    def hold(self, packet: Packet, word: str) -> bool:
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
        protocol: The only protocol that has it, ``"tcp"`` or ``"ICMP"`` of either family.
        because: What the other protocols do not have.
    """

    word: ClassVar[str]
    held: deque[Packet] | None = None
    protocol: str | None = None
    because: str = ""

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
        elif others := [result for result in results if result is not packet]:
            stage.made(packet, self.word, others)
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
