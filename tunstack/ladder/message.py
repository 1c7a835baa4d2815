"""What the layers above TCP and UDP say: a message of DNS, a record of TLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST: Final = 56
"""Characters of a name or another text of a message; longer ones are cut in the middle."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, or several records of a kind.

    Attributes:
        kind: ``"query"``, ``"answer"``, ``"ClientHello"``, ``"data"``...
        title: What it is; the most important first.
        details: More of it.
        plain: Whether packets with it may be folded.
        size: Octets that are encrypted.
        records: How many records it stands for.
        name: The name that it asks for: of a DNS question, or of a server.
        answers: The addresses that it brings.
        version: The TLS version that it selects.
    """

    kind: str
    title: tuple[str, ...]
    details: tuple[str, ...] = ()
    plain: bool = False
    size: int = 0
    records: int = 1
    name: str = ""
    answers: tuple[str, ...] = ()
    version: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """All of its texts, with the length of what is encrypted."""
        words = (*self.title, *self.details)
        if not self.size:
            return words
        several = f" in {self.records} records" if self.records > 1 else ""
        return (*words, f"{self.size} bytes{several}")


def lines_of(messages: Iterable[Message]) -> tuple[tuple[str, ...], ...]:
    """A line for each message; those with a title only share one."""
    lines: list[tuple[str, ...]] = []
    bare = False
    for message in messages:
        words = message.words
        if bare and len(words) == 1:
            lines[-1] += (words[0].removeprefix("TLS "),)
        else:
            lines.append(words)
        bare = len(words) == 1
    return tuple(lines)


def shorten(text: str, most: int = _LONGEST) -> str:
    """The text in at most so many printable characters, cut in the middle."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text[: 4 * most])
    if len(text) <= most:
        return text
    half = (most - 3) // 2
    return f"{text[: most - 3 - half]}...{text[-half:]}"
