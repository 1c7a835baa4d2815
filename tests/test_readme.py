"""README says what is true: its diagram is the table's, its commands exist.

Its snippets and links are tested with those of docs/.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.snippets import snippets_of
from tunstack.tcp.connection.diagram import mermaid

if TYPE_CHECKING:
    from collections.abc import Callable

README = Path(__file__).parent.parent / "README.md"


def test_the_state_diagram_is_generated_from_the_table() -> None:
    text = README.read_text()
    shown = re.search(r"<!-- states -->\n```mermaid\n(.*?)```\n<!-- /states -->", text, re.DOTALL)
    assert shown is not None
    assert shown[1] == mermaid(), "run python -m tunstack.tcp.connection.diagram, and put it there"


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^\$ make (\w+)", README.read_text(), re.MULTILINE))
    makefile = (README.parent / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.kernel
def test_the_ten_lines_run_and_shout(require_tool: Callable[[str], str]) -> None:
    require_tool("socat")
    (block,) = (each for each in snippets_of(README) if each.heading == "Ten lines")
    command = [sys.executable, "-W", "error", "-c", block.text]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("HELLO\n", "")
