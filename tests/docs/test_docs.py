"""Every snippet of docs/ runs, every link leads somewhere, and what is shown is what is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs import report
from tests.docs.snippets import DOCS, Snippet, broken_links, snippets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

README = DOCS.parent / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]

RUN_ELSEWHERE = {"misbehaviours.md": "###"}
"""Pages of which the snippets below headings of this level are run by tests of their own."""


def python_snippets() -> Iterator[object]:
    for page in PAGES:
        level = RUN_ELSEWHERE.get(page.name)
        of_their_own = (
            [] if level is None else re.findall(rf"^{level} (.*)$", page.read_text(), re.M)
        )
        for number, each in enumerate(snippets_of(page)):
            if each.language == "python" and each.heading not in of_their_own:
                kernel = [] if "run_virtual" in each.text else [pytest.mark.kernel]
                name = f"{page.stem}-{number}-{each.heading}"
                yield pytest.param(each, id=name, marks=kernel)


@pytest.mark.parametrize("snippet", list(python_snippets()))
def test_a_snippet_runs(
    snippet: Snippet, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    if '"curl"' in snippet.text:
        require_tool("curl")
    file = tmp_path / "test_snippet.py"
    file.write_text(snippet.text)
    options = ["-q", "-c", "/dev/null", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    if snippet.is_test:
        command = [sys.executable, "-m", "pytest", *options, "-W", "error", "--tunstack-required"]
    else:
        command = [sys.executable, "-W", "error"]
    done = subprocess.run(
        [*command, file], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    expected = 1 if snippet.mark == "fails" else 0
    assert (done.returncode, done.stderr) == (expected, ""), done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not broken_links(page)


@pytest.mark.kernel
def test_the_report_of_the_failing_example_is_as_it_is_printed(tmp_path: Path) -> None:
    printed = report.essence(report.printed(tmp_path))
    assert printed == report.essence(report.shown()), "run python -m tests.docs.report"


def test_the_first_test_takes_ten_lines() -> None:
    (example,) = (each for each in snippets_of(report.PAGE) if each.mark == "fails")
    assert len(example.text.splitlines()) <= 10


def test_the_fixtures_and_options_that_are_named_are_there() -> None:
    from tunstack import pytest_plugin

    text = report.PAGE.read_text()
    table = re.findall(r"^\| (`[^|]*`) \|", text, re.M)
    fixtures = {name for row in table for name in re.findall(r"`(tunstack_\w+)`", row)}
    assert {"tunstack_peer", "tunstack_host", "tunstack_network"} <= fixtures
    assert fixtures <= set(pytest_plugin.__all__)
    for option in set(re.findall(r"--tunstack-\w+", text)):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True
        )
        assert option in done.stdout
