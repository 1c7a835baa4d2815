"""Every snippet of docs/ runs, every link leads somewhere, and what is shown is what is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs import report
from tests.docs.snippets import DOCS, PAGES, Snippet, broken_links, name_of, snippets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

README = DOCS.parent / "README.md"
RUN_ELSEWHERE = {"misbehaviours.md": "###"}
"""Pages of which the snippets below headings of this level are run by tests of their own."""


def python_snippets(page: Path) -> list[Snippet]:
    """Those that are to be run here."""
    level = RUN_ELSEWHERE.get(page.name)
    of_their_own = [] if level is None else re.findall(rf"^{level} (.*)$", page.read_text(), re.M)
    return [
        each
        for each in snippets_of(page)
        if each.language == "python" and not each.file and each.heading not in of_their_own
    ]


def programs() -> Iterator[object]:
    for page in PAGES:
        for number, each in enumerate(python_snippets(page)):
            if not each.is_test:
                kernel = [] if "run_virtual" in each.text else [pytest.mark.kernel]
                yield pytest.param(
                    each, id=f"{name_of(page)}-{number}-{each.heading}", marks=kernel
                )


@pytest.mark.parametrize("program", list(programs()))
def test_a_program_runs(
    program: Snippet, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    for tool in ("curl", "socat"):
        if tool in program.text:
            require_tool(tool)
    done = run(program, tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def run(program: Snippet, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder; warnings are errors."""
    file = folder / "program.py"
    file.write_text(program.text)
    return subprocess.run(
        [sys.executable, "-W", "error", file],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import tunstack\ntunstack.no_such_name\n", "no_such_name"),
        ("import warnings\nwarnings.warn('deprecated')\n", "deprecated"),
    ],
)
def test_a_program_that_fails_is_found(text: str, told: str, tmp_path: Path) -> None:
    done = run(Snippet("python", text, "", None), tmp_path)
    assert done.returncode == 1
    assert told in done.stderr


@pytest.mark.kernel
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(each.is_test for each in python_snippets(page))],
    ids=name_of,
)
def test_the_tests_of_a_page_pass_or_fail_as_it_says(
    page: Path, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    """In one run of pytest, as starting it takes longer than most of them."""
    require_tool("curl")
    passing = failing = 0
    for number, each in enumerate(python_snippets(page)):
        if each.is_test:
            (tmp_path / f"test_snippet_{number}.py").write_text(each.text)
            count = len(re.findall(r"^(?:async )?def test_", each.text, re.M))
            if each.mark == "fails":
                failing += count
            else:
                passing += count
    options = ["-q", "-c", "/dev/null", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-W", "error", "--tunstack-required"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    outcome = done.stdout.splitlines()[-1]
    expected = [f"{failing} failed"] * bool(failing) + [f"{passing} passed"] * bool(passing)
    assert outcome.partition(" in ")[0] == ", ".join(expected), done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_here_is_run_when_the_site_is_built(page: Path) -> None:
    """Files by the commands of ``{run}`` blocks; commands, unless they are marked as not run."""
    snippets = snippets_of(page)
    users = re.findall(r"^```\{run\}\n(.*?)^```$", page.read_text(), re.M | re.S)
    users += [each.text for each in snippets if each.file]
    for each in snippets:
        if each.file:
            stem = re.escape(each.file.partition(".")[0])
            assert any(re.search(rf"\b{stem}\b", user) for user in users), each.file
        elif each.language == "console" and page != README:
            assert each.mark == "not run", each.text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not broken_links(page)


def test_the_lines_for_github_actions_are_those_of_our_own_workflow() -> None:
    page = (DOCS / "how-to" / "github-actions.md").read_text()
    workflow = (DOCS.parent / ".github" / "workflows" / "ci.yml").read_text()
    lines = re.findall(r"^ +(sudo .*)$", page, re.M)
    assert len(lines) == 3
    assert [line for line in lines if line not in workflow] == []


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
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True
    )
    for option in set(re.findall(r"--tunstack-\w+", text)):
        assert option in done.stdout
