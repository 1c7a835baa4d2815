"""The fixtures of the pytest plugin, in test runs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel


ALONE = [
    option
    for plugin in ("trio", "anyio", "hypothesispytest", "cacheprovider")
    for option in ("-p", f"no:{plugin}")
]
"""Options for a process without other plugins."""


def passes(pytester: pytest.Pytester, source: str, *options: str, count: int = 1) -> None:
    """Run the tests in `source`, without a warning."""
    pytester.makepyfile(source)
    result = pytester.runpytest("-W", "error", "-p", "no:cacheprovider", *options)
    result.assert_outcomes(passed=count)


# Peers


def test_a_client_in_the_process_reaches_a_peer(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import requests

        def test_it_answers(tunstack_peer):
            peer = tunstack_peer("http")
            assert peer.url == "http://198.51.100.2/"
            assert "It works" in requests.get(peer.url, timeout=5).text
        """,
    )


def test_its_types_are_public(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        from tunstack.pytest_plugin import Networks, Peer, Peers

        def test_types(tunstack_peer: Peers, tunstack_network: Networks) -> None:
            peer: Peer = tunstack_peer("echo")
            assert repr(tunstack_peer) == "<Peers [<Peer tcp://198.51.100.2:7>]>"
            assert (type(tunstack_peer), type(peer)) == (Peers, Peer)
            assert type(tunstack_network) is Networks
        """,
    )


def test_a_program_reaches_a_peer(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        def test_it_answers(tunstack_peer):
            peer = tunstack_peer("http")
            curl = peer.namespace.run_process(["curl", "-sS", peer.url], capture_output=True)
            assert b"It works" in curl.stdout
        """,
    )


def test_a_peer_serves_a_function(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import socket

        def test_it_is_loud(tunstack_peer):
            peer = tunstack_peer(lambda stream: stream.send_all(stream.receive_exactly(3).upper()))
            with socket.create_connection(peer.address, timeout=5) as client:
                client.sendall(b"abc")
                assert client.recv(10) == b"ABC"
        """,
    )


def test_a_peer_over_tls_verifies(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import requests

        def test_it_is_trusted(tunstack_peer):
            peer = tunstack_peer("https")
            assert requests.get(peer.url, verify=peer.authority.bundle, timeout=5).ok
        """,
    )


def test_each_peer_of_a_test_has_an_address_and_the_next_test_begins_anew(
    pytester: pytest.Pytester,
) -> None:
    passes(
        pytester,
        """
        import socket
        import pytest

        @pytest.mark.parametrize("n", range(2))
        def test_two(tunstack_peer, tunstack_host, n):
            one, other = tunstack_peer("echo"), tunstack_peer("http")
            at = {tunstack_host.address, one.host.address, other.host.address}
            assert at == {"198.51.100.2", "198.51.100.3", "198.51.100.4"}
            for peer in (one, other):
                socket.create_connection(peer.address, timeout=5).close()
            one.host.unplug()
            with pytest.raises(TimeoutError):
                socket.create_connection(one.address, timeout=0.05)
            socket.create_connection(other.address, timeout=5).close()
        """,
        count=2,
    )


def test_rules_are_awaited(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import socket

        def test_the_second_syn(tunstack_peer):
            peer = tunstack_peer("echo")
            rule = peer.host.rules.drop(direction="in", flags="SYN", first=1)
            with socket.socket() as client:
                client.setblocking(False)
                client.connect_ex(peer.address)
                rule.wait(timeout=5)
                assert rule.packets[0].destination_port == 7
        """,
    )


def test_what_a_rule_raises_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import socket

        def wrong(packet):
            raise LookupError("in a predicate")

        def test_it(tunstack_peer):
            peer = tunstack_peer("echo")
            rule = peer.host.rules.drop(where=wrong)
            with socket.socket() as client:
                client.setblocking(False)
                client.connect_ex(peer.address)
                rule.wait()
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E*LookupError: in a predicate"])


def test_what_a_rule_raises_unheard_fails_the_end_of_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import socket
        import time

        def wrong(packet):
            raise LookupError("in a predicate")

        def test_it(tunstack_peer):
            peer = tunstack_peer("echo")
            rule = peer.host.rules.drop(where=wrong)
            with socket.socket() as client:
                client.setblocking(False)
                client.connect_ex(peer.address)
                while not rule.removed:
                    time.sleep(0.01)
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E*LookupError: in a predicate"])


def test_a_random_rule_decides_alike_in_each_run(pytester: pytest.Pytester) -> None:
    source = """
        import socket

        def test_it(tunstack_peer):
            peer = tunstack_peer("discard")
            rule = peer.host.rules.drop(probability=0.5, local_port=9)
            dropped = []
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.connect(peer.address)
                for number in range(30):
                    client.send(bytes([number]))
                peer.host.rules.drop().remove()
                rule.wait(5, timeout=5)
            print("dropped", [packet.payload[0] for packet in rule.packets[:5]])
    """
    runs = []
    for _ in range(2):
        pytester.makepyfile(source)
        result = pytester.runpytest("-p", "no:cacheprovider", "-s")
        runs.append([line for line in result.outlines if "dropped" in line])
    assert runs[0] == runs[1] != []


# Namespaces


def test_a_private_namespace_has_the_peers_of_its_test(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import socket

        KEEPALIVE = "net.ipv4.tcp_keepalive_time"

        def test_private(tunstack_namespace, tunstack_peer, tunstack_host):
            peer = tunstack_peer("echo")
            assert peer.namespace is tunstack_namespace
            socket.create_connection(peer.address, timeout=5).close()
            tunstack_namespace.sysctl(KEEPALIVE, 17)

        def test_another(tunstack_namespace, tunstack_session_namespace):
            for namespace in (tunstack_namespace, tunstack_session_namespace):
                assert namespace.sysctl(KEEPALIVE) != "17"
        """,
        count=2,
    )


def test_names_are_those_that_the_fixture_gives(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import pytest
        import requests

        @pytest.fixture(scope="session")
        def tunstack_names():
            return {"api.test": "198.51.100.2"}

        def test_shared(tunstack_peer):
            tunstack_peer("http")
            assert requests.get("http://api.test/", timeout=5).ok

        def test_private(tunstack_namespace, tunstack_peer):
            tunstack_peer("http")
            assert requests.get("http://api.test/", timeout=5).ok
        """,
        count=2,
    )


def test_a_peer_of_the_session_serves_all_its_tests(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import socket
        import pytest

        @pytest.fixture(scope="session")
        def echo(tunstack_session_peer):
            return tunstack_session_peer("echo")

        @pytest.mark.usefixtures("tunstack_sockets")
        @pytest.mark.parametrize("n", range(2))
        def test_it(echo, n, tunstack_session_host, tunstack_peer):
            for peer in (echo, tunstack_peer("echo")):
                socket.create_connection(peer.address, timeout=5).close()
        """,
        count=2,
    )


def test_outside_of_the_fixtures_sockets_are_the_machines(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import socket

        def test_inside(tunstack_sockets):
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                test_inside.at = listener.getsockname()
                listener.listen()
                socket.create_connection(test_inside.at, timeout=5).close()

        def test_outside():
            with socket.socket() as listener:
                listener.bind(test_inside.at)
        """,
        count=2,
    )


# Other loops, other processes


def test_trio_asyncio_and_anyio_tests_use_the_same_fixtures(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import anyio
        import asyncio
        import pytest
        import trio

        @pytest.mark.trio
        async def test_trio(tunstack_peer):
            peer = tunstack_peer("echo")
            stream = await trio.open_tcp_stream(*peer.address)
            await stream.send_all(b"abc")
            assert await stream.receive_some(3) == b"abc"
            assert peer.service.wait_accepted(timeout=5).remote == stream.socket.getsockname()
            await stream.aclose()

        @pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
        @pytest.mark.anyio
        async def test_anyio(tunstack_peer):
            async with await anyio.connect_tcp(*tunstack_peer("echo").address) as stream:
                await stream.send(b"abc")
                assert await stream.receive(3) == b"abc"

        def test_asyncio(tunstack_peer):
            async def main():
                reader, writer = await asyncio.open_connection(*tunstack_peer("echo").address)
                writer.write(b"abc")
                assert await reader.readexactly(3) == b"abc"
                writer.close()
                await writer.wait_closed()

            asyncio.run(main())
        """,
        count=4,
    )


# Where it cannot be used, or is not


def without_a_device(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command where there is no /dev/net/tun."""
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    hidden = ["sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
    unshared = ["unshare", *as_user, "--mount", *hidden, *command]
    return subprocess.run(unshared, capture_output=True, text=True, check=False)


SKIPPED = """
def test_a_peer(tunstack_peer):
    raise AssertionError

def test_a_namespace(tunstack_namespace):
    raise AssertionError

def test_other():
    pass
"""


def test_without_a_device_tests_are_skipped_with_the_reason(
    pytester: pytest.Pytester, require_tool: Callable[[str], str]
) -> None:
    require_tool("unshare")
    pytester.makepyfile(SKIPPED)
    command = [sys.executable, "-m", "pytest", *ALONE, "-rs"]
    run = without_a_device(command)
    assert "1 passed, 2 skipped" in run.stdout, run.stdout + run.stderr
    assert "/dev/net/tun" in run.stdout
    required = without_a_device([*command, "--tunstack-required"])
    assert "1 passed, 2 errors" in required.stdout, required.stdout
    assert "/dev/net/tun" in required.stdout


def test_a_run_that_uses_no_fixture_imports_next_to_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_imports():
            ours = {name for name in sys.modules if name.partition(".")[0] == "tunstack"}
            plugin = "tunstack.pytest_plugin"
            assert ours == {"tunstack", plugin, f"{plugin}.fixtures", f"{plugin}.hooks"}
            assert "trio" not in sys.modules
        """
    )
    result = pytester.runpytest_subprocess(*ALONE)
    result.assert_outcomes(passed=1)
