"""Other ways into a namespace than sockets: a thread in it, and a link of one's own."""

from __future__ import annotations

import os
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tests.deploy.test_sockets import is_inside
from tests.link.in_a_child import run_as_nobody
from tests.link.packets import next_ipv4
from tunstack.apps import echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tunstack import Link, Namespace
    from tunstack.link.base import Buffer

pytestmark = pytest.mark.kernel


@pytest.fixture
async def ns() -> AsyncIterator[Namespace]:
    async with tunstack.open_namespace() as ns:
        yield ns


# A thread in the namespace


async def test_a_function_in_a_thread_of_its_own(ns: Namespace) -> None:
    if os.geteuid() != 0:
        pytest.skip("setns needs root")
    inside = partial(os.readlink, "/proc/thread-self/ns/net")
    before = inside()
    assert await ns.run_in_thread(inside) == os.readlink(ns.network.path) != before
    with pytest.raises(ValueError, match="no number"):
        await ns.run_in_thread(int, "no number")
    for _ in range(5):
        assert await trio.to_thread.run_sync(inside) == before
    assert await ns.run_in_thread(lambda: is_inside(ns, socket.SocketType()))


async def test_a_cancelled_caller_may_leave_the_thread(ns: Namespace) -> None:
    if os.geteuid() != 0:
        pytest.skip("setns needs root")
    release = threading.Event()
    with trio.move_on_after(0.05) as scope:
        await ns.run_in_thread(release.wait, abandon_on_cancel=True)
    assert scope.cancelled_caught
    release.set()


async def test_a_thread_finds_the_names_by_the_c_library() -> None:
    if os.geteuid() != 0:
        pytest.skip("setns needs root")
    async with tunstack.open_namespace(names={}) as ns, ns.open_host("198.51.100.2/24"):
        find = partial(socket.getaddrinfo, "peer.test", 80, socket.AF_INET, socket.SOCK_STREAM)
        with trio.fail_after(20):
            found = await ns.run_in_thread(find)
        assert [each[4] for each in found] == [("198.51.100.2", 80)]


def test_a_user_without_privileges_is_told_why_no_thread_can_enter() -> None:
    printed = run_as_nobody("""
        import os, trio, tunstack

        async def main():
            async with tunstack.open_namespace() as ns:
                try:
                    await ns.run_in_thread(os.getpid)
                except tunstack.SetupError as error:
                    print(error)
                await ns.run_process(["true"])

        trio.run(main)
    """)
    assert printed == (
        "a thread cannot enter the namespace (Operation not permitted), as this needs "
        "CAP_SYS_ADMIN: run as root, or run a program with run_process\n"
    )


# A link of one's own


class Counted:
    """A link that counts, around another."""

    def __init__(self, below: Link) -> None:
        self._below = below
        self.name, self.mtu, self.offload = below.name, below.mtu, below.offload
        self.wait_readable, self.wait_writable = below.wait_readable, below.wait_writable
        self.receive, self.close = below.receive, below.close
        self.sent = 0

    def send(self, packet: Sequence[Buffer]) -> bool:
        self.sent += 1
        return self._below.send(packet)


@pytest.mark.parametrize("offload", [False, True])
async def test_a_host_on_a_link_of_ones_own(ns: Namespace, offload: bool) -> None:
    async with ns.open_link("198.51.100.2/24", offload=offload) as link:
        counted = Counted(link)
        async with (
            tunstack.Host(counted, ["198.51.100.2/24"]) as host,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(host.serve_tcp, echo.handler, 7)
            with ns.socket() as sock:
                await sock.connect(("198.51.100.2", 7))
                await sock.send(b"?")
                assert await sock.recv(1) == b"?"
            nursery.cancel_scope.cancel()
        assert counted.sent >= 3
    assert link.fileno() == -1


async def test_a_link_without_a_host_is_what_the_kernel_talks_to(ns: Namespace) -> None:
    async with ns.open_link("198.51.100.2/24") as link:
        with ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            await sock.sendto(b"to the link", ("198.51.100.2", 9))
        assert (await next_ipv4(link)).endswith(b"to the link")


def test_a_user_without_privileges_has_raw_sockets_low_ports_and_links_in_the_namespace() -> None:
    printed = run_as_nobody("""
        import socket, trio, tunstack
        from tests.link.packets import next_ipv4

        async def main():
            async with tunstack.open_namespace(names={}) as ns:
                async with ns.open_link("203.0.113.2/24") as link, ns.open_host():
                    with ns.sockets():
                        print(socket.gethostbyname("peer.test"))
                        with socket.create_server(("127.0.0.1", 80)) as server:
                            with socket.create_connection(server.getsockname()):
                                server.accept()[0].close()
                        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 253) as sock:
                            sock.sendto(b"raw", ("203.0.113.2", 0))
                    print((await next_ipv4(link))[-3:].decode())

        trio.run(main)
    """)
    assert printed == "198.51.100.2\nraw\n"
