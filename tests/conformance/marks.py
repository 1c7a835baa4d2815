"""The tests that are marked with requirements, found in their source: no test is run or imported.

``make conformance`` says which of them pass. For the documentation it is enough to know them.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tests.conformance.labels import Section, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(__file__).parent
TESTS: Final = FOLDER.parent


class Test(NamedTuple):
    """A marked test.

    Attributes:
        path: Of its file, below the project's root.
        line: Of its name.
        name: Without ``test_``.
    """

    path: str
    line: int
    name: str


Shown: TypeAlias = "dict[str | Section, list[Test]]"


def marked_files() -> list[Path]:
    """The files with marks, in order."""
    return sorted(path for path in TESTS.rglob("test_*.py") if "mark.rfc(" in path.read_text())


def tests_by_label() -> Shown:
    """The tests of each requirement, in the order of their files and lines."""
    found: Shown = {}
    for path in marked_files():
        if path.parent == FOLDER:
            continue  # Its marks are of tests that are written for it.
        for label, test in marked(path.read_text(), str(path.relative_to(TESTS.parent))):
            found.setdefault(parse(label), []).append(test)
    return found


@functools.cache
def marked(source: str, path: str) -> tuple[tuple[str, Test], ...]:
    """Every label in a test's source, with a test that has it."""
    tree = ast.parse(source)
    of_all = [label for node in tree.body if _is_pytestmark(node) for label in _labels(node)]
    found = []
    for node, outer in _tests(tree):
        test = Test(path, node.lineno, _name(node).removeprefix("test_").removeprefix("Test"))
        labels = [*of_all, *outer, *(each for part in _marks(node) for each in _labels(part))]
        found += [(label, test) for label in dict.fromkeys(labels)]
    return tuple(found)


_Named: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.AnnAssign


def _tests(tree: ast.Module) -> Iterator[tuple[_Named, list[str]]]:
    """The tests of a module, each with the labels of its class."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name.startswith("test_"):
                yield node, []
            case ast.ClassDef(name=name) if name.startswith("Test"):
                outer = [label for part in node.decorator_list for label in _labels(part)]
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                        yield inner, outer
            case ast.AnnAssign(target=ast.Name(id=name)) if name.startswith("Test"):
                yield node, []  # Of hypothesis: a state machine, run as a TestCase.


def _name(node: _Named) -> str:
    if isinstance(node, ast.AnnAssign):
        assert isinstance(node.target, ast.Name)
        return node.target.id
    return node.name


def _marks(node: _Named) -> list[ast.expr]:
    """Where a test's marks are: its decorators, with those of parameters in them."""
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value is not None else []
    return node.decorator_list


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
    )


def _labels(node: ast.AST) -> Iterator[str]:
    """The labels of every ``pytest.mark.rfc(...)`` in a part of a module."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.rfc":
            for argument in call.args:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value)
