"""The rules of a host, as programs add them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol, final

from tunstack.path.rules.actions import Call, Drop
from tunstack.path.rules.answering import Answer
from tunstack.path.rules.changing import Change, Damage, Duplicate, Split
from tunstack.path.rules.packet import OTHER_WAY, Packet
from tunstack.path.rules.rule import Rule
from tunstack.path.rules.selection import Matcher
from tunstack.path.rules.waiting import Delay, Hold, Impair, Postpone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from tunstack.path.impair import ImpairmentsLike
    from tunstack.path.rules.actions import Action, Function
    from tunstack.path.rules.answering import AnswerLike
    from tunstack.path.rules.gate import Gate
    from tunstack.path.rules.packet import Direction
    from tunstack.path.rules.selection import Selection


class Place(Protocol):
    """Where rules are: what has a gate, and sends its packets through it."""

    @property
    def gate(self) -> Gate:
        """The gate."""

    def use_gate(self) -> None:
        """Let packets pass the gate from now on.

        Raises:
            OSError: ENETDOWN, it has ended.
        """

    def inject(self, packet: Packet) -> None:
        """Send a packet in its direction, seen by no rule."""


@final
class Rules:
    """The rules on a host's packets: ``host.rules``.

    Each call but :meth:`inject` adds a rule behind all others, and returns it. A packet passes the
    rules in this order; what one of them lets pass, however late, is put to those behind it. The
    keywords select its packets, see :class:`~tunstack.path.rules.selection.Selection`; without any
    it applies to all, in both directions.

    Rules see packets as a wire carries them, of every protocol: large segments are segmented before
    (TSO), what the host sends when it ends is among them, and what a host sends to an address of
    its own is not, which never goes out. A rule may be added before the host is started.

    At most 10,000 packets of 16 MiB altogether wait in a host for its rules; more are dropped, and
    counted as ``rules_overflowed``; so are copies of copies beyond as many. When the host ends,
    what was delayed on its way out is sent at once, as by an :class:`tunstack.ImpairedLink`; what
    else waits is lost.

    The functions of a program that rules call, `where` among them, must be quick, and must not
    block. If one raises, its packet is dropped and counted as ``rule_failed``, the rule is removed,
    and the exception ends the host's block.
    """

    def __init__(self, place: Place, seed: int | None) -> None:
        self._place = place
        self._seed = seed
        self._added = 0

    def __len__(self) -> int:
        return len(self._place.gate.rules)

    def __repr__(self) -> str:
        return f"<tunstack.Rules {self._place.gate.rules}>"

    def _rng(self, number: int) -> random.Random:
        """A generator for a rule: what one draws does not depend on others, nor on the host's."""
        return random.Random(None if self._seed is None else f"rule {number} {self._seed}")

    def _add(self, action: Action, selection: Selection, rng: random.Random | None = None) -> Rule:
        number = self._added + 1
        rng = rng or self._rng(number)
        matcher = Matcher(selection, rng, only=action.protocol, because=action.because)
        self._place.use_gate()
        self._added = number
        gate = self._place.gate
        rule = Rule(number, matcher, action, gate)
        gate.add(rule)
        return rule

    def drop(self, **selection: Unpack[Selection]) -> Rule:
        """Drop packets.

        Raises:
            TypeError: there is no such keyword.
            ValueError: a selection that is malformed, or that no packet can match.
            OSError: ENETDOWN: the host has ended, or its device is gone.
        """
        return self._add(Drop(), selection)

    def delay(self, seconds: float | tuple[float, float], **selection: Unpack[Selection]) -> Rule:
        """Delay packets by `seconds`, each by a random time if that is (least, most).

        trio's own clock has a resolution of a millisecond; a virtual one is exact. Packets with
        different delays overtake each other.

        Raises:
            ValueError: a negative time; and as :meth:`drop`.
        """
        rng = self._rng(self._added + 1)
        return self._add(Delay(seconds, rng), selection, rng)

    def hold(self, **selection: Unpack[Selection]) -> Rule:
        """Hold packets until :meth:`Rule.release`, or until the rule is removed.

        Raises as :meth:`drop`.
        """
        return self._add(Hold(), selection)

    def postpone(self, after: int = 1, **selection: Unpack[Selection]) -> Rule:
        """Let packets pass after the next ones of their direction, `after` of them.

        Where no other follows, a packet waits until the rule is removed.

        Raises:
            ValueError: `after` is below 1; and as :meth:`drop`.
        """
        return self._add(Postpone(after), selection)

    def impair(self, impairments: ImpairmentsLike, **selection: Unpack[Selection]) -> Rule:
        """Let packets take an impaired path, which only they share.

        Args:
            impairments: A text such as ``"loss=10%,delay=20ms,out:rate=8mbit"``, see
                :mod:`tunstack.path.impair`; `Impairments` for both directions, or a pair of them,
                for packets out and in.
            selection: Which packets.

        Raises:
            ValueError: what cannot be parsed; and as :meth:`drop`.
        """
        rng = self._rng(self._added + 1)
        return self._add(Impair(impairments, rng), selection, rng)

    def duplicate(self, copies: int = 1, **selection: Unpack[Selection]) -> Rule:
        """Send copies of packets after them.

        Raises:
            ValueError: less than 1 copy, or more than 1000; and as :meth:`drop`.
        """
        return self._add(Duplicate(copies), selection)

    def damage(self, octet: int | None = None, **selection: Unpack[Selection]) -> Rule:
        """Damage packets on their way.

        A later rule that changes or splits such a packet makes its checksum right again.

        Args:
            octet: Which octet is inverted, from 0; negative: from the packet's end. A packet that
                is shorter does not match. None: one bit is flipped, anywhere.
            selection: Which packets.

        Raises:
            ValueError: an octet that no packet has; and as :meth:`drop`.
        """
        rng = self._rng(self._added + 1)
        return self._add(Damage(octet, rng), selection, rng)

    def change(self, fields: Mapping[str, object], **selection: Unpack[Selection]) -> Rule:
        """Change fields of packets: ``change({"ttl": 1}, direction="out")``.

        Args:
            fields: Those of :meth:`Packet.replace`, with their values, or with functions that
                return them: ``{"ack": lambda packet: packet.ack + 1000}``. A packet that does not
                have all of them does not match.
            selection: Which packets.

        Raises:
            ValueError: there is no such field, or not in this protocol, or the value does not fit
                in; and as :meth:`drop`.
        """
        return self._add(Change(fields), selection)

    def split(self, at: int, **selection: Unpack[Selection]) -> Rule:
        """Send TCP segments as two, the first with `at` octets; shorter ones do not match.

        Raises:
            ValueError: `at` is below 1; and as :meth:`drop`.
        """
        return self._add(Split(at), selection)

    def answer(self, answer: AnswerLike, **selection: Unpack[Selection]) -> Rule:
        """Take packets, and send an answer back, which no rule sees: of ``in``, in our place.

        Args:
            answer: ``"reset"``: a RST, to TCP segments other than RSTs; an ICMP error by a name of
                :meth:`Packet.icmp_error`, to packets about which one may be sent; a `Packet`, or
                several in a list; or a function of the packet that returns such, or None.
            selection: Which packets.

        Raises:
            ValueError: an unknown name, or one that does not suit the protocol; and as
                :meth:`drop`.
            TypeError: an answer that is none of these; and as :meth:`drop`.
        """
        return self._add(Answer(answer), selection)

    def call(self, function: Function, **selection: Unpack[Selection]) -> Rule:
        """Ask `function` what becomes of a packet.

        Args:
            function: Called with the `Packet`. It returns the packet, or another (see
                :meth:`Packet.replace`), or several; or None or an empty list: the packet is taken.
                What goes in the packet's direction is put to the later rules; what goes the other
                way, as `Packet.reset` does, is not.
            selection: Which packets.

        Raises:
            TypeError: `function` is none; and as :meth:`drop`.
        """
        return self._add(Call(function), selection)

    def inject(self, packet: Packet, direction: Direction) -> None:
        """Send a packet that no rule sees.

        Args:
            packet: The packet.
            direction: ``"out"``: to the wire, at once; ``"in"``: to the host's stack, as soon as
                its tasks run.

        Raises:
            ValueError: `direction` is neither.
            TypeError: `packet` is none.
            OSError: ENETDOWN: the host has ended, or its device is gone.
        """
        if direction not in OTHER_WAY:
            raise ValueError(f'direction must be "in" or "out", not {direction!r}')
        if not isinstance(packet, Packet):
            raise TypeError(f"inject takes a Packet, not {packet!r}")
        self._place.use_gate()
        self._place.inject(packet.going(direction))
