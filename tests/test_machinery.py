"""What the repository promises a fresh machine: programs installed or named, skips explained."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import conftest

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM_TOOLS = Path(__file__).parent.parent / ".ci" / "system-tools"


class Machine:
    """A machine that has nothing but what the scripts themselves need, and an apt-get that notes.

    Attributes:
        bin: The one directory where it finds its programs.
    """

    def __init__(self, directory: Path, *, user: int) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        for program in ("cat", "dirname", "env", "grep", "mktemp", "rm", "sh", "sort", "tail"):
            path = shutil.which(program)
            assert path is not None
            (self.bin / program).symlink_to(path)
        self._calls = directory / "calls"
        self.has("id", f"echo {user}")
        self.has("apt-get", f'echo "$DEBIAN_FRONTEND: $*" >>{self._calls}')

    def has(self, program: str, script: str = "") -> None:
        (self.bin / program).write_text(f"#!{self.bin}/sh\n{script}\n")
        (self.bin / program).chmod(0o755)

    def system_tools(self, *programs: str) -> str:
        """Run the script; returns what it says."""
        return subprocess.run(
            [SYSTEM_TOOLS, *programs],
            check=True,
            env={"PATH": os.fspath(self.bin)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ).stdout

    @property
    def calls(self) -> list[str]:
        """What apt-get was asked for: its front end, and its arguments without the options."""
        if not self._calls.exists():
            return []
        return [re.sub(r" -o \S+| -\S+", "", call) for call in self._calls.read_text().splitlines()]


def test_nothing_is_said_or_done_when_all_programs_are_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=0)
    machine.has("nonesuch")
    assert machine.system_tools("nonesuch", "sort") == ""
    assert machine.calls == []


def test_root_installs_the_packages_of_missing_programs_without_a_question(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=0)
    machine.system_tools("sort", "nonesuch-a", "nonesuch-b")
    assert machine.calls == [
        "noninteractive: update",
        "noninteractive: install nonesuch-a nonesuch-b",
    ]


def test_a_user_with_sudo_installs_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=1000)
    machine.has("true")
    machine.has("sudo", '[ "$1" = -n ] || exit 1; shift; exec "$@"')
    machine.system_tools("nonesuch")
    assert machine.calls == ["noninteractive: update", "noninteractive: install nonesuch"]


def test_without_sudo_the_missing_packages_are_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=1000)
    said = machine.system_tools("sort", "nonesuch")
    assert "apt-get install nonesuch\n" in said
    assert "going on without: nonesuch\n" in said
    assert machine.calls == []


def test_without_apt_the_missing_packages_are_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=0)
    (machine.bin / "apt-get").unlink()
    assert "no apt-get here; to install by hand" in machine.system_tools("nonesuch")


@pytest.mark.parametrize(("target", "extra"), [("demo", "cli"), ("test", "dev")])
def test_make_installs_what_a_target_needs_and_not_more(
    target: str, extra: str, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    checkout = a_checkout(tmp_path)
    steps = steps_of(require_tool("make"), target, checkout)
    assert f".ci/venv 'python3' {extra} --clear" in steps
    stamp = {"cli": ".made-for-the-demo-with", "dev": ".made-with"}[extra]
    assert f"echo 'python3 {checkout}' >.venv/{stamp}" in steps


def test_the_demo_uses_what_the_tests_need_and_the_tests_add_to_what_the_demo_needs(
    tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    make, checkout = require_tool("make"), a_checkout(tmp_path)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").touch()
    (checkout / ".venv" / ".made-for-the-demo-with").write_text(f"python3 {checkout}\n")
    assert not any(step.startswith(".ci/venv") for step in steps_of(make, "demo", checkout))
    assert ".ci/venv 'python3' dev" in steps_of(make, "test", checkout)
    (checkout / ".venv" / ".made-with").write_text(f"python3 {checkout}\n")
    for target in ("demo", "test"):
        assert not any(step.startswith(".ci/venv") for step in steps_of(make, target, checkout))


def a_checkout(directory: Path) -> Path:
    """What make looks at, and no environment."""
    root = SYSTEM_TOOLS.parent.parent
    for name in ("Makefile", "pyproject.toml", ".ci/venv", ".ci/system-tools"):
        (directory / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, directory / name)
    return directory


def steps_of(make: str, target: str, checkout: Path) -> list[str]:
    """What make would do for a target, a line each."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        [make, "--dry-run", target],
        cwd=checkout,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [step.strip() for step in done.stdout.splitlines()]


def test_a_missing_program_skips_the_test_and_says_how_to_get_it(
    require_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNSTACK_NO_SKIP", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"\.ci/system-tools nonesuch"):
        require_tool("nonesuch")


def test_a_missing_program_fails_the_test_where_none_may_be_missing(
    require_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNSTACK_NO_SKIP", "1")
    with pytest.raises(pytest.fail.Exception, match="nonesuch is missing"):
        require_tool("nonesuch")


@pytest.mark.kernel
def test_a_missing_device_node_is_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conftest, "PROBE", "open('/dev/net/nonesuch')")
    reason = conftest.why_no_kernel.__wrapped__()
    assert reason is not None
    assert "'/dev/net/nonesuch'): modprobe tun; chmod 666 /dev/net/tun" in reason


def test_a_machine_without_namespaces_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "SEARCH_PATH", "/nonesuch")
    assert conftest.why_no_kernel.__wrapped__() == "no unshare: apt-get install util-linux"
