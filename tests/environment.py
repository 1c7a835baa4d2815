"""The environment of the tests, and so of the programs that they start: the same on every machine.

What programs print depends on dozens of variables: ``CI``, ``NO_COLOR``, ``COLUMNS``, ``LC_ALL``,
``PYTEST_ADDOPTS``, ``http_proxy``. So what is kept is named here, and all else is not seen.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEPT: Final = frozenset({
    # Where things are
    "HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TMPDIR", "USER", "VIRTUAL_ENV",
    "PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX",
    # What conftest.py and the plugins ask for
    "CORES", "PYTEST_CURRENT_TEST", "RENEW_TRACES", "TUNSTACK_NO_SKIP", "TUNSTACK_TUN_DEVICE",
})  # fmt: skip
KEPT_PREFIXES: Final = ("COV_", "COVERAGE_", "HYPOTHESIS_", "PIP_", "PYENV_")

GIVEN: Final = {"COLUMNS": "80", "LINES": "24", "LANG": "C.UTF-8", "TERM": "xterm"}
"""A plain terminal, and words in English.

The size is set as readline, where something imports it, would set that of the run's terminal.
"""


def plain(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what tests see of an environment."""
    kept = {
        name: value
        for name, value in environment.items()
        if name in KEPT or name.startswith(KEPT_PREFIXES)
    }
    return {**kept, **GIVEN}


@pytest.fixture(scope="session", autouse=True)
def plain_environment() -> Iterator[None]:
    """Every test, and every program that it starts, sees a plain environment."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(plain(before))
    yield
    os.environ.clear()
    os.environ.update(before)
