"""The examples of tests pass, by themselves, and show the public API only."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
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

LIBRARIES = {"httpx", "pytest", "requests", "trio", "tunstack", "urllib3"}


def test_every_example_is_run() -> None:
    assert {path.stem for path in TESTING.glob("*.py")} == set(PASSED)


@pytest.mark.kernel
def test_the_examples_of_tests_pass(tmp_path: Path) -> None:
    """In one run of pytest, as starting it takes longer than most of them."""
    options = ["-q", "-c", "/dev/null", "-p", "no:cacheprovider", "-W", "error"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", "-rp", TESTING],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    passed = Counter(re.findall(r"^PASSED \S*?(\w+)\.py::", result.stdout, re.M))
    assert passed == PASSED, result.stdout + result.stderr


@pytest.mark.parametrize("name", sorted(PASSED))
def test_it_takes_little_and_what_is_public(name: str) -> None:
    text = (TESTING / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 60
    imports = re.findall(r"^(?:import|from) (\S+)", text, re.M)
    assert {each.partition(".")[0] for each in imports} - sys.stdlib_module_names <= LIBRARIES
    assert not re.search(r"\._", text)
