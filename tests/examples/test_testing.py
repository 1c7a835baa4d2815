"""The examples of tests pass, by themselves, and show the public API only."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTING = Path(__file__).parents[2] / "examples" / "testing"

PASSED = {
    "test_asyncio": 5,
    "test_behaviours": 59,
    "test_httpx": 7,
    "test_requests": 8,
    "test_subprocess": 10,
    "test_virtual_time": 5,
}
"""How many tests each has."""

IN_MEMORY = {"test_virtual_time"}
"""Those that need no namespace."""

RUN = [
    pytest.param(name, marks=[] if name in IN_MEMORY else pytest.mark.kernel)
    for name in sorted(PASSED)
]

LIBRARIES = {"httpx", "pytest", "requests", "trio", "tunstack", "urllib3"}


def test_every_example_is_run() -> None:
    assert {path.stem for path in TESTING.glob("*.py")} == set(PASSED)


@pytest.mark.parametrize("name", RUN)
def test_an_example_of_a_test_passes(name: str, tmp_path: Path) -> None:
    options = ["-q", "-c", "/dev/null", "-p", "no:cacheprovider", "-W", "error"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", TESTING / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert f"{PASSED[name]} passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize("name", sorted(PASSED))
def test_it_takes_little_and_what_is_public(name: str) -> None:
    text = (TESTING / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 60
    imports = re.findall(r"^(?:import|from) (\S+)", text, re.M)
    assert {each.partition(".")[0] for each in imports} - sys.stdlib_module_names <= LIBRARIES
    assert not re.search(r"\._", text)
