"""The error of a conversation that went otherwise, and the text that shows it."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, final

from tunstack.ladder import Ladder, plain_text, read_packet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunstack.conversation.expectation import Field
    from tunstack.conversation.segment import TcpSegment

WIDTH: Final = 80
"""Characters of a line."""
_DIFFERS: Final = "  differs"


class Seen(NamedTuple):
    """A packet of the conversation: when it came or was sent, on trio's clock, and its octets."""

    time: float
    direction: Literal["in", "out"]
    data: bytes


@final
class ConversationError(AssertionError):
    """The other side of a conversation did not do what was expected.

    Its text shows what was expected, what came instead, and the ladder of the conversation.

    Attributes:
        expected: What was expected, as text.
        came: The segment that came; None if none did.
        ladder: The packets of the conversation until then, as text.
    """

    def __init__(
        self, text: str, *, expected: str = "", came: TcpSegment | None = None, ladder: str = ""
    ) -> None:
        super().__init__(text)
        self.expected = expected
        self.came = came
        self.ladder = ladder


def draw(seen: Iterable[Seen], *, note: str = "", at: bytes | None = None, width: int) -> str:
    """The packets as a ladder, the peer on the left.

    Args:
        seen: The packets.
        note: A remark below one of them.
        at: The octets of that one, the very object.
        width: Characters of a line.
    """
    ladder = Ladder(width=width, states=False)
    lines = []
    for each in seen:
        verdict = note if each.data is at else ""
        lines += ladder.add(read_packet(each.time, each.data, each.direction, verdict=verdict))
    return "\n".join(plain_text(line).rstrip() for line in [*lines, *ladder.flush()])


def table(fields: Sequence[Field]) -> str:
    """The fields that were expected, beside those that came."""
    rows = [("", "expected", "came", False), *fields]
    name, expected, came = (max(len(str(row[at])) for row in rows) for at in range(3))
    return "\n".join(
        f"  {row[0]:<{name}}  {row[1]:<{expected}}  {row[2]:<{came}}"
        f"{_DIFFERS if row[3] else ''}".rstrip()
        for row in rows
    )


def failure_text(
    headline: str, fields: Sequence[Field], ladder: str, remarks: Sequence[str]
) -> str:
    """The whole text of a failure; the parts that are empty are left out."""
    title = "The conversation until then, the other side on the left:"
    parts = [
        fill(headline, WIDTH),
        table(fields) if fields else "",
        f"{title}\n\n{ladder}" if ladder else "No packet has come or was sent.",
        "\n".join(fill(remark, WIDTH) for remark in remarks),
    ]
    return "\n\n".join(part for part in parts if part)
