"""A forked child has nothing of a host's: neither its device nor what tells others of its end."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import warnings
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tests.kernel.judge import OURS
from tests.socket.network import fails
from tests.workers import services
from tunstack.path.pcapng import PcapngWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from pathlib import Path

pytestmark = pytest.mark.kernel


@contextmanager
def without_warning_of_threads() -> Iterator[None]:
    """Python 3.12 warns of a fork where there are threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def tell_and_wait(started: int) -> None:
    """In the child: it has given up what is not for children, whenever it came to run."""
    os.write(started, b"!")
    signal.pause()


@contextmanager
def by_os_fork() -> Iterator[None]:
    reader, writer = os.pipe()
    with without_warning_of_threads():
        pid = os.fork()
    while not pid:
        tell_and_wait(writer)
    try:
        assert os.read(reader, 1)
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)


@contextmanager
def by_multiprocessing() -> Iterator[None]:
    reader, writer = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=tell_and_wait, args=(writer,))
    with without_warning_of_threads():
        process.start()
    try:
        assert os.read(reader, 1)
        yield
    finally:
        process.kill()
        process.join()
        process.close()
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("child", [by_os_fork, by_multiprocessing])
async def test_the_device_ends_with_its_host_and_the_address_is_free(
    child: Callable[[], AbstractContextManager[None]],
) -> None:
    """Though a child, forked while the host ran, lives on."""
    async with tunstack.open_namespace() as ns:
        with ExitStack() as children:
            async with ns.open_host() as host:
                listener, _ = await host.open_tcp_listeners(7)
                client = ns.socket()
                await client.connect((OURS, 7))
                stream = await listener.accept()
                children.enter_context(child())
                await stream.send_all(b"The host goes on.")
                assert await client.recv(100) == b"The host goes on."
            with trio.fail_after(10):  # Else it fails after a quarter of an hour.
                with fails(errno.ECONNRESET):
                    await client.recv(1)
                with fails(errno.ENETUNREACH):
                    await ns.socket().connect((OURS, 7))
            async with ns.open_host() as host:
                await host.open_tcp_listeners(7)
                await ns.socket().connect((OURS, 7))


def descriptors() -> dict[int, str]:
    """What this process has open, by number."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # of the listing itself
            continue
    return found


def descriptors_of_a_child() -> set[str]:
    reader, writer = os.pipe()
    with without_warning_of_threads():
        pid = os.fork()
    if not pid:
        try:
            os.write(writer, json.dumps(list(descriptors().values())).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        told = set(json.load(pipe))
    os.waitpid(pid, 0)
    return told


@asynccontextmanager
async def a_host(_: Path) -> AsyncIterator[None]:
    async with tunstack.open_namespace() as ns, ns.open_host():
        yield


@asynccontextmanager
async def workers(_: Path) -> AsyncIterator[None]:
    async with tunstack.open_namespace() as ns, ns.open_workers(services.echo, 2):
        yield


@asynccontextmanager
async def a_bridge(_: Path) -> AsyncIterator[None]:
    async with tunstack.open_bridge():
        yield


@asynccontextmanager
async def a_host_on_a_bridge(_: Path) -> AsyncIterator[None]:
    async with tunstack.open_host_bridge():
        yield


@asynccontextmanager
async def a_capture(path: Path) -> AsyncIterator[None]:
    with PcapngWriter(path):
        yield


@pytest.mark.parametrize("what", [a_host, workers, a_bridge, a_host_on_a_bridge, a_capture])
async def test_a_child_has_no_descriptor_of_ours(
    what: Callable[[Path], AbstractAsyncContextManager[None]], tmp_path: Path
) -> None:
    before = set(descriptors().values())
    capture = tmp_path / "capture.pcapng"
    async with what(capture):
        ours = {
            each
            for each in set(descriptors().values()) - before
            if each.startswith(("socket:", "/dev/net/tun", str(capture)))
        }
        assert ours
        assert ours.isdisjoint(descriptors_of_a_child())
        assert ours <= set(descriptors().values())


def test_what_a_child_writes_into_a_capture_is_lost(tmp_path: Path) -> None:
    """It must not get in between what the parent writes."""
    path = tmp_path / "capture.pcapng"
    with PcapngWriter(path) as writer:
        writer.write(b"\x45", 1.0)
        whole = path.read_bytes()
        with without_warning_of_threads():
            pid = os.fork()
        if not pid:
            try:
                writer.write(b"\x45", 2.0)
                writer.close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert path.read_bytes() == whole


async def test_a_closed_descriptor_is_not_closed_again_in_a_child() -> None:
    """The number of its descriptor may be another's by then."""
    async with tunstack.open_namespace() as ns, ns.open_host():
        before = descriptors()
    reader, writer = os.pipe()
    assert {reader, writer} & set(before)
    kept = {descriptors()[each] for each in (reader, writer)}
    assert kept <= descriptors_of_a_child()
    os.close(reader)
    os.close(writer)
    await trio.lowlevel.checkpoint()
