"""What every test stands on: when to skip, and that nothing is left behind."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests.compiled import is_compiled
from tests.leftovers import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.compiled import PatchMethod

pytest.register_assert_rewrite("tests.tcp.harness")  # Before any test imports it.

pytest_plugins = ["tests.environment", "tests.conformance.plugin", "pytester"]

ON_CI = os.environ.get("CI") == "true"

# No test is judged by the wall clock: not by hypothesis either.
settings.register_profile("tunstack", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tunstack")

# A shell's background jobs ignore SIGINT, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where Debian keeps some programs, and does not let a plain user look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

# Opens the device node and makes a device, in a namespace of its own: what the kernel tests need,
# asked of the kernel itself. If the package were asked, its faults would pass for the machine's.
PROBE = """
import fcntl, struct
with open("/dev/net/tun", "r+b", buffering=0) as device:
    TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"", IFF_TUN_NO_PI))
"""


@functools.cache
def why_no_kernel() -> str | None:
    """Why the tests that need a namespace and a TUN device cannot run here; None when they can."""
    unshare = shutil.which("unshare", path=SEARCH_PATH)
    if unshare is None:
        return "no unshare: apt-get install util-linux"
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    namespace = [unshare, *as_user, "--net", "--"]
    made = subprocess.run([*namespace, "true"], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"no network namespace may be made here ({last_line(made.stderr)})"
    opened = subprocess.run(
        [*namespace, sys.executable, "-c", PROBE], capture_output=True, text=True, check=False
    )
    if opened.returncode != 0:
        return (
            f"no TUN device may be made here ({last_line(opened.stderr)}):"
            " modprobe tun; chmod 666 /dev/net/tun, or run as root"
        )
    return None


def last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def skip(reason: str, *, or_fail: bool = False) -> NoReturn:
    """Skip the test; fail it instead where the machine was promised to be complete."""
    if or_fail or os.environ.get("TUNSTACK_NO_SKIP"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel") and (reason := why_no_kernel()):
        # Root on a CI machine lacks nothing that we may do without: a green run would be a lie.
        skip(reason, or_fail=ON_CI and os.geteuid() == 0)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Collect without the garbage collector: nearly all that is made is there to stay."""
    gc.disable()
    try:
        import_a_share(session)
        return (yield)
    finally:
        gc.enable()


def import_a_share(session: pytest.Session) -> None:
    """Import a share of the tests first, where several processes (xdist) import all of them.

    To rewrite the assertions of a file takes ten times as long as to read what another process has
    written. What cannot be imported is reported by the collection, which tries again.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None:
        return
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    found = [
        file
        for path in (Path(each.partition("::")[0]) for each in session.config.args)
        for file in (sorted(path.rglob("test_*.py")) if path.is_dir() else [path])
    ]
    for file in found[number::count]:
        name = ".".join(file.resolve().relative_to(session.config.rootpath).with_suffix("").parts)
        with warnings.catch_warnings(), suppress(Exception):
            warnings.simplefilter("error")
            import_module(name)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests, which no test makes garbage of.

    Each process has collected all of them, 300,000 objects; a test that measures memory calls the
    collector, and one that makes many objects has it run often.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """A function from a program's name to its path, which skips the test when there is none."""

    def require(program: str) -> str:
        path = shutil.which(program, path=SEARCH_PATH)
        if path is None:
            skip(f"{program} is missing; to install it, or to hear how: .ci/system-tools {program}")
        return path

    return require


@pytest.fixture
def patch_method(monkeypatch: pytest.MonkeyPatch) -> PatchMethod:
    """Set a method of a class as `monkeypatch` does; skips the test where compiled code calls it.

    That calls its own methods without a look at the class.
    """

    def patch(kind: type, name: str, method: object) -> None:
        if is_compiled(kind):
            pytest.skip(f"compiled code does not look for {kind.__name__}.{name} in the class")
        monkeypatch.setattr(kind, name, method)

    return patch


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(plain_environment: None) -> Iterator[None]:
    """No process, TUN device or open namespace survives the tests of this (worker) process."""
    watch = Watch()
    yield
    left = watch.leftovers(timeout=5.0)
    assert not left, "the tests left behind: " + "; ".join(left)
