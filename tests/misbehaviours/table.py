"""What a misbehaviour of the table is."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tunstack.blocking import Host

Lines: TypeAlias = "Callable[[Host], None]"

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"
"""What handlers answer to any request."""

MOST_LINES = 5


@dataclass(frozen=True)
class Misbehaviour:
    """A misbehaviour.

    Attributes:
        title: Its name.
        lines: The function whose body makes it, on a host.
        made_of: Rules, a verdict, a verb, a conversation, a behaviour by name...
        met: What a client meets, in a sentence.
        robust: What a robust client does.
        toxiproxy: The counterpart there.
        scapy: The counterpart there.
        packetdrill: The counterpart there.
        client: The client that shows it, by its name in `clients`.
        options: The client's.
        meets: What it meets, in a word for each request.
        curl: Exit statuses of curl's that say so as well.
        takes: Seconds that it takes at least.
        counted: Statistics of the host afterwards, at least.
    """

    title: str
    lines: Lines
    made_of: str
    met: str
    robust: str
    toxiproxy: str
    scapy: str
    packetdrill: str
    client: str = "fetch"
    options: Mapping[str, Any] = field(default_factory=dict)
    meets: tuple[str, ...] = ("whole",)
    curl: frozenset[int] = frozenset()
    takes: float = 0.0
    counted: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.lines.__name__

    @property
    def source(self) -> str:
        """The lines."""
        lines = inspect.getsource(self.lines).splitlines()
        at = next(n for n, line in enumerate(lines) if line.startswith("def "))
        return textwrap.dedent("\n".join(lines[at + 1 :]))


def misbehaviour(into: list[Misbehaviour], **attributes: Any) -> Callable[[Lines], Misbehaviour]:
    """Make one of the function below, and append it to the group."""

    def make(lines: Lines) -> Misbehaviour:
        made = Misbehaviour(lines=lines, **attributes)
        into.append(made)
        return made

    return make
