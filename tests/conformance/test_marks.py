"""The marks are found in the tests' source as pytest finds them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.conformance import marks
from tests.conformance.labels import NEEDED, NETWORK, REQUIREMENTS

if TYPE_CHECKING:
    from pathlib import Path

FILES = [path for path in marks.marked_files() if path.parent != marks.FOLDER]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(marks.TESTS)))
def test_every_label_of_a_file_is_some_tests(path: Path) -> None:
    """However it is written: on a test, a class, a parameter, or for the whole file."""
    source = path.read_text()
    written = set(marks._labels(ast.parse(source)))
    assert {label for label, _ in marks.marked(source, path.name)} == written


def test_each_needed_requirement_has_a_test_or_a_reason() -> None:
    shown = marks.tests_by_label()
    for requirement in (*REQUIREMENTS.values(), *NETWORK.values()):
        if requirement.kind in NEEDED:
            assert requirement.label in shown or requirement.declined, requirement.label
