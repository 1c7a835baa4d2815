"""Programs in a namespace with names find them, each by its own resolver."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dns.message
import pytest
import trio

import tunstack
from tests.dns.load import ADDRESSES, right_answers
from tunstack.link.resolv_conf import RESOLV_CONF

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tunstack import Host, Namespace

pytestmark = pytest.mark.kernel

NAMES = {
    "www.test": ["198.51.100.2", "2001:db8::2"],
    "alias.test": "CNAME www.test",
    "kernel.test": ["198.51.100.1", "2001:db8::1"],
    "big.test": [f"203.0.113.{number}" for number in range(1, 101)],
    "test": ["MX 10 www.test", "TXT 'any text'"],
}
LOOK = """\
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int count, char **words) {
    char text[99];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *each;
    int error = getaddrinfo(words[1], 0, &hints, &each);
    if (error) { puts(gai_strerror(error)); return 1; }
    for (; each; each = each->ai_next) {
        getnameinfo(each->ai_addr, each->ai_addrlen, text, 99, 0, 0, NI_NUMERICHOST);
        puts(text);
    }
}
"""


def content(path: str) -> str:
    return Path(path).read_text()


def built_with_musl(gcc: str, folder: Path) -> str:
    """A program that prints the addresses of a name."""
    source = folder / "look.c"
    source.write_text(LOOK)
    program = str(folder / "look")
    subprocess.run([gcc, "-static", "-o", program, str(source)], check=True)
    return program


@pytest.fixture
async def named() -> AsyncIterator[Namespace]:
    """A namespace with names, and a host that serves them and HTTP."""
    async with (
        tunstack.open_namespace(names=NAMES) as ns,
        ns.open_host() as host,
        trio.open_nursery() as nursery,
    ):
        from tunstack.apps.http import handler

        await nursery.start(host.serve_tcp, handler, 80)
        yield ns
        nursery.cancel_scope.cancel()


async def said(ns: Namespace, *command: str) -> list[str]:
    """The lines that a program prints."""
    result = await ns.run_process([*command], check=False, capture_stdout=True, stderr=None)
    return str(result.stdout.decode()).splitlines()


async def test_commands_read_a_resolv_conf_that_points_to_the_host(named: Namespace) -> None:
    before = content(RESOLV_CONF)
    assert await said(named, "cat", RESOLV_CONF) == [
        "# tunstack",
        "nameserver 198.51.100.2",
        "nameserver 2001:db8::2",
        "search test",
        "options timeout:2 attempts:2",
    ]
    assert content(RESOLV_CONF) == before


async def test_without_names_commands_read_the_machines(ns: Namespace, host: Host) -> None:
    assert await said(ns, "cat", RESOLV_CONF) == content(RESOLV_CONF).splitlines()


async def test_a_host_of_ipv4_alone_is_found_too() -> None:
    async with tunstack.open_namespace(names={}) as ns, ns.open_host("203.0.113.9/24"):
        found = await said(ns, "getent", "ahostsv4", "peer.test")
        assert found[0].split() == ["203.0.113.9", "STREAM", "peer.test"]


async def test_the_commands_own_folder_and_descriptors_stay(
    named: Namespace, tmp_path: Path
) -> None:
    assert await said(named, "pwd") == [os.getcwd()]
    result = await named.run_process(["pwd"], cwd=tmp_path, capture_stdout=True)
    assert result.stdout.decode() == f"{tmp_path}\n"
    reading, writing = os.pipe()
    command = ["sh", "-c", f"echo x >/proc/self/fd/{writing}"]
    await named.run_process(command, pass_fds=[writing])
    assert os.read(reading, 9) == b"x\n"
    os.close(reading)
    os.close(writing)


async def test_glibc_finds_names_and_addresses(named: Namespace) -> None:
    found = {tuple(line.split()[:2]) for line in await said(named, "getent", "ahosts", "www.test")}
    assert {("198.51.100.2", "STREAM"), ("2001:db8::2", "STREAM")} <= found
    assert (await said(named, "getent", "hosts", "198.51.100.1"))[0].split()[1] == "kernel.test"
    assert await said(named, "getent", "ahosts", "nosuch.test") == []


LOOK_IN_A_DOMAIN = """
import socket
socket.sethostname("box.example.com")
try:
    print(socket.getaddrinfo("nosuch.test", 80))
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME)
"""


async def test_the_machines_domain_is_not_searched() -> None:
    packets: list[bytes] = []
    look = [sys.executable, "-c", LOOK_IN_A_DOMAIN]
    async with (
        tunstack.open_namespace(names={}) as ns,
        ns.open_host(tap=lambda seen: packets.append(bytes(seen.packet))),
    ):
        assert await said(ns, "unshare", "--uts", *look) == ["True"]
    asked = [each for each in packets if b"\x06nosuch\x04test\0" in each]
    assert len(asked) == 4  # For A and AAAA, and the replies.
    assert not [each for each in packets if b"\x07example" in each]


async def test_a_name_without_a_dot_is_one_of_test(named: Namespace) -> None:
    assert (await said(named, "getent", "ahostsv4", "www"))[0].split()[0] == "198.51.100.2"


async def test_glibc_asks_over_tcp_for_what_is_truncated(named: Namespace) -> None:
    found = await said(named, "getent", "ahostsv4", "big.test")
    assert len([line for line in found if "STREAM" in line]) == 100


async def test_musl_finds_names(named: Namespace, tmp_path: Path) -> None:
    gcc = shutil.which("musl-gcc") or pytest.skip("no musl-gcc: apt-get install musl-tools")
    program = built_with_musl(gcc, tmp_path)
    for name in ("www.test", "alias.test"):
        assert sorted(await said(named, program, name)) == ["198.51.100.2", "2001:db8::2"]
    assert await said(named, program, "nosuch.test") == ["Name does not resolve"]


async def test_c_ares_finds_names(named: Namespace, require_tool: Callable[[str], str]) -> None:
    node = require_tool("node")
    look = (
        "const d = require('dns').promises; (async () => { for (const t of ['A', 'AAAA'])"
        " console.log((await d.resolve('alias.test', t)).join()); console.log((await"
        " d.resolveMx('test'))[0].exchange) })()"
    )
    assert await said(named, node, "-e", look) == ["198.51.100.2", "2001:db8::2", "www.test"]


@pytest.mark.parametrize("family", ["-4", "-6"])
async def test_curl_fetches_a_page_by_name(
    named: Namespace, family: str, require_tool: Callable[[str], str]
) -> None:
    page = await said(named, require_tool("curl"), family, "-sS", "http://alias.test/")
    assert "<h1>It works</h1>" in page


async def test_dig(named: Namespace, require_tool: Callable[[str], str]) -> None:
    dig = require_tool("dig")
    assert await said(named, dig, "+short", "alias.test", "AAAA") == ["www.test.", "2001:db8::2"]
    assert await said(named, dig, "+tcp", "+short", "www.test") == ["198.51.100.2"]
    assert await said(named, dig, "+short", "-x", "2001:db8::1") == ["kernel.test."]
    for server in ("198.51.100.2", "2001:db8::2"):
        assert await said(named, dig, f"@{server}", "+short", "www.test") == ["198.51.100.2"]


async def test_dig_of_what_is_truncated(
    named: Namespace, require_tool: Callable[[str], str]
) -> None:
    dig = require_tool("dig")
    cut = await said(named, dig, "+bufsize=512", "+ignore", "big.test")
    assert any("flags: qr aa tc rd" in line for line in cut)
    whole = await said(named, dig, "+bufsize=512", "big.test")
    assert ";; Truncated, retrying in TCP mode." in whole
    assert len([line for line in whole if line.startswith("big.test.")]) == 100


async def test_dig_of_what_is_not_there(
    named: Namespace, require_tool: Callable[[str], str]
) -> None:
    dig = require_tool("dig")
    for name, status in (("nosuch.test", "NXDOMAIN"), ("example.org", "REFUSED")):
        assert any(f"status: {status}" in line for line in await said(named, dig, name))
    assert any("status: BADVERS" in each for each in await said(
        named, dig, "+edns=1", "+noednsnegotiation", "www.test"
    ))  # fmt: skip
    assert any("status: NOTIMP" in line for line in await said(named, dig, "+opcode=2", "www.test"))


async def test_host_finds_all_kinds_of_records(
    named: Namespace, require_tool: Callable[[str], str]
) -> None:
    host = require_tool("host")
    assert await said(named, host, "alias.test") == [
        "alias.test is an alias for www.test.",
        "www.test has address 198.51.100.2",
        "www.test has IPv6 address 2001:db8::2",
    ]
    assert await said(named, host, "-t", "TXT", "test") == ['test descriptive text "any text"']


async def test_the_host_itself_knows_the_names() -> None:
    """It connects to a server of the kernel's by name, without a query on the wire."""
    async with tunstack.open_namespace(names=NAMES) as ns, ns.open_host() as host:
        with ns.socket(socket.AF_INET6) as listener:
            await listener.bind(("::", 80))
            listener.listen()
            async with await host.open_tcp_stream("kernel.test", 80) as stream:
                assert stream.socket.getpeername()[0] == "2001:db8::1"
        with host.socket_factory():
            found = await trio.socket.getaddrinfo("kernel.test", 80, type=socket.SOCK_STREAM)
            assert [each[4][0] for each in found] == ["2001:db8::1", "198.51.100.1"]


async def test_every_address_of_a_whole_network_answers() -> None:
    async with tunstack.open_namespace(names={}) as ns, ns.open_host("198.51.100.0/24"):
        assert (await said(ns, "getent", "ahostsv4", "peer.test"))[0].split()[0] == "198.51.100.2"
        with ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, trio.fail_after(5):
            await sock.connect(("198.51.100.77", 53))
            await sock.send(dns.message.make_query("peer.test", "A").to_wire())
            assert dns.message.from_wire(await sock.recv(2000)).answer


async def test_workers_serve_the_names_too() -> None:
    from tests.workers.services import echo

    async with tunstack.open_namespace(names=NAMES) as ns, ns.open_workers(echo, 2):
        assert (await said(ns, "getent", "hosts", "www.test"))[0].split()[0] == "2001:db8::2"


@pytest.mark.parametrize(
    "addresses",
    [
        ("198.51.100.2/24", "2001:db8::2/64"),
        ("198.51.100.0/24", "2001:db8::/64"),
    ],
)
async def test_a_kernel_server_is_asked_by_the_hosts_resolver(
    addresses: tuple[str, ...],
) -> None:
    """The server is the same app over the kernel's sockets."""
    async with tunstack.open_namespace() as ns, ns.open_host(*addresses) as host:
        await ask_a_kernel_server(ns, host)


async def ask_a_kernel_server(ns: Namespace, host: Host) -> None:
    server = tunstack.DnsServer(tunstack.Names(NAMES))
    resolver = host.use_nameservers()
    assert resolver.nameservers == ("198.51.100.1", "2001:db8::1")
    with ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, ns.socket() as tcp:
        async with trio.open_nursery() as nursery:
            for sock in (udp, tcp):
                await sock.bind(("", 53))
            tcp.listen()
            nursery.start_soon(server.datagram_handler, udp)
            nursery.start_soon(trio.serve_listeners, server.handler, [trio.SocketListener(tcp)])
            with trio.fail_after(10):
                found = await resolver.getaddrinfo("www.test", 80, type=socket.SOCK_STREAM)
                big = await resolver.getaddrinfo("big.test", 80, type=socket.SOCK_STREAM)
            assert [each[4][0] for each in found] == ["2001:db8::2", "198.51.100.2"]
            assert len(big) == 100
            nursery.cancel_scope.cancel()


async def test_nothing_is_left_of_a_command_that_is_killed(named: Namespace) -> None:
    before = content("/proc/self/mountinfo")
    process = await named.open_process(["sleep", "1000"])
    await trio.sleep(0.2)
    process.kill()
    await process.wait()
    assert content("/proc/self/mountinfo") == before


def test_a_body_that_raises_comes_out_as_it_is() -> None:
    async def main() -> None:
        async with tunstack.open_namespace(names={}) as ns, ns.open_host():
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        trio.run(main)


async def test_every_query_of_many_is_answered_right() -> None:
    """`python -m tests.dns.load` asks 20,000."""
    async with tunstack.open_namespace(names=ADDRESSES) as ns, ns.open_host():
        with trio.fail_after(60):
            assert await right_answers(ns, "198.51.100.2", 2000) == 2000


async def test_a_flood_of_noise_costs_no_query(named: Namespace) -> None:
    """The host's queue for datagrams is bounded; what is read is counted, and dropped."""
    with named.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        await flood.connect(("198.51.100.2", 53))
        for number in range(3000):
            await flood.send(number.to_bytes(2, "big") * (number % 40))
    found = await said(named, "getent", "ahostsv4", "www.test")
    assert found[0].split()[0] == "198.51.100.2"
