"""Where hosts may be, and who may have them: any user, the current namespace, any device."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

import tunstack
from tests.link.in_a_child import run, run_as_nobody
from tests.workers import services
from tunstack.deploy.addresses import default_addresses

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel

NO_NEXT_HEADER = b"".join(
    [
        bytes.fromhex("6000000000003b40"),
        ip_address("2001:db8::2").packed,
        ip_address("2001:db8::1").packed,
    ]
)
"""A packet of IPv6 with nothing in it (RFC 8200 section 4.7)."""

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
        from tunstack.apps import http, pages

        async def main():
            async with tunstack.open_namespace() as ns, ns.open_host() as host:
                async with trio.open_nursery() as nursery:
                    await nursery.start(host.serve_tcp, http.handler, 80)
                    url = "http://198.51.100.2/bytes/1000000"
                    done = await ns.run_process(["curl", "-sS", url], capture_stdout=True)
                    print(done.stdout == b"".join(pages.pattern(1_000_000)))
                    nursery.cancel_scope.cancel()

        assert os.geteuid() != 0
        trio.run(main)
    """)
    assert printed == "True\n"


async def test_a_host_has_both_families_by_default() -> None:
    async with tunstack.open_namespace() as ns, ns.open_host() as host:
        assert [*map(str, host.addresses)] == ["198.51.100.2/24", "2001:db8::2/64"]


@pytest.mark.parametrize("mtu", [68, 1279])
async def test_a_link_too_narrow_for_ipv6_has_ipv4_alone_by_default(mtu: int) -> None:
    async with tunstack.open_namespace() as ns, ns.open_host(mtu=mtu) as host:
        assert [*map(str, host.addresses)] == ["198.51.100.2/24"]


async def test_a_link_too_narrow_for_ipv6_refuses_an_address_of_it() -> None:
    async with tunstack.open_namespace() as ns:
        with pytest.raises(tunstack.SetupError, match="1279 is too small for IPv6"):
            async with ns.open_host("2001:db8::2/64", mtu=1279):
                pass


async def test_where_the_kernel_has_ipv6_off_a_host_has_ipv4_alone_by_default(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with tunstack.open_namespace() as ns:
        ns.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        async with ns.open_host() as host:
            assert [*map(str, host.addresses)] == ["198.51.100.2/24"]
        async with ns.open_workers(services.echo, 1):
            pass
    warning = "the kernel has IPv6 off here: the host has IPv4 addresses only"
    assert [each.message for each in caplog.records] == [warning] * 2


async def test_where_the_kernel_has_ipv6_off_an_address_of_it_is_refused() -> None:
    async with tunstack.open_namespace() as ns:
        ns.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        with pytest.raises(tunstack.SetupError, match="the kernel has IPv6 off here: set 'sysctl"):
            async with ns.open_host("198.51.100.2/24", "2001:db8::2/64"):
                pass


@pytest.mark.parametrize("name", [None, "lasting"])
def test_whether_ipv6_is_off_is_a_matter_of_the_device_if_there_is_one(name: str | None) -> None:
    def sysctl(path: str) -> str:
        if path == "net/ipv6/conf/lasting/disable_ipv6":
            return "0"
        return "1"

    assert len(default_addresses(sysctl=sysctl, name=name)) == (1 if name is None else 2)


def test_a_kernel_without_ipv6_gives_ipv4_alone() -> None:
    def sysctl(path: str) -> str:
        raise FileNotFoundError(path)

    assert default_addresses(sysctl=sysctl) == ("198.51.100.2/24",)
    assert default_addresses(sysctl=sysctl, name="lasting") == ("198.51.100.2/24",)


async def test_the_kernel_receives_what_is_sent_as_soon_as_a_device_is_open() -> None:
    """Its local routes are there (Linux adds those of IPv6 a little later than the address)."""
    async with tunstack.open_namespace() as ns:
        for number in range(50):
            link = await ns.network.open_tun("2001:db8::2/64", name=f"tun{number}")
            assert link.send([NO_NEXT_HEADER])
            link.close()
        shown = await ns.run_process(["cat", "/proc/net/snmp6"], capture_stdout=True)
    counts = dict(line.split() for line in shown.stdout.decode().splitlines())
    assert (counts["Ip6InDelivers"], counts["Ip6InAddrErrors"]) == ("50", "0")


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
