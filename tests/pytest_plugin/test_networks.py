"""Networks in virtual time by the fixture, and in the reports of failed tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.pytest_plugin.test_reports import TITLE, failing

if TYPE_CHECKING:
    import pytest

SOURCE = """
import pytest
import trio
import tunstack

async def talk(open_network, payload):
    async with open_network(link="delay=20ms") as net:
        client, server = await net.add_host("client"), await net.add_host("server")

        async def answer(stream):
            await stream.send_all(b"hello")

        await net.start(server, trio.serve_tcp, answer, 80)
        with client.socket_factory():
            stream = await trio.open_tcp_stream("server", 80)
            assert await stream.receive_some() == payload
            await trio.sleep(1000)
"""

PASSING = f"""
{SOURCE}

async def test_trio(tunstack_network, autojump_clock):
    await talk(tunstack_network, b"hello")

@pytest.mark.trio(run=tunstack.run_virtual)
async def test_seeded(tunstack_network):
    await talk(tunstack_network, b"hello")

def test_plain(tunstack_network):
    tunstack.run_virtual(talk, tunstack_network, b"hello", seed=7)
"""

FAILING = f"""
{SOURCE}

def test_it(tunstack_network):
    tunstack.run_virtual(talk, tunstack_network, b"wrong")
"""


def test_trio_tests_open_networks(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntrio_mode = true")
    pytester.makepyfile(PASSING)
    result = pytester.runpytest("-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=3)


def test_the_report_of_a_failed_test_has_its_packets_and_sockets(
    pytester: pytest.Pytester,
) -> None:
    result = failing(pytester, FAILING)
    result.stdout.fnmatch_lines(
        [
            TITLE,
            "client: 198.51.100.*",
            "*SYN seq 0*",
            "*len 5*",
            "*- tunstack: sockets -*",
            "server: 198.51.100.*",
            "tcp *LISTEN *",
        ]
    )


def test_captures_of_failed_tests_are_kept(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "captures"
    result = failing(
        pytester, FAILING + "\ndef test_empty(): pass", f"--tunstack-captures={folder}"
    )
    (capture,) = folder.iterdir()
    result.stdout.fnmatch_lines([f"capture: {capture}"])
    assert capture.stat().st_size > 1000
    capture.unlink()
    pytester.makepyfile(FAILING.replace("wrong", "hello"))
    pytester.runpytest(f"--tunstack-captures={folder}").assert_outcomes(passed=1)
    assert not list(folder.iterdir())
