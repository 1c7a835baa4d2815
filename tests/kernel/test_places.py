"""Where hosts may be, and who may have them: any user, the current namespace, any device."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.link.in_a_child import run, run_as_nobody

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel

EXCHANGE = '''
    import json, os, random, socket, trio, tunstack
    from tunstack.apps import echo

    DATA = random.Random(0).randbytes(300_000)

    async def exchange(kernel_socket, host):
        """Have our data echoed by a kernel socket, and a kernel socket's by us."""
        results = []
        async with trio.open_nursery() as nursery:
            listener, *_ = await nursery.start(host.serve_tcp, echo.handler, 0)
            with kernel_socket() as client:
                await client.connect((str(host.addresses[0].ip), listener.socket.getsockname()[1]))
                nursery.start_soon(say, client)
                results.append(await hear(client))
            with kernel_socket() as listener:
                await listener.bind(("198.51.100.1", 0))
                listener.listen()
                stream = await host.open_tcp_stream(*listener.getsockname())
                server, _ = await listener.accept()
                with server:
                    nursery.start_soon(echo.handler, trio.SocketStream(server))
                    nursery.start_soon(say, stream.socket)
                    results.append(await hear(stream.socket))
            nursery.cancel_scope.cancel()
        return results

    async def say(sock):
        await trio.SocketStream(sock).send_all(DATA)
        sock.shutdown(socket.SHUT_WR)

    async def hear(sock):
        return b"".join([bytes(data) async for data in trio.SocketStream(sock)]) == DATA
'''


def test_a_user_without_privileges_has_a_host_that_the_kernel_talks_to() -> None:
    """With a device node that may be opened, and nothing else."""
    printed = run_as_nobody(
        EXCHANGE
        + """
    async def main():
        async with tunstack.open_namespace() as ns, ns.open_host() as host:
            print(json.dumps(await exchange(ns.socket, host)))
            await ns.run_process(["ip", "link", "show", host.name], stdout=open(os.devnull, "w"))

    with open("/proc/self/status") as file:
        assert "CapEff:\\t0000000000000000" in file.read()
    assert os.geteuid() != 0
    trio.run(main)
    """
    )
    assert json.loads(printed) == [True, True]


def test_curl_of_a_user_without_privileges(require_tool: Callable[[str], str]) -> None:
    require_tool("curl")
    printed = run_as_nobody("""
        import os, trio, tunstack
        from tunstack.apps import http

        async def main():
            async with tunstack.open_namespace() as ns, ns.open_host() as host:
                async with trio.open_nursery() as nursery:
                    await nursery.start(host.serve_tcp, http.handler, 80)
                    url = "http://198.51.100.2/bytes/1000000"
                    done = await ns.run_process(["curl", "-sS", url], capture_stdout=True)
                    print(done.stdout == b"".join(http.pattern(1_000_000)))
                    nursery.cancel_scope.cancel()

        assert os.geteuid() != 0
        trio.run(main)
    """)
    assert printed == "True\n"


IN_THE_CURRENT_NAMESPACE = (
    EXCHANGE
    + """
    from tunstack.link.holder import enter_new_namespace

    def devices():
        return sorted(name for _, name in socket.if_nameindex())

    def ip(*words):
        import subprocess
        subprocess.run(["ip", *words], check=True)
"""
)


def test_a_host_in_the_current_namespace() -> None:
    """In a child, which leaves this machine's own namespace before it does."""
    printed = run(
        IN_THE_CURRENT_NAMESPACE
        + """
    async def main():
        async with tunstack.open_host("198.51.100.2/24", name="here") as host:
            print(json.dumps([devices(), host.name, await exchange(trio.socket.socket, host)]))
        print(json.dumps(devices()))

    enter_new_namespace()
    trio.run(main)
    """
    )
    first, then = map(json.loads, printed.splitlines())
    assert first == [["here", "lo"], "here", [True, True]]
    assert then == ["lo"]


def test_a_host_on_a_persistent_device_which_outlives_it() -> None:
    printed = run(
        IN_THE_CURRENT_NAMESPACE
        + """
    async def main():
        for _ in range(2):
            async with tunstack.open_host("198.51.100.2/24", name="lasting") as host:
                print(json.dumps([host.mtu, await exchange(trio.socket.socket, host)]))
            print(json.dumps(devices()))

    enter_new_namespace()
    ip("tuntap", "add", "dev", "lasting", "mode", "tun")
    ip("address", "add", "198.51.100.1/24", "dev", "lasting")
    ip("link", "set", "lasting", "mtu", "1300", "up")
    trio.run(main)
    ip("tuntap", "del", "dev", "lasting", "mode", "tun")
    """
    )
    assert [json.loads(line) for line in printed.splitlines()] == [
        [1300, [True, True]],
        ["lasting", "lo"],
    ] * 2


def test_a_device_that_is_deleted_ends_a_host_in_one_line() -> None:
    """Whoever waits is told, and the program may go on without it."""
    printed = run(
        IN_THE_CURRENT_NAMESPACE
        + """
    import errno, logging

    async def main():
        async with tunstack.open_host("198.51.100.2/24", name="doomed") as host:
            with socket.create_server(("198.51.100.1", 0)) as listener:
                stream = await host.open_tcp_stream(*listener.getsockname())
                ip("link", "delete", "doomed")
                try:
                    await stream.receive_some()
                except trio.BrokenResourceError as error:
                    print(error.__cause__.errno == errno.ENETDOWN)
                try:
                    await host.serve_tcp(echo.handler, 7)
                except OSError as error:
                    print(error.errno == errno.ENETDOWN)

    logging.basicConfig(format="%(name)s: %(message)s", stream=__import__("sys").stdout)
    enter_new_namespace()
    trio.run(main)
    """
    )
    said, *told = printed.splitlines()
    assert said.startswith("tunstack: doomed failed: ")
    assert "was deleted" in said
    assert told == ["True", "True"]
