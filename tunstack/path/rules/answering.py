"""The action that answers a packet in the place of who would get it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, final

from tunstack.path.rules.actions import Action, Function, as_packets
from tunstack.path.rules.icmp_errors import parse_kind
from tunstack.path.rules.packet import OTHER_WAY, Packet

if TYPE_CHECKING:
    from tunstack.path.rules.actions import Stage

AnswerLike: TypeAlias = str | Packet | Sequence[Packet] | Function
"""``"reset"``, an ICMP error by name, packets, or a function that returns packets."""

_RESET: Final = "reset"


@final
class Answer(Action):
    """Takes the packet, and sends an answer back.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name, nor packets, nor a function.
    """

    word = "answered"

    def __init__(self, answer: AnswerLike) -> None:
        self._name = str(answer) if isinstance(answer, str) else _name(answer)
        self._answer: Callable[[Packet], Packet | Sequence[Packet] | None]
        if isinstance(answer, str):
            self._suits = _is_segment if answer == _RESET else _has_icmp_error
            if answer == _RESET:
                self.protocol, self.because = "tcp", "resets"
                self._answer = Packet.reset
            else:
                kind, mtu = parse_kind(answer, others=(_RESET,))
                self._answer = lambda packet: packet.icmp_error(kind, mtu=mtu)
            return
        self._suits = _any
        if callable(answer):
            self._answer = answer
        else:
            packets = as_packets(answer, self)
            self._answer = lambda packet: packets

    def suits(self, packet: Packet) -> bool:  # noqa: D102
        return self._suits(packet)

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        back = OTHER_WAY[packet.direction]
        answers = [each.going(back) for each in as_packets(self._answer(packet), self)]
        stage.took(packet, self.word)
        return answers

    def __str__(self) -> str:
        return f"answer {self._name}"


def _name(answer: Packet | Sequence[Packet] | Function) -> str:
    if isinstance(answer, Packet):
        return "1 packet"
    if isinstance(answer, Sequence):
        return f"{len(answer)} packets"
    return str(getattr(answer, "__qualname__", answer))


def _any(packet: Packet) -> bool:
    return True


def _is_segment(packet: Packet) -> bool:
    """Whether a RST may answer it."""
    flags = packet.flags
    return flags is not None and "RST" not in flags


def _has_icmp_error(packet: Packet) -> bool:
    """Whether an ICMP error may answer it."""
    return packet.may_have_icmp_error
