"""The conformance table: what was required, which tests show it, and whether they pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.conformance.labels import (
    KINDS,
    NEEDED,
    NETWORK,
    REQUIREMENTS,
    RFCS,
    Requirement,
    Section,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.table import Table

PASS: Final = "pass"
FAIL: Final = "fail"
SKIPPED: Final = "skipped"
MISSING: Final = "missing"
DECLINED: Final = "declined"

_NAMES_SHOWN: Final = 3
_COLORS: Final = {PASS: "green", FAIL: "bold red", MISSING: "yellow", SKIPPED: "yellow"}


@dataclass
class Tests:
    """The tests that carry one label.

    Attributes:
        outcomes: By module and name, without parameters: what became of each of its cases
            ("passed", "failed" or "skipped").
    """

    outcomes: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, node: str, outcome: str) -> None:
        """Note what became of the test that pytest calls `node`."""
        self.outcomes.setdefault(short_name(node), []).append(outcome)

    @property
    def count(self) -> int:
        """How many cases there are."""
        return sum(map(len, self.outcomes.values()))

    @property
    def verdict(self) -> str:
        """What they say together. One that passes is enough, one that fails too much."""
        seen = {outcome for outcomes in self.outcomes.values() for outcome in outcomes}
        if "failed" in seen:
            return FAIL
        if "passed" in seen:
            return PASS
        return SKIPPED if seen else MISSING

    @property
    def names(self) -> str:
        """The first few names, below their modules, and how many more there are."""
        names = sorted(self.outcomes)
        modules: dict[str, list[str]] = {}
        for module, name in names[:_NAMES_SHOWN]:
            modules.setdefault(module, []).append(name)
        shown = [f"{module}: {', '.join(of)}" for module, of in modules.items()]
        if len(names) > _NAMES_SHOWN:
            shown.append(f"and {len(names) - _NAMES_SHOWN} more")
        return "; ".join(shown)


def short_name(node: str) -> tuple[str, str]:
    """``tests/tcp/test_open.py::test_a_syn[case]`` is ``a_syn`` in ``open``."""
    path, *_, name = node.partition("[")[0].split("::")
    module = path.rpartition("/")[2].removesuffix(".py")
    return module.removeprefix("test_"), name.removeprefix("test_")


class Row(NamedTuple):
    """One row of the table; `shown` is by which tests, or why there are none."""

    label: str
    section: str
    text: str
    tests: str
    verdict: str
    shown: str


HEADER: Final = Row("", "Section", "Requirement", "Tests", "Verdict", "Shown by")


class Report:
    """All that the marked tests have shown.

    Attributes:
        tests: By what they are marked with.
    """

    def __init__(self) -> None:
        self.tests: dict[str | Section, Tests] = {}

    def add(self, label: str | Section, node: str, outcome: str) -> None:
        """Note what became of the test `node`, which is marked with `label`."""
        self.tests.setdefault(label, Tests()).add(node, outcome)

    def rows(self, kind: str) -> Iterator[Row]:
        """RFC 9293's labels of one kind, in order."""
        for requirement in REQUIREMENTS.values():
            if requirement.kind == kind:
                yield self._row(requirement, requirement.label)

    def network(self, rfc: int) -> Iterator[Row]:
        """What another RFC requires of a host, in order."""
        for requirement in NETWORK.values():
            if requirement.label.startswith(f"{rfc}:"):
                yield self._row(requirement, f"{requirement.kind} {requirement.label}")

    def _row(self, requirement: Requirement, label: str) -> Row:
        tests = self.tests.get(requirement.label, Tests())
        verdict, shown = tests.verdict, tests.names
        if requirement.declined is not None and verdict == MISSING:
            verdict, shown = DECLINED, requirement.declined
        start = label, requirement.section, requirement.text
        return Row(*start, str(tests.count), verdict, shown)

    def sections(self, rfc: int) -> Iterator[Row]:
        """The sections of another RFC that tests are marked with, in order."""
        marked = [key for key in self.tests if isinstance(key, Section) and key.rfc == rfc]
        for section in sorted(marked, key=lambda section: section.order):
            tests = self.tests[section]
            yield Row("", section.name, "", str(tests.count), tests.verdict, tests.names)

    @property
    def groups(self) -> Iterator[tuple[str, list[Row]]]:
        """The whole table: titles, and the rows below each."""
        for kind in KINDS:
            rows = [*self.rows(kind)]
            yield f"RFC 9293, {kind}: {_count(rows)}", rows
        for number, title in RFCS.items():
            if rows := [*self.network(number), *self.sections(number)]:
                yield f"RFC {number}, {title}: {_count(rows)}", rows

    @property
    def without_tests(self) -> list[int]:
        """The RFCs of labels.toml that no test is marked with."""
        shown = {int(label.partition(":")[0]) for label in NETWORK if label in self.tests}
        return [number for number in RFCS if number not in shown and not [*self.sections(number)]]

    @property
    def conforms(self) -> bool:
        """Whether every MUST and every SHLD is shown by tests that pass, or declined."""
        rows = [row for kind in NEEDED for row in self.rows(kind)]
        rows += [row for number in RFCS for row in self.network(number)]
        return all(row.verdict in (PASS, DECLINED) for row in rows)

    def plain(self) -> str:
        """The table as text, a line for each row."""
        groups = [*self.groups]
        widths = [
            max(len(row[column]) for _, rows in groups for row in (HEADER, *rows))
            for column in range(len(HEADER))
        ]
        lines = [_line(HEADER, widths)]
        for title, rows in groups:
            lines += ["", title, *(_line(row, widths) for row in rows)]
        return "\n".join([*lines, "", *self._summary()])

    def rich(self, width: int) -> str:
        """The table for a terminal of `width` columns, with its escape sequences."""
        from io import StringIO

        from rich.console import Console

        console = Console(file=StringIO(), force_terminal=True, width=width, highlight=False)
        for title, rows in self.groups:
            console.print(_rich_table(title, rows))
        for line in self._summary():
            console.print(line)
        file = console.file
        assert isinstance(file, StringIO)
        return file.getvalue()

    def _summary(self) -> Iterator[str]:
        for kind in KINDS:
            yield f"{kind:4} {_count([*self.rows(kind)])}"
        rows = [row for number in RFCS for row in self.network(number)]
        yield f"IP, ICMP and UDP: {_count(rows)}"
        if self.without_tests:
            yield "No test yet is marked with RFC " + ", ".join(map(str, self.without_tests))


def _count(rows: Iterable[Row]) -> str:
    counts = Counter(row.verdict for row in rows)
    order = (PASS, FAIL, SKIPPED, MISSING, DECLINED)
    said = [f"{counts[verdict]} {verdict}" for verdict in order if counts[verdict]]
    return f"{counts.total()} ({', '.join(said)})"


def _line(row: Iterable[str], widths: list[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _rich_table(title: str, rows: list[Row]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, expand=True)
    for name, ratio in zip(HEADER, (None, None, 4, None, None, 6), strict=True):
        table.add_column(name, ratio=ratio, no_wrap=ratio is None)
    for row in rows:
        *cells, verdict, shown = row
        table.add_row(*cells, Text(verdict, style=_COLORS.get(verdict, "dim")), Text(shown))
    return table
