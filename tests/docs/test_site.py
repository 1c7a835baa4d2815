"""What is wrong on a page ends the build, which says where; and what the pages draw is complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.docs.snippets import DOCS, ROOT, broken_links, snippets_of
from tunstack.tcp.connection.state import TRANSITIONS, State

if TYPE_CHECKING:
    from pathlib import Path

sys.path.insert(0, str(DOCS / "_ext"))

import _command_line
import _layered
import _layers_picture
import _states_picture

PAGES = {
    "index.md": """# Start

```{toctree}
good
links
names
missing
```
""",
    "good.md": "# Good\n\n[Start](index.md), [MIT](../LICENSE), {py:class}`tunstack.Host`\n",
    "links.md": "# Links\n\n[nowhere](nowhere.md)\n\n[no heading](good.md#bad)\n",
    "names.md": """# Names

```{eval-rst}
:class:`tunstack.Nothing`

.. autoclass:: tunstack.Not
```
""",
    "orphan.md": "# In no table of contents\n",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a site with these faults."""
    root = tmp_path_factory.mktemp("project")
    folder = root / "docs"
    folder.mkdir()
    for name in ("conf.py", "_ext", "_static"):
        (folder / name).symlink_to(DOCS / name)
    shutil.copy(ROOT / "LICENSE", root)
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-b",
            "dummy",
            "-nqW",
            "--keep-going",
            folder,
            root / "out",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TUNSTACK_DOCS_WITHOUT_RUNS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("index.md", "nonexisting document 'missing'"),
        ("links.md", "target not found: 'nowhere.md'"),
        ("links.md", "'bad'"),
        ("names.md", "target not found: tunstack.Nothing"),
        ("names.md", "tunstack.Not"),
        ("orphan.md", "isn't included in any toctree"),
    ],
)
def test_what_is_wrong_on_a_page_is_told_with_its_place(report: str, page: str, told: str) -> None:
    assert [line for line in report.splitlines() if page in line and told in line], report


def test_a_good_page_is_not_told_of(report: str) -> None:
    assert "good.md:" not in report


def test_a_link_that_leads_nowhere_is_found_without_a_build(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n[a](page.md#a-page) [b](other.md) [c](#nothing)\n")
    assert broken_links(page) == ["other.md", "#nothing"]


def test_the_snippets_of_a_page_are_found_between_its_directives(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n````{note}\n```python\nin a directive\n```\n````\n\n"
        "```{run}\n$ true\n```\n\n## Part\n\n<!-- fails -->\n```python\n1 / 0\n```\n"
    )
    (snippet,) = snippets_of(page)
    assert (snippet.language, snippet.text) == ("python", "1 / 0\n")
    assert (snippet.heading, snippet.mark) == ("Part", "fails")


def test_lint_builds_the_documentation() -> None:
    done = subprocess.run(
        ["make", "-n", "-B", "lint"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"-m sphinx .*-W", done.stdout)


# What is drawn


def test_the_layers_have_every_package_and_arrows_lead_downwards() -> None:
    packages = {each.parent.name for each in (ROOT / "tunstack").glob("*/__init__.py")}
    rows, edges = _layers_picture.rows(), _layers_picture.reduced(_layers_picture.imports())
    assert {name for row in rows for name in row} == packages
    height = {name: at for at, row in enumerate(rows) for name in row}
    picture = _layers_picture.markdown()
    assert picture.count('class="edge"') == sum(map(len, edges.values())) > 20
    assert all(height[start] < height[end] for start, ends in edges.items() for end in ends)
    assert all(f">{name}</text>" in picture for name in packages)


def test_what_follows_from_other_arrows_is_left_out() -> None:
    graph = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}}
    assert _layers_picture.reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": {"d"}}


def test_the_boxes_of_a_row_do_not_overlap() -> None:
    rows = [["a"], ["b", "c", "d", "e"], ["f"]]
    drawing = _layered.Drawing(rows, {"a": {"b", "c", "d", "e", "f"}}).svg("test")
    lefts = sorted(float(x) for x in re.findall(rf'x="([-\d.]+)" y="{_layered.ROW}"', drawing))
    assert len(lefts) == 4
    assert all(b - a > _layered.BOX[0] for a, b in pairwise(lefts))


def test_the_states_are_drawn_with_every_transition() -> None:
    picture, table = _states_picture.picture(), _states_picture.table()
    assert all(f">{state}</text>" in picture for state in State)
    open_ends = [row for row in TRANSITIONS if row.after is not State.CLOSED]
    assert picture.count('class="edge"') == len(open_ends)
    for row in TRANSITIONS:
        assert f"| {row.before} | {row.after} | {row.cause} | {row.section} |" in table


def test_the_command_line_has_each_option() -> None:
    page = _command_line.markdown()
    assert "## tunstack bench-loss\n" in page
    assert "`--impair SPEC`\n: Impair the path" in page
