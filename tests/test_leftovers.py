"""The watch that every run of the tests ends with finds what it should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.leftovers import MARK, Watch


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setenv(MARK, "")  # Puts the session's own mark back afterwards.
    return Watch()


def test_a_watch_finds_nothing_when_nothing_was_left(watch: Watch) -> None:
    subprocess.run(["true"], check=True)
    assert watch.leftovers() == []


def test_a_watch_finds_a_child_process(watch: Watch) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        left = watch.leftovers()
        child.kill()
    assert left == [f"process {child.pid} (sleep 60)"]


def test_a_watch_finds_a_process_whose_parent_has_died(watch: Watch) -> None:
    orphan = int(
        subprocess.run(
            ["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    )
    try:
        (left,) = watch.leftovers()
        assert left.startswith(f"process {orphan} ")
    finally:
        os.kill(orphan, signal.SIGKILL)
    assert watch.leftovers(timeout=5.0) == []


def test_a_watch_finds_an_open_namespace(watch: Watch) -> None:
    with open("/proc/self/ns/net", "rb") as namespace:
        left = watch.leftovers()
        target = os.readlink(f"/proc/self/fd/{namespace.fileno()}")
        assert left == [f"descriptor {namespace.fileno()} of {target}"]
    assert watch.leftovers() == []


@pytest.mark.kernel
def test_a_watch_finds_a_device_and_a_change_of_namespace() -> None:
    """In a process of its own, which moves to another namespace and makes a device there."""
    script = """if True:
        import ctypes, os
        import pytun
        from tests.leftovers import Watch
        watch = Watch()
        CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
        flags = CLONE_NEWNET | (CLONE_NEWUSER if os.geteuid() else 0)
        assert ctypes.CDLL(None).unshare(flags) == 0
        device = pytun.TunTapDevice(name="left0")
        print(*watch.leftovers(), sep="\\n")
    """
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    found = run.stdout.splitlines()
    assert "TUN device left0" in found
    assert any(line.startswith("the process in the network namespace") for line in found)
