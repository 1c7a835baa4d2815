"""The compiled core sends what the pure one does: the same octets at the same times."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.compiled import is_compiled
from tests.simulator import soak
from tunstack.tcp.connection.state import StateMachine

if TYPE_CHECKING:
    from tunstack.ip.family import Family

ROOT: Final = Path(__file__).parent.parent.parent
RUNS: Final = 20

DIGESTS: Final = """
import sys
from tests.simulator import soak
from tunstack.tcp.connection import state
assert state.__file__.endswith(".py"), state.__file__
_, family, kind, runs = sys.argv
for seed in range(int(runs)):
    print(soak.Run(seed, family=soak.BY_NAME[family], kind=kind)().digest)
"""


@pytest.fixture(scope="module")
def pure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as it is, and the tests."""
    folder = tmp_path_factory.mktemp("pure")
    shutil.copytree(
        ROOT / "tunstack", folder / "tunstack", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    (folder / "tests").symlink_to(ROOT / "tests")
    return folder


@pytest.mark.skipif(not is_compiled(StateMachine), reason="the core is not compiled")
@pytest.mark.parametrize("family", soak.BY_NAME.values(), ids=str)
@pytest.mark.parametrize("kind", soak.KINDS)
def test_compiled_and_pure_send_the_same_octets_at_the_same_times(
    family: Family, kind: str, pure: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", DIGESTS, family.name, kind, str(RUNS)],
        cwd=pure,
        env={**os.environ, "PYTHONPATH": str(pure)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    ours = [soak.Run(seed, family=family, kind=kind)().digest for seed in range(RUNS)]
    assert done.stdout.split() == ours
