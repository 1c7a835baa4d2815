"""A module in a child process finds what the package needs, and no more is imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tunstack.link import starting

START = Path(starting.__file__).with_name("_start.py")


def test_a_module_finds_what_stands_beside_the_package(tmp_path: Path) -> None:
    """As the library of a compiled core does; a child has no other path to it."""
    package = tmp_path / "tunstack"
    (package / "wire").mkdir(parents=True)
    for each in (package, package / "wire"):
        (each / "__init__.py").write_text("raise AssertionError('it is not needed')")
    (tmp_path / "library.py").write_text("NAME = 'beside'")
    (package / "wire" / "module.py").write_text(
        "import library\ndef main(what): print(library.NAME, what)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", START, package, "", "wire.module", "found"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.stdout == "beside found\n"
