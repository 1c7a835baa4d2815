"""Each misbehaviour of the table, met by a program in the namespace and by the test's own process.

The programs are curl, and where curl cannot do it `clients` as a program.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tunstack
from tests.misbehaviours import clients
from tests.misbehaviours.rendering import GROUPS, PAGE, page
from tests.misbehaviours.table import MOST_LINES, Misbehaviour
from tunstack import blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunstack.blocking import Host, Namespace

TABLE = [each for group in GROUPS.values() for each in group]

each_misbehaviour = pytest.mark.parametrize(
    "row", [pytest.param(each, id=each.name) for each in TABLE]
)

CURL = {
    "whole": {0},
    "changed": {0},
    "refused": {7},
    "unreachable": {7},
    "cut": {18},
    "timeout": {28},
    "empty": {52},
    "reset": {55, 56},
    "certificate": {60},
    "tls": {35, 56},
    "nonsense": {1, 8},
}
"""What curl's exit status says, by our word."""


@pytest.fixture
def ns() -> Iterator[Namespace]:
    with blocking.open_namespace() as ns:
        yield ns


@pytest.fixture
def host(ns: Namespace, request: pytest.FixtureRequest) -> Iterator[Host]:
    with ns.open_host(seed=1) as host:
        yield host
        host.abort()


def show(row: Misbehaviour, host: Host, client: Callable[[], list[str]]) -> None:
    """Have the misbehaviour met by a client."""

    def meet() -> list[str]:
        while row.made_of == "conversation" and not len(host.rules):
            time.sleep(0.001)  # Until its block is entered.
        return client()

    with ThreadPoolExecutor(1) as pool:
        if row.made_of == "conversation":
            met = pool.submit(meet)
            row.lines(host)
            began = time.monotonic()
        else:
            row.lines(host)
            began = time.monotonic()
            met = pool.submit(meet)
        assert tuple(met.result()) == row.meets
        assert time.monotonic() - began >= row.takes
    statistics = host.statistics()
    assert all(statistics[name] >= least for name, least in row.counted.items())


@pytest.mark.kernel
@each_misbehaviour
def test_a_program_meets_it(
    row: Misbehaviour, ns: Namespace, host: Host, require_tool: Callable[[str], str]
) -> None:
    options = dict(row.options)

    def by_curl() -> list[str]:
        return [
            run_curl(require_tool("curl"), ns, host, row, word)
            for word in (row.meets if options.get("times") else row.meets[:1])
        ]

    def by_python() -> list[str]:
        given = json.dumps({"host": host.address, **options})
        command = [sys.executable, clients.__file__, row.client, given]
        met = ns.run_process(command, capture_output=True, text=True, timeout=60)
        return list(json.loads(met.stdout))

    show(row, host, by_curl if row.client in ("fetch", "upload", "until_end") else by_python)


def run_curl(program: str, ns: Namespace, host: Host, row: Misbehaviour, word: str) -> str:
    """Run curl; returns the word if its exit status says so."""
    options = row.options
    path = options.get("path", clients.PATH)
    command = [program, "-sS", "--max-time", str(options.get("timeout", 20))]
    scheme, data = "http", b""
    if options.get("tls"):
        scheme = "https"
        command += ["--cacert", str(host.authority.bundle)]
    if row.client == "upload":
        path, data = "/sha256", bytes(options["size"])
        command += ["--data-binary", "@-", "-H", "Expect:"]
    if row.client == "until_end":
        command += ["--ignore-content-length", "-H", "Connection: close"]
    done = ns.run_process(
        [*command, f"{scheme}://{host.address}{path}"],
        input=data,
        capture_output=True,
        check=False,
    )
    assert done.returncode in CURL[word] | row.curl, done.stderr.decode()
    if done.returncode == 0 and row.client == "fetch":
        return "whole" if done.stdout == clients.BODIES[path] else "changed"
    return word


@pytest.mark.kernel
@each_misbehaviour
def test_a_client_in_the_process_of_the_test_meets_it(
    row: Misbehaviour, ns: Namespace, host: Host
) -> None:
    options = dict(row.options)
    if options.pop("tls", False):
        options["authority"] = str(host.authority.bundle)
    with ns.sockets():
        show(row, host, lambda: list(clients.CLIENTS[row.client](host.address, **options)))


# The table itself


def test_it_has_at_least_thirty_of_different_names() -> None:
    assert len({each.name for each in TABLE}) == len(TABLE) >= 30
    assert len({each.title for each in TABLE}) == len(TABLE)


@each_misbehaviour
def test_it_takes_five_lines_at_most(row: Misbehaviour) -> None:
    assert len([line for line in row.source.splitlines() if line.strip()]) <= MOST_LINES


def names_in(row: Misbehaviour) -> Iterator[str]:
    """What a row's lines get from elsewhere, but for annotations."""
    tree = ast.parse(re.sub(r"(\(\w+): \w+\) -> \w+:", r"\1):", row.source))
    bound = {"host"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef):
            bound.add(node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in bound | set(dir(builtins)):
            yield node.id


KINDS = {"host": blocking.Host, "stream": blocking.Stream, "talk": blocking.Conversation}
"""What the names in the lines are."""


@each_misbehaviour
def test_it_uses_public_names_only(row: Misbehaviour) -> None:
    assert set(names_in(row)) <= {"tunstack", "ANSWER", "threading"}
    for node in ast.walk(ast.parse(row.source)):
        if not isinstance(node, ast.Attribute):
            continue
        of = ast.unparse(node.value)
        assert not node.attr.startswith("_")
        if of == "tunstack":
            assert node.attr in tunstack.__all__
        elif of == "host.rules":
            assert inspect.getdoc(getattr(blocking.Rules, node.attr))
        elif of in KINDS:
            assert inspect.getdoc(getattr(KINDS[of], node.attr))


def test_the_page_is_made_of_the_table() -> None:
    assert Path(PAGE).read_text() == page(), "run python -m tests.misbehaviours.rendering"


def test_the_page_names_behaviours_that_there_are() -> None:
    named = re.findall(r'behaviour="([^"]+)"', Path(PAGE).read_text())
    assert named
    for each in named:
        assert tunstack.behaviours.parse(each, "tcp")
