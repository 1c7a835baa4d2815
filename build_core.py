"""Compiles the core with mypyc: its folders without I/O, from the source that also runs as it is.

    python build_core.py [FOLDER]      the package in FOLDER (here), the modules beside the source

The modules share a library, tunstack__mypyc; each has a small one of its own beside its source,
which is imported instead of the source. Objects are kept in build/mypyc, by interpreter and
optimization, and only those whose C source has changed are compiled again, by as many compilers as
there are processors (CORES, to choose).

Environment: ``OPT`` is the compiler's optimization, 0 to 3 (2).
"""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distutils.ccompiler import CCompiler

REQUIREMENTS = ["mypy[mypyc]~=2.4.1", "setuptools>=77"]
"""What must be installed to compile, beside a C compiler and Python's headers."""

FOLDERS = ("ip", "stack", "tcp", "udp", "wire")
"""Below tunstack."""
INTERPRETED = {"tunstack/wire/dpkt_headers.py"}
"""Its classes are dpkt's, whose metaclass a compiled class cannot have."""

_OPTIONS = ("--config-file=", "--follow-imports=silent", "--ignore-missing-imports")
"""Of mypy: where the package is built, its dependencies are not installed."""


def modules(root: Path) -> list[str]:
    """The source files of the core, relative to `root`."""
    paths = (path for each in FOLDERS for path in (root / "tunstack" / each).rglob("*.py"))
    return sorted({path.relative_to(root).as_posix() for path in paths} - INTERPRETED)


def build(root: Path) -> list[Path]:
    """Compile the core of the package in `root` in place; returns the libraries, relative to it."""
    optimization = os.environ.get("OPT", "2")
    target = Path("build", "mypyc", f"{sysconfig.get_config_var('SOABI')}-O{optimization}")
    with contextlib.chdir(root):  # mypyc and setuptools go by it.
        return compile_modules(modules(Path()), target, optimization)


def compile_modules(sources: list[str], target: Path, optimization: str) -> list[Path]:
    """Compile `sources` in place, with C source and objects in `target`."""
    from setuptools import Distribution  # Before mypyc: it brings distutils, which is no more.
    from setuptools.command.build_ext import build_ext

    from mypyc.build import mypycify  # isort: skip

    extensions = mypycify(
        [*_OPTIONS, *sources],
        opt_level=optimization,
        debug_level="0",
        multi_file=True,
        target_dir=os.fspath(target),
        group_name="tunstack",  # In the package, the library would give packages a wrong __path__.
    )

    class Build(build_ext):
        def build_extensions(self) -> None:
            compile_in_parallel(self.compiler, target)
            super().build_extensions()

    command = Build(Distribution({"name": "tunstack", "ext_modules": extensions}))
    command.inplace = True
    command.force = True  # Linked again, whatever is there; what is compiled is decided below.
    command.build_temp = os.fspath(target / "objects")
    command.ensure_finalized()
    command.run()
    return [Path(command.get_ext_filename(each.name)) for each in extensions]


def compile_in_parallel(compiler: CCompiler, target: Path) -> None:
    """Have a compiler of setuptools compile an extension's files at once, and only the changed.

    `target` has the headers.
    """
    one: Any = compiler.compile
    headers = max(path.stat().st_mtime for path in target.rglob("*.h"))

    def compile_all(sources: list[str], output_dir: str, **options: Any) -> list[str]:
        objects = compiler.object_filenames(sources, output_dir=output_dir)

        def compile_one(source: str, target: str) -> None:
            made = os.path.getmtime(target) if os.path.exists(target) else 0.0
            if made < max(headers, os.path.getmtime(source)):
                one([source], output_dir=output_dir, **options)

        with ThreadPoolExecutor(int(os.environ.get("CORES", os.cpu_count() or 1))) as pool:
            list(pool.map(compile_one, sources, objects))
        return objects

    compiler.compile = compile_all  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        version = sysconfig.get_python_version()
        sys.exit(f"Python's headers are missing: apt-get install python{version}-dev")
    made = build(Path(sys.argv[1] if sys.argv[1:] else ".").resolve())
    print(f"compiled {len(made) - 1} modules")
