"""Names in this process, within a block of `Namespace.sockets`."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Final

import pytest
import trio

import tunstack
from tests.deploy import look_ups
from tests.deploy.look_ups import CALLS, found
from tests.link.in_a_child import run

pytestmark = pytest.mark.kernel

NAMES: Final = {
    "www.test": ["198.51.100.2", "2001:db8::2"],
    "only4.test": "198.51.100.3",
    "only6.test": "2001:db8::3",
    "alias.test": "CNAME www.test",
    "chain.test": "CNAME alias.test",
    "*.wild.test": "198.51.100.4",
    "text.test": "TXT 'no address'",
    "a.example.org": "203.0.113.9",
}


async def test_what_is_found_is_what_glibc_finds_in_the_namespace() -> None:
    async with tunstack.open_namespace(names=NAMES) as ns, ns.open_host():
        script = str(Path(look_ups.__file__))
        asked = await ns.run_process([sys.executable, script], capture_stdout=True)
        with ns.sockets():
            mine = [found(*call) for call in CALLS]
    for call, here, there in zip(CALLS, mine, json.loads(asked.stdout), strict=True):
        assert (call, here) == (call, there)


async def test_localhost_is_this_machine() -> None:
    async with tunstack.open_namespace() as ns:
        with ns.sockets():
            for name in ("localhost", "LocalHost.", "a.localhost"):
                entries = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
                assert [each[4][0] for each in entries] == ["::1", "127.0.0.1"]
            assert socket.gethostbyname("localhost") == "127.0.0.1"
            assert socket.gethostbyaddr("127.0.0.1")[0] == "localhost"
            assert socket.getnameinfo(("::1", 80), 0)[0] == "localhost"


ELSEWHERE: Final = ("example.org", "www.google.com", "nosuch", "peer.test", "a.example.org")


async def test_without_names_there_is_none_and_nobody_is_asked() -> None:
    packets: list[bytes] = []
    async with (
        tunstack.open_namespace() as ns,
        ns.open_host(tap=lambda seen: packets.append(bytes(seen.packet))),
    ):
        with ns.sockets():
            for name in ELSEWHERE:
                with pytest.raises(socket.gaierror) as caught:
                    socket.getaddrinfo(name, 80)
                assert caught.value.errno == socket.EAI_NONAME
                with pytest.raises(socket.gaierror):
                    socket.gethostbyname(name)
    assert packets == []


async def test_names_are_there_as_long_as_a_host_serves_them() -> None:
    """They are those of the host that was opened last, and is still there."""
    peer = ("getaddrinfo", "peer.test", 80, 0, int(socket.SOCK_STREAM))

    def addresses() -> list[str]:
        entries = found(*peer)
        return [] if entries[0] == "gaierror" else [each[4][0] for each in entries]

    async with tunstack.open_namespace(names=NAMES) as ns:
        with ns.sockets():
            assert addresses() == []
            async with ns.open_host("198.51.100.2/24"):
                assert addresses() == ["198.51.100.2"]
                async with ns.open_host("2001:db8::3/64"):
                    assert addresses() == ["2001:db8::3"]
                assert addresses() == ["198.51.100.2"]
            assert addresses() == []


async def test_addrconfig_leaves_out_families_that_the_namespace_has_not() -> None:
    async with tunstack.open_namespace(names=NAMES) as ns, ns.open_host("198.51.100.2/24"):
        with ns.sockets():
            both = socket.getaddrinfo("www.test", 80, type=socket.SOCK_STREAM)
            one = socket.getaddrinfo(
                "www.test", 80, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
    assert [each[4][0] for each in both] == ["198.51.100.2", "2001:db8::2"]
    assert [each[4][0] for each in one] == ["198.51.100.2"]


async def test_asyncio_and_trio_find_the_names() -> None:
    async def in_asyncio() -> list[object]:
        loop = asyncio.get_running_loop()
        entries = await loop.getaddrinfo("alias.test", 80, type=socket.SOCK_STREAM)
        name = await loop.getnameinfo(("198.51.100.2", 80), socket.NI_NUMERICSERV)
        return [*(each[4][0] for each in entries), name]

    async with tunstack.open_namespace(names=NAMES) as ns, ns.open_host():
        with ns.sockets():
            first = await trio.to_thread.run_sync(lambda: asyncio.run(in_asyncio()))
            entries = await trio.socket.getaddrinfo("alias.test", 80, type=socket.SOCK_STREAM)
    assert first == ["2001:db8::2", "198.51.100.2", ("peer.test", "80")]
    assert [each[4][0] for each in entries] == ["2001:db8::2", "198.51.100.2"]


async def test_programs_ask_the_host_that_is_left_when_another_ends() -> None:
    """Also when the first to be opened is the first to end."""
    command = ["cat", "/etc/resolv.conf"]
    first = trio.Event()

    async with tunstack.open_namespace(names={}) as ns, trio.open_nursery() as nursery:

        async def the_first(*, task_status: trio.TaskStatus[None]) -> None:
            async with ns.open_host("198.51.100.2/24"):
                task_status.started()
                await first.wait()
            gone.set()

        gone = trio.Event()
        await nursery.start(the_first)
        async with ns.open_host("203.0.113.2/24"):
            first.set()
            await gone.wait()
            printed = (await ns.run_process(command, capture_stdout=True)).stdout
        assert b"nameserver 203.0.113.2" in printed


def test_names_without_dnspython() -> None:
    """A namespace without names needs it for nothing."""
    printed = run("""
        import sys
        sys.modules["dns"] = None
        import socket, trio, tunstack

        async def main():
            async with tunstack.open_namespace() as ns, ns.open_host():
                with ns.sockets():
                    print(socket.gethostbyname("198.51.100.2"), socket.getfqdn("198.51.100.2"))
                    try:
                        socket.gethostbyname("peer.test")
                    except socket.gaierror as error:
                        print(error.errno == socket.EAI_NONAME)

        trio.run(main)
    """)
    assert printed == "198.51.100.2 198.51.100.2\nTrue\n"
