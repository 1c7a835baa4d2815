"""The arrows of the design: who may import what.

The contracts stand in pyproject.toml, for ``lint-imports``. Here they are checked once more, and
each is shown to bite. The last rules speak of parts of a package, which contracts cannot.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent

LINT = """
from importlinter.cli import lint_imports
raise SystemExit(lint_imports(config_filename="pyproject.toml", cache_dir=None, no_logo=True))
"""


def broken_contracts(root: Path) -> tuple[set[str], str]:
    """The names of the contracts that the package below `root` breaks, and the whole report."""
    run = subprocess.run(
        [sys.executable, "-P", "-c", LINT],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    report = run.stdout + run.stderr
    broken = {line.partition(" BROKEN")[0] for line in report.splitlines() if " BROKEN" in line}
    assert (run.returncode == 0) == (not broken), report
    return broken, report


@pytest.fixture(scope="module")
def broken_anyway() -> set[str]:
    return broken_contracts(ROOT)[0]


def imports(source: str) -> Iterator[str]:
    """Every module that Python source imports, as dotted names with what is taken from them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def uses(source: str, module: str) -> set[str]:
    """What Python source takes from a top-level module, by import or as an attribute of it."""
    taken = {name.partition(".")[2] for name in imports(source) if name.split(".")[0] == module}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == module:
                taken.add(attribute)
    return taken - {""}


def test_the_package_keeps_every_contract() -> None:
    broken, report = broken_contracts(ROOT)
    assert not broken, report
    assert " 0 broken" in report


LAYERS = "Imports point down the layers"
CORE = "tcp and ip do no I/O, and have no clock or chance of their own"
STACK = "stack does no I/O, and has no clock or chance of its own"
WIRE = "wire does no I/O, and of tcp and ip knows the values that pass between"
DPKT = "Only wire parses with dpkt; path.pcapng has its capture formats"
DEVICE = "Only link meets the device and the kernel's network"
LINK = "link knows bytes only"
APPS = "apps stand on the public API"
EXTRAS = "What the extras bring stays in apps and cli"


@pytest.mark.parametrize(
    ("file", "line", "contracts"),
    [
        ("tcp/segment.py", "import trio", {CORE, STACK}),
        ("tcp/segment.py", "from time import monotonic", {CORE, STACK}),
        ("tcp/segment.py", "from tunstack.ip.datagram import Datagram", {LAYERS}),
        ("tcp/segment.py", "def late(): from tunstack.wire import checksum", {LAYERS}),
        ("ip/datagram.py", "import dpkt", {CORE, DPKT}),
        ("ip/datagram.py", "import tunstack.tcp.segment", {LAYERS}),
        ("stack/stack.py", "import trio", {STACK}),
        ("stack/stack.py", "from tunstack.host.host import Host", {LAYERS, STACK}),
        ("stack/flow.py", "from tunstack.path.impair import Impairments", {LAYERS, STACK}),
        ("deploy/namespace.py", "import tunstack.simulator", {LAYERS}),
        ("wire/checksum.py", "import socket", {STACK, WIRE}),
        ("wire/checksum.py", "from tunstack.tcp import sequence", {WIRE}),
        ("link/base.py", "import tunstack.tcp.segment", {LINK}),
        ("link/base.py", "import tunstack.wire.checksum", {LAYERS, LINK}),
        ("apps/__init__.py", "from pytun import TunTapDevice", {DEVICE}),
        ("apps/__init__.py", "from tunstack.wire import checksum", {APPS}),
        ("stack/observation.py", "import h11", {EXTRAS}),
        ("in_no_layer.py", "", {LAYERS}),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    tmp_path: Path, broken_anyway: set[str], file: str, line: str, contracts: set[str]
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "tunstack", tmp_path / "tunstack")
    with (tmp_path / "tunstack" / file).open("a") as source:
        source.write(f"\n{line}\n")
    broken, report = broken_contracts(tmp_path)
    assert broken == contracts | broken_anyway, report


def test_what_is_used_of_a_module_is_found() -> None:
    source = "import os, os.path\nfrom random import Random\ndef f(): return os.urandom(1)"
    assert uses(source, "os") == {"path", "urandom"}
    assert uses(source, "random") == {"Random"}


@pytest.mark.parametrize("part", ["tcp/**/*.py", "ip/**/*.py", "stack/*.py"])
def test_the_core_gets_time_and_randomness_as_arguments(part: str) -> None:
    """Both modules have parts that are harmless: the type of what is given, and names of errors."""
    paths = list((ROOT / "tunstack").glob(part))
    assert paths
    for path in paths:
        assert uses(path.read_text(), "random") <= {"Random"}, path
        assert uses(path.read_text(), "os") <= {"strerror"}, path


def test_of_dpkt_path_takes_the_capture_formats_only() -> None:
    captures = {"pcap", "pcapng", "sll", "sll2"}
    for path in (ROOT / "tunstack" / "path").rglob("*.py"):
        taken = {name.partition(".")[0] for name in uses(path.read_text(), "dpkt")}
        assert taken <= captures, path


def test_the_examples_show_the_public_api_only() -> None:
    """What an example needs, everybody does: it must be public."""
    public = {"tunstack", "tunstack.apps"}
    for path in (ROOT / "examples").rglob("*.py"):
        for name in imports(path.read_text()):
            if name.split(".")[0] == "tunstack":
                assert name in public or name.rpartition(".")[0] in public, path
