"""README says what is true: its diagram is the table's, its commands and names exist."""

from __future__ import annotations

import re
from pathlib import Path

from tunstack.tcp.diagram import mermaid

README = Path(__file__).parent.parent / "README.md"


def test_the_state_diagram_is_generated_from_the_table() -> None:
    text = README.read_text()
    shown = re.search(r"<!-- states -->\n```mermaid\n(.*?)```\n<!-- /states -->", text, re.DOTALL)
    assert shown is not None
    assert shown[1] == mermaid(), "run python -m tunstack.tcp.diagram, and put it there"


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())
    assert links
    missing = [link for link in links if not (README.parent / link).exists()]
    assert not missing


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^\$ make (\w+)", README.read_text(), re.MULTILINE))
    makefile = (README.parent / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
