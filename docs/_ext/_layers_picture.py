"""The packages and what each imports, as a picture: the rows are those of the imports' contract.

Of the imports, those for type checkers alone left out, it has those that do not follow from others:
a package is shown to import another if it does not import it through a third as well.
"""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import _layered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
_PACKAGE: Final = ROOT / "tunstack"
_LEFT_OUT: Final = {"__main__", "compiled", "lazy"}
"""Modules, not packages."""


def sources() -> Iterable[Path]:
    """Everything that is imported, and the contract."""
    return [ROOT / "pyproject.toml", *sorted(_PACKAGE.rglob("*.py"))]


def markdown() -> str:
    """The picture."""
    drawing = _layered.Drawing(rows(), reduced(imports()))
    label = "The packages of tunstack from the top to the bottom, and what each imports"
    return f"```{{raw}} html\n{drawing.svg(label)}\n```\n"


def rows() -> list[list[str]]:
    """The packages of each layer, from the top."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = (
        each
        for each in project["tool"]["importlinter"]["contracts"]
        if each["type"] == "layers" and each["containers"] == ["tunstack"]
    )
    found = []
    for layer in contract["layers"]:
        names = [name.strip() for name in layer.replace(":", "|").split("|")]
        found.append([name for name in names if name not in _LEFT_OUT])
    return [row for names in found if (row := names)]


@cache
def imports() -> dict[str, set[str]]:
    """For each package the others that it imports when it runs, as they were at the first call."""
    found: dict[str, set[str]] = {}
    known = {name for row in rows() for name in row}
    for path in _PACKAGE.rglob("*.py"):
        own = path.relative_to(_PACKAGE).parts[0]
        if own in known:
            taken = {name.split(".")[1] for name in _imported(ast.parse(path.read_text()))}
            found.setdefault(own, set()).update(taken & known - {own})
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    """What is imported of the package, by dotted names; not what is for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):  # Nothing is imported in one.
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom) and child.module:
            names = [child.module, *(f"{child.module}.{each.name}" for each in child.names)]
        elif isinstance(child, ast.Import):
            names = [each.name for each in child.names]
        else:
            names = []
        yield from (name for name in names if name.startswith("tunstack."))
        yield from _imported(child)


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph without the edges that follow from longer ways."""

    def behind(name: str) -> set[str]:
        return {name}.union(*(behind(each) for each in graph.get(name, ())))

    return {
        name: {each for each in ends if not any(each in behind(other) for other in ends - {each})}
        for name, ends in graph.items()
    }
