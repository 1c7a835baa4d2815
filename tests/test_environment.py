"""What programs that tests start print does not depend on the environment of the run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests import environment

if TYPE_CHECKING:
    import pytest

LOUD = {
    "BUILD_NUMBER": "1",
    "CI": "true",
    "CLICOLOR": "1",
    "COLUMNS": "200",
    "FORCE_COLOR": "1",
    "LC_ALL": "C",
    "LINES": "5",
    "NO_COLOR": "1",
    "PAGER": "false",
    "PYTEST_ADDOPTS": "-vv",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "7",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "error",
    "SSLKEYLOGFILE": "/nonexistent/keys",
    "TERM": "dumb",
    "TUNSTACK_COMPILE": "1",
    "http_proxy": "http://198.51.100.9/",
}
"""A few of the variables by which programs print, or do, something else."""


def test_a_program_sees_none_of_the_variables_that_change_what_programs_print() -> None:
    code = "import os; print(*os.environ)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seen = set(done.stdout.split()) - environment.KEPT - environment.GIVEN.keys()
    seen = {name for name in seen if not name.startswith(environment.KEPT_PREFIXES)}
    assert seen <= {"TUNSTACK_TESTS", "LC_CTYPE"}  # The mark of a run; Python's own (PEP 538).


def test_where_things_are_is_kept() -> None:
    assert environment.plain({**LOUD, "PATH": "/bin", "HOME": "/root"}) == {
        "PATH": "/bin",
        "HOME": "/root",
        **environment.GIVEN,
    }


def test_a_failing_test_within_a_test_is_reported_the_same_in_any_environment(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest itself is the program: it prints long differences in full where ``CI`` is set."""
    pytester.makepyfile(
        test_outer="""
        import subprocess, sys

        def test_inner():
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "inner.py"]
            done = subprocess.run(command, capture_output=True, text=True)
            with open("printed", "w") as file:
                file.write(done.stdout.rpartition("=== 1 failed in ")[0])
        """,
        inner="""
        def test_long():
            assert list(range(100)) == list(range(1, 101))
        """,
    )
    printed = []
    for variables in (os.environ, LOUD):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if variables is LOUD:
            monkeypatch.delenv("PYTEST_ADDOPTS")  # The outer run shall be as it was.
        result = pytester.runpytest_subprocess("-p", "tests.environment", "-p", "no:cacheprovider")
        assert result.ret == 0
        printed.append((pytester.path / "printed").read_text())
    assert printed[0] == printed[1]
    assert "test_long" in printed[0]
