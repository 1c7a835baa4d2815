"""The packets of a failed test in its report, and in its capture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pytest_plugin.test_fixtures import ALONE
from tunstack.ladder import Ladder, plain_text, step_from_capture
from tunstack.path.pcapng import read_packets

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel

TITLE = "*- tunstack: packets -*"

SLOW = """
import requests

def test_it_is_quick(tunstack_peer):
    peer = tunstack_peer("http")
    peer.host.rules.drop(direction="in", flags="SYN", nth=1)
    answer = requests.get(peer.url, timeout=5)
    assert answer.elapsed.total_seconds() < 0.5

def test_it_passes(tunstack_peer):
    assert requests.get(tunstack_peer("http").url, timeout=5).ok
"""


def failing(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    """Run tests of which some fail."""
    pytester.makepyfile(source)
    result = pytester.runpytest("-p", "no:cacheprovider", *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    return result


def test_the_report_of_a_failed_test_has_the_ladder_of_its_packets(
    pytester: pytest.Pytester,
) -> None:
    result = failing(pytester, SLOW)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*test_it_is_quick*",
            TITLE,
            "      ms #1 kernel 198.51.100.1:*  198.51.100.2:80 tunstack",
            "   0.000 #1 * SYN seq 0 win *",
            "*! dropped by a rule",
            "*.* #1 * SYN seq 0 win * LISTEN * SYN-RECEIVED",
            "*.* #1 * SYN,ACK seq 0 ack 1 *",
        ]
    )
    assert sum("tunstack: packets" in line for line in result.outlines) == 1


def test_a_failure_without_packets_has_no_section(pytester: pytest.Pytester) -> None:
    result = failing(
        pytester,
        """
        def test_uses_it(tunstack_host):
            raise ValueError

        def test_does_not():
            raise ValueError
        """,
    )
    result.assert_outcomes(failed=2)
    assert "tunstack: packets" not in result.stdout.str()


def test_connections_of_other_tests_are_not_shown(pytester: pytest.Pytester) -> None:
    result = failing(
        pytester,
        """
        import socket
        import pytest

        clients = {}

        @pytest.fixture(scope="session")
        def echo(tunstack_session_peer):
            return tunstack_session_peer("echo")

        @pytest.mark.usefixtures("tunstack_sockets")
        def test_one(echo):
            client = clients["one"] = socket.create_connection(echo.address, timeout=5)
            client.sendall(b"abc")
            assert client.recv(3) == b"abc"

        @pytest.mark.usefixtures("tunstack_sockets")
        def test_other(echo):
            print("other port", clients["one"].getsockname()[1])
            clients["one"].sendall(b"abc")
            assert clients["one"].recv(3) == b"abc"
            clients["one"].close()
            with socket.create_connection(echo.address, timeout=5) as client:
                print("own port", client.getsockname()[1])
                client.sendall(b"defg")
                assert client.recv(4) == b"wrong"
        """,
    )
    result.assert_outcomes(failed=1, passed=1)
    ports = {
        line.split()[0]: line.split()[-1]
        for line in result.outlines
        if line.startswith(("own port", "other port"))
    }
    text = result.stdout.str().partition("tunstack: packets")[2]
    assert f"198.51.100.1:{ports['own']}" in text
    assert f":{ports['other']}" not in text
    assert "len 4" in text
    assert "len 3" not in text
    result.stdout.fnmatch_lines(["(* packets of connections that were open before * not shown)"])


def test_hosts_that_a_test_opens_itself_are_shown(pytester: pytest.Pytester) -> None:
    result = failing(
        pytester,
        """
        def test_it(tunstack_namespace):
            with tunstack_namespace.open_host("203.0.113.2/24") as host:
                url = host.serve_tcp("http").url
                tunstack_namespace.run_process(["curl", "-sS", url], capture_output=True)
                raise ValueError
        """,
    )
    result.stdout.fnmatch_lines([TITLE, "* kernel 203.0.113.1:*  203.0.113.2:80 tunstack"])


def test_a_failed_setup_shows_its_packets(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        import requests

        @pytest.fixture
        def page(tunstack_peer):
            return requests.get(tunstack_peer("http").url + "none", timeout=5).raise_for_status()

        def test_it(page):
            pass
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([TITLE, "* kernel 198.51.100.1:*  198.51.100.2:80 tunstack"])


def test_each_process_of_xdist_has_a_namespace_and_shows_its_packets(
    pytester: pytest.Pytester,
) -> None:
    result = failing(
        pytester,
        """
        import os
        import socket
        import time
        import pytest

        @pytest.mark.parametrize("n", range(2))
        def test_it(tunstack_peer, n):
            peer = tunstack_peer("echo")
            assert peer.host.address == "198.51.100.2"
            with socket.create_connection(peer.address, timeout=5) as client:
                client.sendall(b"abc")
                assert client.recv(3) == b"abc"
                open(os.environ["PYTEST_XDIST_WORKER"], "w").close()
                while not (os.path.exists("gw0") and os.path.exists("gw1")):
                    time.sleep(0.01)
                client.sendall(b"abc")
                assert client.recv(3) == "abc"
        """,
        "-n2",
        *ALONE,
    )
    result.assert_outcomes(failed=2)
    ladder = [TITLE, "      ms #1 kernel 198.51.100.1:*  198.51.100.2:7 tunstack"]
    result.stdout.fnmatch_lines([*ladder, *ladder])


# Captures


def lines_of(capture: Path) -> list[str]:
    """The ladder of a capture."""
    ladder = Ladder(width=120)
    with capture.open("rb") as file:
        added = [
            ladder.add(step_from_capture(each.time, each.packet, each.comment))
            for each in read_packets(file)
        ]
    return [plain_text(line) for lines in (*added, ladder.flush()) for line in lines]


def test_the_capture_of_a_failed_test_is_kept(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "captures"
    result = failing(pytester, SLOW, f"--tunstack-captures={folder}")
    (capture,) = folder.iterdir()
    assert "test_it_is_quick" in capture.name
    result.stdout.fnmatch_lines([f"capture: {capture}"])
    lines = lines_of(capture)
    assert sum("SYN seq 0 win" in line for line in lines) == 2
    assert "RST" in lines[-1], "what the end of the host sends is in it"


def test_a_capture_that_cannot_be_written_is_said(pytester: pytest.Pytester) -> None:
    (pytester.path / "file").touch()
    usage = pytester.runpytest("--tunstack-captures=file")
    usage.stderr.fnmatch_lines(["*--tunstack-captures: file is not a folder"])
    result = failing(pytester, SLOW, "--tunstack-captures=/dev/full/captures")
    result.stdout.fnmatch_lines(["no capture: /dev/full/captures/*: Not a directory"])
