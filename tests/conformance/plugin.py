"""A pytest plugin: tests marked with what they show, and the table of it (``--conformance``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.conformance.labels import UnknownLabelError, parse
from tests.conformance.table import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

PROPERTY: Final = "rfc"
"""How a label travels with a test's report: from another process, if need be (xdist)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--conformance",
        action="store_true",
        help="run the tests that are marked with requirements of RFCs, and tell which are met",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("conformance"):
        config.pluginmanager.register(Conformance(), "conformance-table")


def labels_of(item: pytest.Item) -> Iterator[object]:
    """What a test is marked with, the nearest mark first."""
    for mark in item.iter_markers("rfc"):
        if not mark.args or mark.kwargs:
            raise UnknownLabelError("a mark needs labels, and nothing else")
        yield from mark.args


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Write each test's labels into what will be reported of it; refuse unknown ones."""
    wrong = []
    for item in items:
        try:
            for label in dict.fromkeys(labels_of(item)):
                parse(label)
                item.user_properties.append((PROPERTY, label))
        except UnknownLabelError as error:
            wrong.append(f"{item.nodeid}: {error}")
    if wrong:
        raise pytest.UsageError("pytest.mark.rfc: " + "\n".join(wrong))
    if config.getoption("conformance"):
        others = [item for item in items if not item.get_closest_marker("rfc")]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item.get_closest_marker("rfc")]


class Conformance:
    """Gathers what the tests show, and tells it at the end."""

    def __init__(self) -> None:
        self.report = Report()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Of a test that passes only its call counts; what fails or is skipped may do so anywhere.
        if report.when == "call" or report.outcome != "passed":
            for name, label in report.user_properties:
                if name == PROPERTY:
                    self.report.add(parse(label), report.nodeid, report.outcome)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        writer = terminalreporter
        writer.section("conformance")
        if writer.hasmarkup:
            writer.write(self.report.rich(writer._tw.fullwidth))
        else:
            writer.write_line(self.report.plain())

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and not self.report.conforms:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
