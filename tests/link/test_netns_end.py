"""Nothing outlives a namespace's context, however it ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.link.in_a_child import started
from tunstack.link.netns import NetworkNamespace, open_network_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def kept(pid: int) -> Iterator[str]:
    """Keep the network namespace of a process alive, and give a path to it."""
    with open(f"/proc/{pid}/ns/net", "rb") as file:
        yield f"/proc/{os.getpid()}/fd/{file.fileno()}"


def devices(namespace: str) -> list[str]:
    """The names of the devices in a namespace, which our own process does not enter."""
    shown = subprocess.run(
        ["nsenter", f"--net={namespace}", "ip", "-brief", "link"],
        check=True,
        capture_output=True,
        text=True,
    )
    return [line.split()[0] for line in shown.stdout.splitlines()]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; a bound, not a measurement."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


async def start_sleeper(namespace: NetworkNamespace) -> int:
    """Start a process that outlives its parent in the namespace, and return its pid."""
    done = await namespace.run_process(
        "setsid sleep 1000 >/dev/null 2>&1 & echo $!", shell=True, capture_stdout=True
    )
    return int(done.stdout)


@pytest.mark.kernel
async def test_at_the_end_no_holder_process_or_device_is_left() -> None:
    async with open_network_namespace() as namespace:
        link = await namespace.open_tun("198.51.100.2/24")
        inside = namespace.socket()
        sleeper = await start_sleeper(namespace)
        assert is_running(namespace.pid)
        assert is_running(sleeper)
    assert not is_running(namespace.pid)
    assert not is_running(sleeper)
    assert link.fileno() == -1
    assert inside.fileno() == -1


@pytest.mark.kernel
async def test_an_exception_ends_it_and_comes_through() -> None:
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012
        async with open_network_namespace() as namespace:
            sleeper = await start_sleeper(namespace)
            raise KeyError("mine")
    assert not is_running(namespace.pid)
    assert not is_running(sleeper)


@pytest.mark.kernel
async def test_cancellation_ends_it() -> None:
    with trio.CancelScope() as scope:
        async with open_network_namespace() as namespace:
            sleeper = await start_sleeper(namespace)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not is_running(namespace.pid)
    assert not is_running(sleeper)


@pytest.mark.kernel
async def test_cancellation_before_it_has_started_leaves_nothing() -> None:
    """What would be left is found by the watch over the whole session."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_network_namespace():
            pytest.fail("it started")
    assert scope.cancelled_caught


@pytest.mark.kernel
async def test_after_the_end_it_can_do_nothing_more() -> None:
    async with open_network_namespace() as namespace:
        pass
    with pytest.raises(trio.ClosedResourceError):
        namespace.socket()
    with pytest.raises(trio.ClosedResourceError):
        namespace.sysctl("net.ipv4.ip_forward")
    with pytest.raises(trio.ClosedResourceError):
        await namespace.run_process(["true"])
    with pytest.raises(trio.ClosedResourceError):
        await namespace.open_tun("198.51.100.2/24")


@pytest.mark.kernel
async def test_the_signals_that_end_our_process_group_do_not_end_the_holder() -> None:
    async with open_network_namespace() as namespace:
        assert os.getsid(namespace.pid) == namespace.pid
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(namespace.pid, number)
        assert namespace.sysctl("net.ipv4.ip_default_ttl") == "64"


@pytest.mark.kernel
async def test_a_killed_holder_is_reported_and_its_processes_are_killed() -> None:
    async with open_network_namespace() as namespace:
        sleeper = await start_sleeper(namespace)
        os.kill(namespace.pid, signal.SIGKILL)
        with pytest.raises(OSError, match="holds the namespace is gone") as caught:
            namespace.socket()
        assert caught.value.errno == errno.ESRCH
    eventually(lambda: not is_running(sleeper))


PARENT = """
    import os, time, trio
    from tests.link.test_netns_end import start_sleeper
    from tunstack.link.netns import open_network_namespace

    async def main():
        async with open_network_namespace() as namespace:
            await namespace.open_tun("198.51.100.2/24", name="doomed")
            await namespace.run_process(
                ["ip", "tuntap", "add", "dev", "lasting", "mode", "tun"]
            )
            child = await namespace.open_process(["sleep", "1000"])
            copy = os.fork() if {fork} else 0
            if {fork} and copy == 0:
                time.sleep(1000)
            print(namespace.pid, child.pid, await start_sleeper(namespace), copy, flush=True)
            await trio.sleep_forever()

    trio.run(main)
"""


@pytest.mark.kernel
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name
)
def test_when_the_parent_dies_of_a_signal_nothing_is_left(number: signal.Signals) -> None:
    with started(PARENT.format(fork=False)) as (parent, output):
        holder, child, sleeper, _ = map(int, output.readline().split())
        place = os.readlink(f"/proc/{holder}/ns/net")
        # The child is on its way in, by way of nsenter.
        eventually(
            lambda: all(os.readlink(f"/proc/{pid}/ns/net") == place for pid in (child, sleeper))
        )
        parent.send_signal(number)
        parent.wait()
    eventually(lambda: not any(map(is_running, (holder, child, sleeper))))


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="to look into a dead parent's namespace takes root")
def test_when_the_parent_is_killed_its_device_is_deleted() -> None:
    with started(PARENT.format(fork=False)) as (parent, output):
        holder = int(output.readline().split()[0])
        with kept(holder) as namespace:
            assert devices(namespace) == ["lo", "doomed", "lasting"]
            parent.kill()
            parent.wait()
            eventually(lambda: not is_running(holder))
            assert "doomed" not in devices(namespace)


@pytest.mark.kernel
def test_a_fork_of_the_parent_does_not_keep_it_alive() -> None:
    """Such a fork has a copy of the socket whose end tells the holder to end."""
    with started(PARENT.format(fork=True)) as (parent, output):
        holder, child, sleeper, copy = map(int, output.readline().split())
        try:
            parent.kill()
            parent.wait()
            eventually(lambda: not any(map(is_running, (holder, child, sleeper))))
            assert is_running(copy)
        finally:
            os.kill(copy, signal.SIGKILL)


@pytest.mark.kernel
@pytest.mark.parametrize("way", ["nsenter", "enter.py"])
async def test_who_is_on_the_way_into_a_namespace_is_killed_at_its_end(way: str) -> None:
    """A program that stands still where nsenter, or what takes its place, is for a moment."""
    sleep = "import time; time.sleep(1000)"
    async with open_network_namespace() as namespace:
        if way == "nsenter":
            command = ["nsenter", "-c", sleep, f"--net={namespace.path}"]
        else:
            command = ["python", "-I", "-c" + sleep, way, str(namespace.pid)]
        process = await trio.lowlevel.open_process(command, executable=sys.executable)
    with trio.fail_after(10):
        assert await process.wait() == -signal.SIGKILL


@pytest.mark.kernel
@pytest.mark.parametrize("with_nsenter", [True, False])
async def test_a_program_that_was_just_started_is_killed_at_the_end(
    monkeypatch: pytest.MonkeyPatch, with_nsenter: bool
) -> None:
    if not with_nsenter:
        monkeypatch.setenv("PATH", "/nowhere")
    for _ in range(5):
        async with open_network_namespace() as namespace:
            process = await namespace.open_process(["/bin/sleep", "1000"])
        with trio.fail_after(10):
            assert await process.wait() == -signal.SIGKILL
