"""The option ``--page`` of ``tunstack run`` and ``serve``."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from tests.cli.test_serve import NETWORK, OURS, dial, namespace, started
from tunstack.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    import tunstack

__all__ = ["namespace"]  # A fixture.


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("option", "port"), [("--page", 8000), ("--page=81", 81)], ids=["usual", "another"]
)
def test_the_command_reaches_the_page_and_its_url_is_printed(
    option: str, port: int, require_tool: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    curl = [require_tool("curl"), "-4s", f"http://peer.test:{port}/data?own=1"]
    assert main(["run", option, "--", *curl]) == 0
    out, err = capfd.readouterr()
    assert err == f"page on http://198.51.100.2:{port}/\n"
    data = json.loads(out)
    assert [each["local"] for each in data["connections"]] == [f"198.51.100.2:{port}"]


@pytest.mark.kernel
def test_its_names_are_those_of_the_network(
    require_tool: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    script = "; ".join(
        f"{require_tool('curl')} -so /dev/null -w '%{{http_code}}\\n' {what}"
        for what in (
            "http://page.example:8000/",
            "http://a.peer.test:8000/",
            "'http://[2001:db8::2]:8000/'",
            "http://198.51.100.2:8000/ -H Host:evil.example",
        )
    )
    command = ["run", "--page", "--name", "page.example", "--", "sh", "-c", script]
    assert main(command) == 0
    assert capfd.readouterr().out.split() == ["200", "200", "200", "421"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--page=0", "--", "true"], "'0' is not a port"),
        (["run", "--page=65536", "--", "true"], "'65536' is not a port"),
        (
            ["run", "--page", "true"],
            "'true' is not a port, and what follows --page is taken for one: write --page=8000",
        ),
        (
            ["run", "--page=80", "--", "true"],
            "http and the page cannot both have port 80: write --page=PORT for another",
        ),
        (
            ["run", "--page=53", "--", "true"],
            "the DNS server and the page cannot both have port 53",
        ),
        (
            ["run", "--page", "--workers", "2", "--", "true"],
            "--page shows the host of one process: leave out --workers",
        ),
        (
            ["serve", "echo:8000", "--page", *NETWORK],
            "echo and the page cannot both have port 8000",
        ),
        (
            ["serve", "echo", "--workers", "2", "--page", *NETWORK],
            "--page shows the host of one process: leave out --workers",
        ),
    ],
)
def test_what_cannot_be_is_told_why(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


def test_without_h11_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "tunstack.live.page.server", raising=False)
    monkeypatch.setitem(sys.modules, "h11", None)
    assert main(["serve", "echo", "--page", *NETWORK]) == 2
    says = "the live page needs h11: pip install 'tunstack[http]'"
    assert says in capsys.readouterr().err


@pytest.mark.kernel
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_while_somebody_looks(
    number: signal.Signals, namespace: tunstack.Namespace
) -> None:
    async with started(namespace, "serve", "echo", "--page", *NETWORK) as (process, line):
        assert {await line(), await line()} == {
            f"echo on {OURS}:7",
            f"page on http://{OURS}:8000/",
        }
        with trio.fail_after(20):
            followed, viewer = await dial(namespace, 7), await dial(namespace, 8000)
            await followed.send_all(b"x")
            await followed.receive_some()
            await viewer.send_all(f"GET /data?follow=0 HTTP/1.1\r\nHost: {OURS}\r\n\r\n".encode())
            answer = await viewer.receive_some()
            assert answer.startswith(b"HTTP/1.1 200 OK")
            os.kill(process.pid, number)
            assert await process.wait() == 128 + number
            await followed.aclose()
            await viewer.aclose()
