"""The sockets of this process in a namespace: `Namespace.sockets`."""

from __future__ import annotations

import _socket
import errno
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest
import trio

import tunstack
from tests.link.in_a_child import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tunstack import Namespace

pytestmark = pytest.mark.kernel

LOOK_UPS: Final = (
    "getaddrinfo",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
)
SO_NETNS_COOKIE: Final = 71


class Derived(socket.socket):
    pass


@pytest.fixture
async def ns() -> AsyncIterator[Namespace]:
    async with tunstack.open_namespace() as ns:
        yield ns


def replaced() -> list[object]:
    """All that a block replaces."""
    functions = [getattr(module, name) for module in (socket, _socket) for name in LOOK_UPS]
    kinds = [socket.socket.__dict__.get(name) for name in ("__init__", "__new__")]
    return [*functions, *kinds, trio.socket.getaddrinfo, trio.socket.from_stdlib_socket]


@pytest.fixture(autouse=True)
def all_is_restored() -> Iterator[None]:
    before = replaced()
    yield
    assert replaced() == before


AnySocket: TypeAlias = "_socket.socket | trio.socket.SocketType"


def cookie(sock: AnySocket) -> bytes:
    """What is different in each namespace."""
    return sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)


def is_inside(ns: Namespace, sock: AnySocket) -> bool:
    """Whether a socket is in the namespace; closes it."""
    with ns.socket() as inside, closing(sock):
        return cookie(inside) == cookie(sock)


def made_inside(ns: Namespace) -> bool:
    return is_inside(ns, socket.socket())


# What is in the namespace, and what is not


@pytest.mark.parametrize("kind", [socket.socket, Derived])
async def test_sockets_of_the_block_are_in_the_namespace(
    ns: Namespace, kind: type[socket.socket]
) -> None:
    with ns.sockets():
        for family in (socket.AF_INET, socket.AF_INET6):
            for type in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
                sock = kind(family, type, socket.IPPROTO_UDP if type == socket.SOCK_RAW else 0)
                assert isinstance(sock, socket.socket)
                assert (sock.family, sock.type) == (family, type)
                assert not os.get_inheritable(sock.fileno())
                assert is_inside(ns, sock)
        assert is_inside(ns, kind())
        assert is_inside(ns, kind(type=socket.SOCK_DGRAM, family=socket.AF_INET6))
        assert is_inside(ns, trio.socket.socket())
    assert not is_inside(ns, kind())
    assert not is_inside(ns, trio.socket.socket())


async def test_what_was_created_before_stays_where_it_was(ns: Namespace) -> None:
    before = socket.socket()
    with ns.sockets():
        inside = socket.socket()
        assert not is_inside(ns, before)
    assert is_inside(ns, inside)


async def test_other_families_pairs_and_descriptors_are_the_machines(ns: Namespace) -> None:
    outside = socket.socket()
    with ns.sockets():
        sockets: tuple[_socket.socket, ...] = (
            *socket.socketpair(),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
            outside.dup(),
            socket.fromfd(outside.fileno(), socket.AF_INET, socket.SOCK_STREAM),
            socket.SocketType(),
        )
        for sock in sockets:
            with closing(sock):
                assert cookie(sock) == cookie(outside)
    outside.close()


async def test_timeouts_and_flags_are_those_of_any_socket(ns: Namespace) -> None:
    with ns.sockets():
        with socket.socket() as sock:
            assert sock.gettimeout() is None
            assert os.get_blocking(sock.fileno())
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            assert sock.gettimeout() == 0.0
            assert not os.get_blocking(sock.fileno())
            assert sock.type == socket.SOCK_STREAM
        socket.setdefaulttimeout(3.0)
        try:
            with socket.socket() as sock:
                assert sock.gettimeout() == 3.0
        finally:
            socket.setdefaulttimeout(None)


async def test_mistakes_are_those_of_any_socket(ns: Namespace) -> None:
    mistakes = [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP),
        (socket.AF_INET, 99, 0),
        (socket.AF_INET, 1 << 40, 0),
        (socket.AF_INET, "stream", 0),
    ]

    def errors() -> list[tuple[type[BaseException], int | None]]:
        found: list[tuple[type[BaseException], int | None]] = []
        for mistake in mistakes:
            with pytest.raises((OSError, OverflowError, TypeError)) as caught:
                socket.socket(*mistake)  # type: ignore[arg-type]
            found.append((caught.type, getattr(caught.value, "errno", None)))
        return found

    outside = errors()
    with ns.sockets():
        assert errors() == outside
        assert made_inside(ns)


# Blocks


async def test_the_end_of_a_block_by_an_error_restores_all(ns: Namespace) -> None:
    before = replaced()
    with suppress(KeyError), ns.sockets():
        assert replaced() != before
        raise KeyError
    assert replaced() == before


async def test_blocks_of_one_namespace_may_be_nested_and_overlap(ns: Namespace) -> None:
    first, second = ns.sockets(), ns.sockets()
    with ns.sockets():
        first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert made_inside(ns)
    second.__exit__(None, None, None)
    assert not made_inside(ns)


async def test_a_block_of_another_namespace_is_refused(ns: Namespace) -> None:
    async with tunstack.open_namespace() as other:
        with ns.sockets():
            with pytest.raises(RuntimeError, match=f"in the namespace of process {ns.pid} already"):
                other.sockets().__enter__()
            with pytest.raises(RuntimeError, match="already"):
                await trio.to_thread.run_sync(other.sockets().__enter__)
            assert made_inside(ns)
        with other.sockets():
            assert made_inside(other)


async def test_threads_are_in_the_block_too(ns: Namespace) -> None:
    def create(count: int) -> list[socket.socket]:
        families = (socket.AF_INET, socket.AF_INET6)
        return [socket.socket(families[number % 2]) for number in range(count)]

    def in_threads() -> list[socket.socket]:
        with ThreadPoolExecutor(8) as pool:
            return [sock for made in pool.map(create, [50] * 8) for sock in made]

    with ns.sockets():
        made = await trio.to_thread.run_sync(in_threads)
    assert {sock.family for sock in made} == {socket.AF_INET, socket.AF_INET6}
    assert all(sock.family == sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) for sock in made)
    assert all(is_inside(ns, sock) for sock in made)


# With a host's socket factory: whichever block is the inner one


@pytest.mark.parametrize("inner", ["sockets", "factory"])
async def test_the_trio_runs_sockets_are_the_hosts_and_those_of_threads_the_kernels(
    ns: Namespace, inner: str
) -> None:
    async with ns.open_host() as host:
        blocks = [host.socket_factory(), ns.sockets()]
        if inner == "factory":
            blocks.reverse()
        with blocks[0], blocks[1]:
            sock = trio.socket.socket()
            assert isinstance(sock, tunstack.Socket)
            sock.close()
            assert await trio.to_thread.run_sync(made_inside, ns)
            thread = threading.Thread(target=lambda: results.append(made_inside(ns)))
            results: list[bool] = []
            thread.start()
            thread.join()
            assert results == [True]
        assert not made_inside(ns)


async def test_what_the_factory_leaves_to_the_kernel_is_in_the_namespace(ns: Namespace) -> None:
    async with ns.open_host("198.51.100.2/24") as host:
        with host.socket_factory(others="kernel"), ns.sockets():
            assert is_inside(ns, trio.socket.socket(socket.AF_INET6))


@pytest.mark.parametrize("first", ["sockets", "factory"])
async def test_overlapping_blocks_of_both_kinds_restore_all(ns: Namespace, first: str) -> None:
    async with ns.open_host("198.51.100.2/24") as host:
        factory, sockets = host.socket_factory(), ns.sockets()
        factory.__enter__()
        sockets.__enter__()
        one, other = (sockets, factory) if first == "sockets" else (factory, sockets)
        one.__exit__(None, None, None)
        if first == "factory":
            assert made_inside(ns)
        other.__exit__(None, None, None)
        assert not made_inside(ns)


# The end of a namespace


async def test_a_thread_that_is_blocked_wakes_up_at_the_end_of_the_namespace() -> None:
    blocked = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def wait_for_a_datagram() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            token.run_sync_soon(blocked.set)
            return sock.recv(100)

    results: list[bytes] = []

    async def thread() -> None:
        results.append(await trio.to_thread.run_sync(wait_for_a_datagram))

    async with trio.open_nursery() as nursery, tunstack.open_namespace() as ns:
        with ns.sockets():
            nursery.start_soon(thread)
            await blocked.wait()
            await trio.sleep(0.05)
    assert results == [b""]


async def test_the_machines_sockets_outlive_the_namespace() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.bind(("127.0.0.1", 0))
        async with tunstack.open_namespace() as ns:
            with ns.sockets():
                socket.socket().close()
        outside.sendto(b"still there", outside.getsockname())
        assert outside.recv(100) == b"still there"


async def test_a_socket_after_the_end_of_the_namespace_is_an_error() -> None:
    async with tunstack.open_namespace() as ns:
        block = ns.sockets()
        block.__enter__()
    with pytest.raises(OSError, match="the namespace has ended") as caught:
        socket.socket()
    assert caught.value.errno == errno.ENETDOWN
    block.__exit__(None, None, None)


def test_a_forked_child_creates_no_sockets_on_the_machine() -> None:
    printed = run("""
        import errno, os, socket, trio, tunstack

        async def main():
            async with tunstack.open_namespace() as ns:
                with ns.sockets():
                    child = os.fork()
                    if child == 0:
                        try:
                            socket.socket()
                        except OSError as error:
                            os._exit(error.errno)
                        os._exit(0)
                    _, status = os.waitpid(child, 0)
                    print(os.waitstatus_to_exitcode(status) == errno.ENETDOWN)
                    socket.socket().close()

        trio.run(main)
    """)
    assert printed == "True\n"


def test_an_interrupted_request_takes_no_other_ones_reply() -> None:
    """The main thread is interrupted a thousand times; the namespace is another thread's."""
    printed = run("""
        import signal, socket, threading, trio, tunstack

        ready, done = threading.Event(), threading.Event()

        async def main():
            global ns
            async with tunstack.open_namespace() as ns:
                ready.set()
                await trio.to_thread.run_sync(done.wait)

        class Interrupted(Exception):
            pass

        def interrupt(*_):
            raise Interrupted

        thread = threading.Thread(target=trio.run, args=(main,))
        thread.start()
        ready.wait()
        signal.signal(signal.SIGALRM, interrupt)
        interrupted = wrong = 0
        with ns.sockets():
            for number in range(1000):
                family = (socket.AF_INET, socket.AF_INET6)[number % 2]
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + number % 100))
                    with socket.socket(family) as sock:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                        wrong += sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) != family
                except Interrupted:
                    interrupted += 1
        done.set()
        thread.join()
        print(interrupted > 0, wrong)
    """)
    assert printed == "True 0\n"


async def test_no_descriptor_is_left(ns: Namespace) -> None:
    with ns.sockets():
        socket.socket().close()
        before = os.listdir("/proc/self/fd")
        for _ in range(100):
            with socket.socket():
                pass
            with pytest.raises(OSError, match="not supported"):
                socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP)
        assert os.listdir("/proc/self/fd") == before
