"""The notebooks run to their end, and print what is kept in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("**/*.ipynb"))


def run(notebook: Any, folder: Path) -> None:
    """Run the cells in a folder, and keep what they print and draw."""
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, resources=resources, record_timing=False).execute()


def printed(notebook: Any) -> Iterator[list[str]]:
    """What each cell printed, and that it drew something."""
    for cell in notebook.cells:
        texts = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts.append("a picture" if "image/png" in data else "")
            texts[-1] = texts[-1] or output.get("text") or data.get("text/plain", "")
        yield texts


def test_there_is_one() -> None:
    assert NOTEBOOKS


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_is_kept_in_it(path: Path, tmp_path: Path) -> None:
    """If it does not, and the difference is meant: ``make snapshot``."""
    kept = nbformat.read(path, as_version=4)
    again = nbformat.read(path, as_version=4)
    run(again, tmp_path)
    assert [*printed(again)] == [*printed(kept)]


def main() -> None:
    """Run the notebooks anew, and keep their output."""
    from tempfile import TemporaryDirectory

    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        with TemporaryDirectory() as folder:
            run(notebook, Path(folder))
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
