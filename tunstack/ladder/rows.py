"""Packets as rows of the ladder, in conversations."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from tunstack.ladder.conversation import Conversation, Flow, is_plain
from tunstack.ladder.fold import ACK, Folder, Row
from tunstack.ladder.layout import write_end
from tunstack.ladder.message import lines_of
from tunstack.ladder.packets import ECHO
from tunstack.ladder.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tunstack.ladder.conversation import Beginning
    from tunstack.ladder.fold import Side
    from tunstack.ladder.layout import Symbols
    from tunstack.ladder.packets import Endpoint, Fingerprint, FragmentKey, Pair, Quoted
    from tunstack.ladder.step import Step

Item: TypeAlias = Conversation | Flow | Row
"""A conversation, where it begins, or a row."""

_REMEMBERED: Final = 4096
"""Packets, and fragmented datagrams, that an ICMP error or a later fragment is matched with."""
_UNITS: Final = {"UDP": "datagram", ECHO: "message"}

_K = TypeVar("_K")
_V = TypeVar("_V")


class Rows:
    """Makes rows of packets, incrementally, as :class:`Ladder` draws them.

    Args:
        symbols: To write with.
        full: As of the ladder.
        only: As of the ladder.
        known: Of connections that are followed from their middle, what the SYN of each end said.

    Attributes:
        left_out: As of the ladder.
    """

    def __init__(
        self,
        symbols: Symbols,
        *,
        full: bool = False,
        only: Collection[int] = (),
        known: Mapping[Pair, Mapping[Endpoint, Beginning]] | None = None,
    ) -> None:
        self._folder = Folder(symbols.arrows, symbols.ellipsis)
        self._reader = Reader()
        self._full = full
        self._only = frozenset(only)
        self._known = known or {}
        self._conversations: dict[Pair, Conversation | Flow] = {}
        self._pairs: dict[Pair, str] = {}
        self._fragments: dict[FragmentKey, Conversation | Flow] = {}
        self._times: dict[Fingerprint, float] = {}
        self._count = 0
        self._packets = 0
        self._start: float | None = None
        self.left_out: Counter[str] = Counter()

    def add(self, step: Step) -> list[Item]:
        """Add the next packet; returns what is to be shown."""
        if step.housekeeping and not self._full:
            self.left_out[step.kind] += 1
            return []
        if self._only and not self._is_wanted(step):
            return []
        self._packets += 1
        if self._start is None:
            self._start = step.time
        if step.protocol:
            items = self._in_a_conversation(step)
        else:
            items = list(self._folder.add(self._other(step), plain=False))
        if step.fingerprint is not None:
            remember(self._times, step.fingerprint, step.time - self._start)
        return items

    @property
    def empty(self) -> bool:
        """Whether no packet was added that is shown."""
        return not self._packets

    def flush(self) -> list[Item]:
        """Return folded runs."""
        return list(self._folder.flush())

    def _is_wanted(self, step: Step) -> bool:
        """Whether a step is of a port to show, about one, or a fragment of what is shown."""
        source, destination, protocol = step.source, step.destination, step.protocol
        if step.quoted is not None:
            source, destination, protocol = step.quoted[:3]
        if protocol in ("TCP", "UDP"):
            return not self._only.isdisjoint((source[1], destination[1]))
        return step.fragment is not None and step.fragment.key in self._fragments

    def _in_a_conversation(self, step: Step) -> list[Item]:
        """What a packet of TCP, UDP or a ping shows."""
        items: list[Item] = []
        pair = step.pair
        conversation = self._conversations.get(pair)
        if isinstance(conversation, Conversation) and conversation.is_new(step):
            conversation = None
        if conversation is None:
            self._count += 1
            if step.segment is None:
                conversation = Flow(self._count, step)
            else:
                conversation = Conversation(self._count, step, self._known.get(pair))
            self._conversations[pair] = conversation
            items += self.flush()
            items.append(conversation)
        if step.fragment is not None:
            remember(self._fragments, step.fragment.key, conversation)
        words, details = step.words, step.details
        unit, size = _UNITS.get(step.protocol, ""), step.size
        if step.segment is not None and isinstance(conversation, Conversation):
            said, more = conversation.words(step, step.segment)
            words, details = (*said, *words), (*more, *details)
            size = len(step.segment.payload)
            unit = "segment" if size else ACK
        messages = self._reader.read(step)
        spoken = lines_of(messages)
        if messages and step.segment is None:
            words, spoken = messages[0].title, (messages[0].details,)
        side: Side = "right" if step.source == conversation.left else "left"
        row = self._row(step, conversation.number, side, words, details, size, unit, spoken)
        plain = is_plain(step) and not self._full and all(each.plain for each in messages)
        return [*items, *self._folder.add(row, plain=plain)]

    def _other(self, step: Step) -> Row:
        """The row of a packet that opens no conversation, but may belong to one."""
        if step.quoted is not None:
            return self._error(step, step.quoted)
        conversation = None
        if step.fragment is not None:
            conversation = self._fragments.get(step.fragment.key)
        if conversation is None:
            details = [*_from_and_to(step), *step.details]
            return self._row(step, None, self._side(step), step.words, details, step.size)
        toward: Side = "right" if step.source[0] == conversation.left[0] else "left"
        return self._row(
            step, conversation.number, toward, step.words, step.details, step.size, "fragment"
        )

    def _error(self, step: Step, quoted: Quoted) -> Row:
        """The row of an ICMP error: in the conversation that it is about, towards whom it tells."""
        if quoted.fragment is not None:
            conversation = self._fragments.get(quoted.fragment)
        else:
            pair = quoted.protocol, frozenset((quoted.source, quoted.destination))
            conversation = self._conversations.get(pair)
        if conversation is None:
            about = [
                f"about {quoted.protocol} from {write_end(quoted.source, quoted.protocol)}",
                f"to {write_end(quoted.destination, quoted.protocol)}",
            ]
            details = [*_from_and_to(step), *about, *step.details]
            return self._row(step, None, self._side(step), step.words, details, step.size)
        ends = conversation.left, conversation.right
        details = []
        if step.source[0] not in [address for address, _ in ends]:
            details.append(f"from {step.source[0]}")
        details.append(f"about {self._named(quoted, conversation)}")
        is_left = quoted.source == conversation.left
        if quoted.source not in ends:  # A later fragment, which has no port.
            is_left = quoted.source[0] == conversation.left[0]
        toward: Side = "left" if is_left else "right"
        return self._row(
            step, conversation.number, toward, step.words, (*details, *step.details), step.size
        )

    def _named(self, quoted: Quoted, conversation: Conversation | Flow) -> str:
        """Name a quoted packet of a conversation by its time, if it was shown."""
        time = self._times.get(quoted.fingerprint)
        words = []
        if quoted.seq is not None and isinstance(conversation, Conversation):
            words.append(f"seq {conversation.relative(quoted.source, quoted.seq)}")
        words.append("a packet not seen" if time is None else f"the packet at {time * 1000:.3f}")
        return ", ".join(words)

    def _side(self, step: Step) -> Side:
        """Towards which column a packet of no conversation goes."""
        if step.direction is not None:
            return "right" if step.direction == "in" else "left"
        left = self._pairs.setdefault(step.pair, step.source[0])
        return "right" if step.source[0] == left else "left"

    def _row(
        self,
        step: Step,
        number: int | None,
        toward: Side,
        words: Sequence[str],
        details: Sequence[str],
        size: int,
        unit: str = "packet",
        messages: tuple[tuple[str, ...], ...] = (),
    ) -> Row:
        before, after = step.before, step.after
        if after is None and before is not None:
            after = "CLOSED"
        changed = before != after
        state = f"{before or 'CLOSED'} -> {after}" if changed else before or ""
        note = "" if step.verdict == "accepted" else step.verdict
        time = 0.0 if self._start is None else step.time - self._start
        return Row(
            self._packets,
            time,
            number,
            toward,
            tuple(words),
            tuple(details),
            state,
            changed,
            note,
            size,
            unit,
            messages,
        )


def _from_and_to(step: Step) -> list[str]:
    """The addresses of a packet that no heading shows."""
    if not step.source[0]:
        return []
    return [f"from {step.source[0]}", f"to {step.destination[0]}"]


def remember(kept: dict[_K, _V], key: _K, value: _V) -> None:
    """Keep the latest of a bounded number of values."""
    kept.pop(key, None)
    if len(kept) >= _REMEMBERED:
        del kept[next(iter(kept))]
    kept[key] = value
