"""README says what is true, and holds on GitHub, on PyPI and in the sdist.

Its snippets are run with those of docs/ (tests/docs).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from readme_renderer import markdown

from tests.docs import pictures
from tests.docs.snippets import anchors_of, snippets_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = "https://github.com/tunstack/tunstack/"
RAW = "https://raw.githubusercontent.com/tunstack/tunstack/main/"
SITE = "https://tunstack.github.io/tunstack/"


def links() -> list[str]:
    """The targets of all links and images."""
    return re.findall(r"\]\(([^)]+)\)", TEXT)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^\$ make (\w+)", TEXT, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_first_commands_are_those_of_a_checkout() -> None:
    first = next(each for each in snippets_of(README) if each.language == "console")
    assert re.findall(r"^\$ (make \w+)", first.text, re.M) == ["make demo", "make test"]


@pytest.mark.kernel
def test_the_ten_lines_are_ten_and_shout(require_tool: Callable[[str], str]) -> None:
    require_tool("socat")
    block = next(each for each in snippets_of(README) if each.heading == "Ten lines")
    lines = [line for line in block.text.splitlines() if line]
    assert len(lines) == 10
    assert max(map(len, lines)) <= 100
    command = [sys.executable, "-W", "error", "-c", block.text]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("HELLO\n", "")


def test_links_are_absolute_as_pypi_has_no_others() -> None:
    assert [each for each in links() if not each.startswith("https://")] == []


def test_links_to_the_repository_and_the_site_name_what_is_there() -> None:
    for link in links():
        if link.startswith(RAW):
            assert (ROOT / link.removeprefix(RAW)).is_file(), link
        elif found := re.match(f"{REPOSITORY}(?:blob|tree)/main/(.*)", link):
            assert (ROOT / found[1]).exists(), link
        elif link.startswith(REPOSITORY):
            assert "/workflows/ci.yml" in link
        elif link.startswith(SITE):
            path, _, anchor = link.removeprefix(SITE).partition("#")
            page = ROOT / "docs" / path.replace(".html", ".md")
            assert page.is_file(), link
            assert not anchor or anchor in anchors_of(page), link


def test_pictures_are_svg_that_suits_both_schemes() -> None:
    shown = [each for each in re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT) if each.startswith(RAW)]
    assert len(shown) == 2
    for each in shown:
        text = (ROOT / each.removeprefix(RAW)).read_text()
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert re.search(r"prefers-color-scheme: ?dark", text)


def test_pypi_renders_it() -> None:
    html = markdown.render(TEXT, variant="GFM")
    assert html is not None
    assert len(re.findall(r"<table>", html)) == 3
    assert len(re.findall(r"<img ", html)) == TEXT.count("![")
    targets = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert [each for each in targets if not each.startswith(("https://", "#"))] == []


def test_badges_are_true() -> None:
    versions = re.findall(r"Python ([\d. |]+)\]", TEXT)[0].split(" | ")
    classified = [
        each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each
    ]
    assert versions == classified
    assert f"python-{'_%7C_'.join(versions)}-blue" in TEXT
    assert f"[![Licence: {PROJECT['license']}]" in TEXT
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert all(f'"{version}"' in workflow for version in versions)


@pytest.mark.kernel
def test_the_ladder_is_as_it_is_drawn_today(require_tool: Callable[[str], str]) -> None:
    require_tool("curl")
    shown = pictures.essence(pictures.LADDER.read_text())
    assert shown == pictures.essence(pictures.drawn()), "run python -m tests.docs.pictures"


def test_the_short_table_of_the_benchmark_is_part_of_the_large_one() -> None:
    large = (ROOT / "docs" / "explanation" / "performance.md").read_text()
    rows = re.findall(r"^\| (?:bulk|requests|connections)[^|]*\|(?:[^|]*\|){3}$", TEXT, re.M)
    assert len(rows) >= 4
    assert [row for row in rows if row not in large] == []


def test_it_fits_in_a_few_screens() -> None:
    assert len(TEXT.split()) < 900
