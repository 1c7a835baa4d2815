"""The arrows of the design: who may import what.

The contracts stand in pyproject.toml, for ``lint-imports``. Here they are checked once more, and
each is shown to bite. The last rules speak of parts of a package, which contracts cannot, and of
circles, types included: the contracts look at layers, and a circle may lie within one.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
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
import contextlib, importlib, io, json, os, sys
from importlinter.cli import lint_imports
sys.path.insert(0, "")
for line in sys.stdin:
    os.chdir(line.rstrip())
    sys.path[0] = os.getcwd()
    importlib.invalidate_caches()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = lint_imports(config_filename="pyproject.toml", cache_dir=None, no_logo=True)
    print(json.dumps([status, printed.getvalue()]), flush=True)
"""
"""Checks the trees whose folders it reads: to start it takes longer than to check one."""


class Linter:
    """A process that checks contracts; it never imports the package, so it may look at several."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", LINT],
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def broken_contracts(self, root: Path) -> tuple[set[str], str]:
        """The names of the contracts that the package below `root` breaks, and the report."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{root}\n")
        self._process.stdin.flush()
        status, report = json.loads(self._process.stdout.readline())
        broken = {line.partition(" BROKEN")[0] for line in report.splitlines() if " BROKEN" in line}
        assert (status == 0) == (not broken), report
        return broken, report

    def end(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


@pytest.fixture(scope="module")
def linter() -> Iterator[Linter]:
    linter = Linter()
    yield linter
    linter.end()


@pytest.fixture(scope="module")
def broken_anyway(linter: Linter) -> set[str]:
    return linter.broken_contracts(ROOT)[0]


@functools.cache  # Many of the trees that are looked at differ in one file.
def imports(source: str) -> list[str]:
    """Every module that Python source imports, as dotted names with what is taken from them."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return found


def uses(source: str, module: str) -> set[str]:
    """What Python source takes from a top-level module, by import or as an attribute of it."""
    taken = {name.partition(".")[2] for name in imports(source) if name.split(".")[0] == module}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == module:
                taken.add(attribute)
    return taken - {""}


def test_the_package_keeps_every_contract(linter: Linter) -> None:
    broken, report = linter.broken_contracts(ROOT)
    assert not broken, report
    assert " 0 broken" in report


LAYERS = "Imports point down the layers"
CORE = "tcp, udp and ip do no I/O, and have no clock or chance of their own"
STACK = "stack does no I/O, and has no clock or chance of its own"
WIRE = "wire does no I/O, and of tcp and ip knows the values that pass between"
DPKT = "Only wire parses packets with dpkt; path.pcapng has its files, the ladder its TLS"
DEVICE = "Only link meets the device and the kernel's network"
LINK = "link knows bytes only"
APPS = "apps stand on the public API"
MATPLOTLIB = "matplotlib is plot's, which imports it when it draws"
EXTRAS = "What the extras bring stays in apps and cli; dnspython in dns, resolver and ladder"


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
        ("ladder/layout.py", "import rich", {EXTRAS}),
        ("ladder/layout.py", "import tunstack.cli.output.terminal", {LAYERS}),
        ("capture/rows.py", "import tunstack.plot.series", {LAYERS}),
        ("capture/rows.py", "import numpy", {MATPLOTLIB}),
        ("bench/plot.py", "def late(): from matplotlib.figure import Figure", {MATPLOTLIB}),
        ("in_no_layer.py", "", {LAYERS}),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    tmp_path: Path,
    linter: Linter,
    broken_anyway: set[str],
    file: str,
    line: str,
    contracts: set[str],
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    copy_package(tmp_path)
    with (tmp_path / "tunstack" / file).open("a") as source:
        source.write(f"\n{line}\n")
    broken, report = linter.broken_contracts(tmp_path)
    assert broken == contracts | broken_anyway, report


def copy_package(folder: Path) -> None:
    bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tunstack", folder / "tunstack", ignore=bytecode)


def test_what_is_used_of_a_module_is_found() -> None:
    source = "import os, os.path\nfrom random import Random\ndef f(): return os.urandom(1)"
    assert uses(source, "os") == {"path", "urandom"}
    assert uses(source, "random") == {"Random"}


@pytest.mark.parametrize("part", ["tcp/**/*.py", "udp/*.py", "ip/**/*.py", "stack/*.py"])
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
    subpackages = ("apps", "behaviours", "blocking", "plot", "pytest_plugin")
    public = {"tunstack", *(f"tunstack.{name}" for name in subpackages)}
    for path in (ROOT / "examples").rglob("*.py"):
        for name in imports(path.read_text()):
            if name.split(".")[0] == "tunstack":
                assert name in public or name.rpartition(".")[0] in public, path


# Circles of imports, those for type checkers included.

CONNECTION = "tunstack.tcp.connection"
PAIRS = {
    f"{CONNECTION}.connection": {
        f"{CONNECTION}.arrival": "its rules for a segment that arrives (RFC 9293 section 3.10.7)",
        f"{CONNECTION}.handshake": "its opening, as a coroutine",
    },
    f"{CONNECTION}.ending": {f"{CONNECTION}.teardown": "its closing, as a coroutine"},
    f"{CONNECTION}.control_block": {f"{CONNECTION}.idle_timers": "its timers while it is idle"},
    "tunstack.tcp.receiver.receiver": {
        "tunstack.tcp.receiver.buffer_tuning": "how its buffer grows",
        "tunstack.tcp.receiver.freezing": "windows that are closed by decision",
    },
    "tunstack.socket.state": {
        "tunstack.socket.notices": "the tasks that wait for its acknowledgements and errors",
    },
}
"""Files that import each other: a subject, and its rules with what they are. No others may."""


def import_graph(root: Path) -> dict[str, set[str]]:
    """What each file of the package below `root` imports of it, whether at run time or for types.

    ``from package import module`` imports the module, and not the package as well.
    """
    sources = {module_name(root, path): path for path in (root / "tunstack").rglob("*.py")}
    return {
        module: {
            next(name for name in prefixes(taken) if name in sources)
            for taken in imports(path.read_text())
            if taken.partition(".")[0] == "tunstack"
        }
        for module, path in sources.items()
    }


def module_name(root: Path, path: Path) -> str:
    """The dotted name of a file below `root`; of an ``__init__.py``, that of its package."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def prefixes(dotted: str) -> Iterator[str]:
    """A dotted name, and those of all that it is within."""
    while dotted:
        yield dotted
        dotted = dotted.rpartition(".")[0]


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The strongly connected components of more than one file."""
    behind = {name: reachable(graph, name) for name in graph}
    return {
        frozenset(other for other in behind[name] if name in behind[other])
        for name in graph
        if name in behind[name]
    }


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """All that `start` imports, and what that imports, and so on; itself only by a circle."""
    found: set[str] = set()
    left = [start]
    while left:
        new = graph[left.pop()] - found
        found |= new
        left += new
    return found


def test_no_files_import_each_other_but_a_subject_and_its_rules() -> None:
    graph = import_graph(ROOT)
    assert circles(graph) == {frozenset({subject, *rules}) for subject, rules in PAIRS.items()}
    for subject, rules in PAIRS.items():
        for rule in rules:
            assert graph[rule] & {subject, *rules} == {subject}, "rules do not know each other"


@pytest.mark.parametrize(
    ("file", "line", "circle"),
    [
        (
            "tcp/config.py",
            "if TYPE_CHECKING: from tunstack.tcp.connection.connection import Connection",
            {
                "tunstack.tcp.config",
                "tunstack.tcp.sender.sender",
                "tunstack.tcp.connection.connection",
            },
        ),
        (
            "tcp/connection/state.py",
            "if TYPE_CHECKING: from tunstack.tcp.connection.coroutines import CoroutineRunner",
            {"tunstack.tcp.connection.state", "tunstack.tcp.connection.coroutines"},
        ),
        (
            "link/base.py",
            "def late(): from tunstack.link import pair",
            {"tunstack.link.base", "tunstack.link.pair"},
        ),
    ],
)
def test_a_circle_of_imports_is_found(
    tmp_path: Path, file: str, line: str, circle: set[str]
) -> None:
    copy_package(tmp_path)
    with (tmp_path / "tunstack" / file).open("a") as source:
        source.write(f"\n{line}\n")
    found = circles(import_graph(tmp_path)) - circles(import_graph(ROOT))
    assert len(found) == 1
    assert circle <= next(iter(found))


COMMANDS = {
    *("bench", "bench_loss", "bridge", "connect", "demo", "ping"),
    *("plot", "run", "serve", "stats", "trace"),
}
"""Modules of the command line, one a command: `tunstack --help` lists them."""


@pytest.mark.parametrize(
    "package",
    sorted(file.parent for file in (ROOT / "tunstack").rglob("__init__.py")),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_docstring_of_a_package_names_its_modules(package: Path) -> None:
    """A stranger finds the file that holds a rule by reading it."""
    modules = {each.stem for each in package.glob("*.py") if not each.stem.startswith("_")}
    if package == ROOT / "tunstack" / "cli":
        modules -= COMMANDS
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    assert {each for each in modules if not re.search(rf"\b{each}\b", docstring)} == set()
