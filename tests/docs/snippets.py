"""The snippets of a page of Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
"""All that is read: README, and every page of docs/, in whatever folder."""

_FENCE: Final = re.compile(
    r"^(?P<ticks>`{3,})(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=ticks)`*[ ]*$", re.M | re.S
)
_MARK: Final = re.compile(r"<!-- (?P<mark>[\w :./-]+) -->\n\Z")
_HEADING: Final = re.compile(r"^#+ (.*)$", re.M)


@dataclass(frozen=True)
class Snippet:
    """A block of code.

    Attributes:
        language: ``"python"``, ``"console"``...
        text: The code.
        heading: The heading that it is below.
        mark: Of a comment before it, as ``<!-- fails -->``; ``<!-- file: x.py -->``, if the page's
            runs use it; ``<!-- not run -->``, if nobody runs it.
    """

    language: str
    text: str
    heading: str
    mark: str | None

    @property
    def is_test(self) -> bool:
        """Whether pytest is to run it."""
        return re.search(r"^(?:async )?def test_", self.text, re.M) is not None

    @property
    def file(self) -> str | None:
        """The file that it is saved as, for the commands that run when the site is built."""
        return self.mark.removeprefix("file: ") if self.mark and "file: " in self.mark else None


def snippets_of(page: Path) -> list[Snippet]:
    """Return the snippets of a page, in their order; directives of MyST are none."""
    text = page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        language = match["info"].strip()
        if language.startswith("{"):
            continue
        before = text[: match.start()]
        mark = _MARK.search(before)
        headings = _HEADING.findall(_FENCE.sub("", before))
        heading = headings[-1] if headings else ""
        found.append(Snippet(language, match["text"], heading, mark and mark["mark"]))
    return found


def broken_links(page: Path) -> list[str]:
    """Return the links of a page to files, and to headings of pages, that there are not."""
    missing = []
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        to_heading = anchor and target.suffix == ".md"
        if not target.exists() or (to_heading and anchor not in anchors_of(target)):
            missing.append(link)
    return missing


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def name_of(page: Path) -> str:
    """Return a page's name in the tests: ``"how-to/testing"``."""
    base = DOCS if page.is_relative_to(DOCS) else ROOT
    return str(page.relative_to(base).with_suffix(""))
