"""What a release needs, and what a contributor is told: it is there, and it is so."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import build_core
import tunstack

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CHANGELOG = """# Changelog

## Unreleased

### Added

- What is to come.

## {version} (2026-11-29)

### Added

- What is new.

## 0.0.1 (2026-01-01)

- What was.
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the check of a release reads."""
    for name in (".ci/release-notes", "pyproject.toml", "tunstack/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG.format(version=PROJECT["version"]))
    return tmp_path


def release_notes(checkout: Path, tag: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / ".ci" / "release-notes", tag], capture_output=True, text=True, check=False
    )


def test_a_release_has_the_notes_of_its_version_and_no_others(checkout: Path) -> None:
    done = release_notes(checkout, f"v{PROJECT['version']}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "### Added\n\n- What is new."


def test_a_tag_that_is_not_the_version_is_refused(checkout: Path) -> None:
    done = release_notes(checkout, "v99.0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the tag v99.0 is not v" in done.stderr


def test_a_release_that_the_changelog_does_not_tell_of_is_refused(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text(CHANGELOG.format(version="0.0.2"))
    done = release_notes(checkout, f"v{PROJECT['version']}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "CHANGELOG.md has no section" in done.stderr


def test_a_package_of_another_version_is_refused(checkout: Path) -> None:
    package = checkout / "tunstack" / "__init__.py"
    package.write_text(package.read_text().replace('__version__ = "', '__version__ = "9'))
    done = release_notes(checkout, f"v{PROJECT['version']}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "tunstack.__version__ is 9" in done.stderr


def test_contributors_have_what_compiles_the_core() -> None:
    """On Python 3.12 and later setuptools comes with nothing else."""
    assert set(build_core.REQUIREMENTS) <= set(PROJECT["optional-dependencies"]["dev"])


def test_the_core_is_all_modules_without_io_but_those_of_dpkt() -> None:
    compiled = build_core.modules(ROOT)
    assert {"tunstack/tcp/sequence.py", "tunstack/stack/stack.py"} < {*compiled}
    assert build_core.INTERPRETED.isdisjoint(compiled)
    paths = {*compiled, *build_core.INTERPRETED}
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_package_has_the_version_of_the_project() -> None:
    assert tunstack.__version__ == PROJECT["version"]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    paths = re.findall(r"`((?:tunstack|tests|\.github|\.ci)/[\w./*-]*)", text)
    paths += re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert paths
    assert [path for path in paths if not [*ROOT.glob(path)]] == []


def test_every_make_target_that_contributors_are_told_of_exists() -> None:
    targets = set(re.findall(r"(?:`|\$ )make ([a-z]\w+)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert {"test", "lint", "conformance", "dist"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    assert [each for each in targets if not re.search(rf"^{each}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("page", ["Dockerfile", "compose.yaml"])
def test_containers_get_the_device_and_no_privileges(page: str) -> None:
    """What each needs was tried with runc, and the profiles of Docker and Podman."""
    text = (ROOT / page).read_text()
    assert "/dev/net/tun" in text
    assert not re.search(r"^[^#]*privileged", text, re.MULTILINE)
