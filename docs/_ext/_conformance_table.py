"""The requirements of the RFCs and the tests that show them, by the tests' marks.

The tests are read, not run: ``make conformance`` runs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance import labels, marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SOURCE = "https://github.com/tunstack/tunstack/blob/main/{path}#L{line}"
_SHOWN = 3
"""Tests of a requirement that are named."""


def sources() -> Iterable[Path]:
    """The tests that have marks, and the requirements."""
    return [*marks.marked_files(), *marks.FOLDER.glob("*.toml")]


def markdown() -> str:
    """A table for RFC 9293 and for each other RFC."""
    shown = marks.tests_by_label()
    parts = [_summary(shown), "## RFC 9293", "", *_table(labels.REQUIREMENTS.values(), shown)]
    for number, title in labels.RFCS.items():
        rows: list[labels.Requirement | labels.Section] = [
            *_requirements(number),
            *sorted(
                (each for each in shown if isinstance(each, labels.Section) and each.rfc == number),
                key=lambda each: each.order,
            ),
        ]
        if rows:
            parts += ["", f"## RFC {number}: {title}", "", *_table(rows, shown)]
    return "\n".join(parts) + "\n"


def _requirements(rfc: int) -> Iterator[labels.Requirement]:
    return (each for each in labels.NETWORK.values() if each.label.startswith(f"{rfc}:"))


def _summary(shown: marks.Shown) -> str:
    needed = [
        each
        for each in (*labels.REQUIREMENTS.values(), *labels.NETWORK.values())
        if each.kind in labels.NEEDED
    ]
    declined = sum(each.declined is not None for each in needed)
    tested = sum(each.label in shown for each in needed)
    return (
        f"Of {len(needed)} requirements with MUST and SHOULD {tested} are shown by tests,"
        f" and {declined} are declined, with the reason.\n"
    )


def _table(rows: Iterable[labels.Requirement | labels.Section], shown: marks.Shown) -> list[str]:
    lines = ["| | § | requirement | shown by |", "|---|---|---|---|"]
    for row in rows:
        if isinstance(row, labels.Section):
            lines.append(f"| | {row.name} | | {_tests(shown[row])} |")
            continue
        tests = shown.get(row.label, [])
        by = _tests(tests) if tests else f"declined: {_escaped(row.declined or 'no test')}"
        label = row.label if row.level is None else f"{row.level} {row.label}"
        lines.append(
            f'| <span class="label">{label}</span> | {row.section} | {_escaped(row.text)} | {by} |'
        )
    return lines


def _tests(tests: list[marks.Test]) -> str:
    named = [_link(each) for each in tests[:_SHOWN]]
    if len(tests) > _SHOWN:
        named.append(f"{len(tests) - _SHOWN} more")
    return ", ".join(named)


def _link(test: marks.Test) -> str:
    address = _SOURCE.format(path=test.path, line=test.line)
    return f"[{_escaped(test.name.replace('_', ' '))}]({address})"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*").replace("_", "\\_")
