"""The gate through which a host's packets pass, sans-IO: its rules, and the packets that wait.

A packet is put into :meth:`Gate.put` at a time; what comes out passes at once. What waits comes out
of :meth:`Gate.due` at or after :attr:`Gate.next_due`. Both return packets of either direction.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, final

from tunstack.path.rules.selection import Matcher, key_of
from tunstack.path.rules.silence import Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tunstack.path.rules.known import Lookup
    from tunstack.path.rules.packet import Direction, Packet
    from tunstack.path.rules.rule import Rule

    Observe = Callable[[Packet, str, float], None]

MOST_WAITING: Final = 10_000
"""Packets that wait in a gate, whatever the rule; more are dropped."""
MOST_WAITING_OCTETS: Final = 16 << 20
"""The same in octets."""

NO_RULES: Final = 1 << 62
"""Behind all rules: of what no rule sees."""

WORDS: Final = (
    *("dropped", "delayed", "held", "postponed", "duplicated", "damaged", "changed", "split"),
    *("answered", "taken", "lost", "overflowed", "refused", "unplugged", "injected"),
)
"""What happens to packets; ``rules_dropped`` and so on in the statistics."""
FAILED: Final = "rule_failed"
COUNTERS: Final = (*(f"rules_{word}" for word in WORDS), FAILED)
"""The names of a gate's counters; the package's docstring explains them."""


@dataclass(slots=True, eq=False)
class _Postponed:
    """A packet, and how many others are to pass before it."""

    packet: Packet
    left: int
    rule: int


@final
class Gate:
    """The rules on a host's packets, in both directions.

    At most `MOST_WAITING` packets of `MOST_WAITING_OCTETS` altogether wait in it; what would be
    more is dropped, and counted as ``rules_overflowed``.

    Args:
        observe: Called with each packet that a rule has made or taken, what happened to it, and
            the time.
        failed: Called with what a function of a rule has raised.
        woken: Called when :attr:`next_due` has become earlier, outside of :meth:`put` and
            :meth:`due` as well.
        lookup: Finds the host's connection of a packet.

    Attributes:
        counts: Packets by what happened to them; the names are `COUNTERS`.
        unplugged: Whether everything is lost.
        silence: The connections of which everything is lost.
    """

    def __init__(
        self,
        observe: Observe,
        failed: Callable[[Exception], None],
        woken: Callable[[], None],
        lookup: Lookup = lambda _: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.unplugged = False
        self.silence = Silence(lookup)
        self._observe = observe
        self._failed = failed
        self._woken = woken
        self._now = 0.0
        self._general: dict[Direction, list[Rule]] = {"in": [], "out": []}
        self._exact: dict[bytes, list[Rule]] = {}
        self._spent: dict[int, Rule] = {}
        """Rules that can match no more, by number: packets do not meet them."""
        self._heap: list[tuple[float, int, Packet, int, str]] = []
        self._order = 0
        self._postponed: dict[Direction, list[_Postponed]] = {"in": [], "out": []}
        self._waiting = 0
        self._waiting_octets = 0

    # Rules

    def add(self, rule: Rule) -> None:
        """Add a rule behind all others."""
        for rules in self._lists(rule.matcher, new=True):
            rules.append(rule)

    def remove(self, rule: Rule) -> None:
        """Remove a rule; what it holds or postpones is let go. Idempotent."""
        if rule.removed:
            return
        if self._spent.pop(rule.number, None) is None:
            self._take_out(rule)
        rule.end()
        if rule.action.held:
            self.release(rule, None)
        for waiting in self._postponed.values():
            for each in [each for each in waiting if each.rule == rule.number]:
                waiting.remove(each)
                self._let_go(each.packet, rule.number, "postponed")
        self._woken()

    def _take_out(self, rule: Rule) -> None:
        for rules in self._lists(rule.matcher):
            rules.remove(rule)
        key = rule.matcher.key
        if key is not None and not self._exact[key]:
            del self._exact[key]

    def _lists(self, matcher: Matcher, *, new: bool = False) -> Iterable[list[Rule]]:
        """The lists that have a rule, or are to have a new one."""
        if matcher.key is not None:
            if new:
                self._exact.setdefault(matcher.key, [])
            return [self._exact[matcher.key]]
        return [self._general[direction] for direction in matcher.directions]

    @property
    def rules(self) -> list[Rule]:
        """All rules, in the order in which they apply."""
        lists = [*self._general.values(), *self._exact.values(), self._spent.values()]
        by_number = {rule.number: rule for rules in lists for rule in rules}
        return [by_number[number] for number in sorted(by_number)]

    @property
    def idle(self) -> bool:
        """Whether it lets everything pass, and nothing waits in it."""
        rules = any(self._general.values()) or self._exact
        return not (rules or self._waiting or self.unplugged or self.silence)

    def ignores(self, direction: Direction, key: bytes | None) -> bool:
        """Whether nothing happens to packets of a connection (`key_of`); None: it is unknown."""
        if self.unplugged or self._general[direction] or self._postponed[direction]:
            return False
        if key is None:
            return not self._exact and not self.silence
        return key not in self._exact and key not in self.silence

    def wake(self) -> None:
        """Tell that something has changed that waits."""
        self._woken()

    # Packets

    @property
    def next_due(self) -> float:
        """When to call :meth:`due`, in seconds; infinite if nothing waits for a time."""
        return self._heap[0][0] if self._heap else math.inf

    def put(self, packet: Packet, now: float) -> list[Packet]:
        """Put a packet into the gate; returns what passes now."""
        self._now = now
        return self._pass(packet, 0)

    def due(self, now: float, *, early: bool = False) -> list[Packet]:
        """Return the packets that have waited long enough; if `early`, all that wait for a time."""
        self._now = now
        passing: list[Packet] = []
        while self._heap and (early or self._heap[0][0] <= now):
            _, _, packet, rule, word = heappop(self._heap)
            self._release(packet)
            for each in self._pass(packet, rule):
                if word and each.direction == "out":
                    self._observe(each, f"{word} by a rule", now)
                passing.append(each)
        return passing

    def deliver(self, packet: Packet) -> None:
        """Let a packet come out of :meth:`due` as soon as can be, seen by no rule."""
        if self._account(packet):
            self._push(packet, -math.inf, NO_RULES, "")

    def clear(self) -> None:
        """Drop all that waits, and end all rules."""
        for rule in self.rules:
            rule.end()
            if rule.action.held:
                rule.action.held.clear()
        for rules in self._general.values():
            rules.clear()
        self._exact.clear()
        self._spent.clear()
        self.silence.clear()
        self._heap.clear()
        for waiting in self._postponed.values():
            waiting.clear()
        self._waiting = self._waiting_octets = 0

    def _pass(self, packet: Packet, after: int) -> list[Packet]:
        """Put a packet to the rules behind `after`; what was postponed may follow it."""
        if self.unplugged:
            self.took(packet, "unplugged")
            return []
        if self.silence and self.silence.takes(packet):
            self.took(packet, "dropped")
            return []
        waiting = [*self._postponed[packet.direction]]
        passing = self._apply(packet, after)
        if not waiting:
            return passing
        leaving: list[Packet] = []
        for each in passing:
            leaving.append(each)
            if each.direction == packet.direction:
                leaving += self._overtaken(waiting)
        return leaving

    def _overtaken(self, waiting: list[_Postponed]) -> list[Packet]:
        """Count one packet that overtakes; returns those that have waited for the last one."""
        leaving: list[Packet] = []
        for each in [*waiting]:
            each.left -= 1
            if each.left:
                continue
            waiting.remove(each)
            if each in self._postponed[each.packet.direction]:
                self._postponed[each.packet.direction].remove(each)
                self._release(each.packet)
                for packet in self._apply(each.packet, each.rule):
                    if packet.direction == "out":
                        self._observe(packet, "postponed by a rule", self._now)
                    leaving.append(packet)
        return leaving

    def _apply(self, packet: Packet, after: int) -> list[Packet]:
        """Put a packet to the rules behind `after`; returns what passes of it."""
        passing: list[Packet] = []
        todo = [(packet, after)]
        made = 0
        while todo:
            each, after = todo.pop()
            for rule in self._behind(each, after):
                results = self._ask(rule, each)
                if results is None:
                    continue
                # What goes the other way was made by the rule: no rule sees it.
                for result in results:
                    if result.direction != each.direction:
                        passing.append(result)
                        if result.direction == "out":
                            self._observe(result, "made by a rule", self._now)
                onward = [result for result in results if result.direction == each.direction]
                made += len(onward)
                if made > MOST_WAITING:  # Copies of copies.
                    for result in (*onward, *(waiting for waiting, _ in todo)):
                        self.took(result, "overflowed")
                    return passing
                todo += [(result, rule.number) for result in reversed(onward)]
                break
            else:
                passing.append(each)
        return passing

    def _behind(self, packet: Packet, after: int) -> list[Rule]:
        """Return the rules behind `after` that may match."""
        rules: Sequence[Rule] = self._general[packet.direction]
        if self._exact:
            key = key_of(packet)
            exact = self._exact.get(key) if key is not None else None
            if exact is not None:
                rules = sorted([*rules, *exact], key=_number)
        return [rule for rule in rules if rule.number > after]

    def _ask(self, rule: Rule, packet: Packet) -> Sequence[Packet] | None:
        """Return what a rule makes of a packet; None if it does not match.

        If a function of the rule's user raises, the packet is dropped, and the rule removed.
        """
        matcher, action = rule.matcher, rule.action
        if rule.removed or packet.direction not in matcher.directions:
            return None
        try:
            if not matcher.matches(packet, action.suits):
                return None
            rule.count(packet)
            results = action.apply(packet, self._now, self, rule.number)
        except Exception as error:
            self.counts[FAILED] += 1
            self._observe(packet, "dropped: a rule failed", self._now)
            self.remove(rule)
            self._failed(error)
            return ()
        if matcher.spent and not rule.removed:
            self._spent[rule.number] = rule
            self._take_out(rule)
            self._woken()
        return results

    # For actions

    def wait(self, packet: Packet, due: float, rule: int, word: str) -> None:
        """Keep a packet until `due` seconds; then it goes to the rules behind `rule`."""
        if self.hold(packet, word):
            self._push(packet, due, rule, word)

    def postpone(self, packet: Packet, count: int, rule: int) -> None:
        """Keep a packet until `count` more of its direction have passed."""
        if self.hold(packet, "postponed"):
            self._postponed[packet.direction].append(_Postponed(packet, count, rule))

    def hold(self, packet: Packet, word: str) -> bool:
        """Count a packet that waits; False if no more may: then it is dropped.

        One in is reported now, one out when it goes on.
        """
        if not self._account(packet):
            return False
        self.counts[f"rules_{word}"] += 1
        if packet.direction == "in":
            self._observe(packet, f"{word} by a rule", self._now)
        return True

    def _account(self, packet: Packet) -> bool:
        octets = self._waiting_octets + len(packet.data)
        if self._waiting >= MOST_WAITING or octets > MOST_WAITING_OCTETS:
            self.took(packet, "overflowed")
            return False
        self._waiting += 1
        self._waiting_octets = octets
        return True

    def took(self, packet: Packet, word: str, now: float | None = None) -> None:
        """Count and report a packet that does not go on; `now` is that of the latest call."""
        self.counts[f"rules_{word}"] += 1
        at = self._now if now is None else now
        self._observe(packet, _LOSSES.get(word, f"{word} by a rule"), at)

    def made(self, packet: Packet, word: str, results: Sequence[Packet]) -> None:
        """Count and report what goes on in place of a packet.

        A stack reports what it sends and what it gets: so here it is what was there before of a
        packet in, and what has become of a packet out.
        """
        self.counts[f"rules_{word}"] += 1
        for each in (packet,) if packet.direction == "in" else results:
            if each.direction == packet.direction:
                self._observe(each, f"{word} by a rule", self._now)

    def release(self, rule: Rule, count: int | None) -> int:
        """Let the first `count` packets go that a rule holds, or all; returns how many.

        Raises:
            ValueError: it is no rule that holds; a negative number.
        """
        held = rule.action.held
        if held is None:
            raise ValueError(f"{rule!r} holds nothing: only a rule of rules.hold() does")
        if count is not None and count < 0:
            raise ValueError(f"no {count} packets can be released")
        released = len(held) if count is None else min(count, len(held))
        for _ in range(released):
            self._let_go(held.popleft(), rule.number, rule.action.word)
        return released

    def _let_go(self, packet: Packet, rule: int, word: str) -> None:
        """Let a packet that has waited come out of :meth:`due` as soon as can be."""
        self._push(packet, -math.inf, rule, word)

    def _push(self, packet: Packet, due: float, rule: int, word: str) -> None:
        earlier = due < self.next_due
        self._order += 1
        heappush(self._heap, (due, self._order, packet, rule, word))
        if earlier:
            self._woken()

    def _release(self, packet: Packet) -> None:
        self._waiting -= 1
        self._waiting_octets -= len(packet.data)


_LOSSES: Final = {
    "overflowed": "dropped: too many packets wait for rules",
    "unplugged": "lost: the cable is unplugged",
    "injected": "injected",
}
"""Verdicts that are no rule's."""


def _number(rule: Rule) -> int:
    return rule.number
