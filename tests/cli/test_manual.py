"""Manual pages, made of the commands' help."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from tunstack.cli.manual import pages
from tunstack.cli.root import root, summaries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def manual() -> dict[str, str]:
    return dict(pages())


def words(text: str) -> str:
    """The text, in words, without how it is set."""
    shown = re.sub(r"^\.\w+ ?|\\f[BR]|\\&", "", text, flags=re.MULTILINE)
    for escape, character in (
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\(ha", "^"),
        ("\\(ti", "~"),
        ("\\(ga", "`"),
        ("\\e", "\\"),
    ):
        shown = shown.replace(escape, character)
    return " ".join(shown.split())


def test_there_is_a_page_for_each_command(manual: dict[str, str]) -> None:
    assert manual.keys() == {"tunstack.1", *(f"tunstack-{name}.1" for name in summaries())}


@pytest.mark.parametrize("name", list(summaries()))
def test_a_page_has_all_of_the_help(manual: dict[str, str], name: str) -> None:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    page = words(manual[f"tunstack-{name}.1"])
    for text in (command.help, command.epilog):
        wanted = re.sub(r"^Examples?:$", "", text or "", flags=re.MULTILINE).replace("\b", "")
        assert all(
            " ".join(paragraph.split()) in page for paragraph in wanted.strip().split("\n\n")
        )
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert all(switch in page for switch in parameter.opts), parameter.opts


def test_man_formats_every_page_without_a_warning(
    tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    groff = require_tool("groff")
    subprocess.run([sys.executable, "-m", "tunstack.cli.manual", tmp_path / "man"], check=True)
    written = sorted((tmp_path / "man").iterdir())
    assert written
    for page in written:
        done = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww", page], check=True, capture_output=True, text=True
        )
        assert done.stderr == ""
        assert f"{page.stem.upper()}(1)" in done.stdout
