"""``tunstack behaviours``, and behaviours behind the apps of run and serve."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import trio

from tunstack.apps import parse_serve
from tunstack.behaviours import catalogue, elsewhere_catalogue
from tunstack.cli import main
from tunstack.cli.output.reporting import Report

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORK = ("--address", "198.51.100.2/24")


def test_the_list_has_every_behaviour_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["behaviours"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [(each.usage(), each.summary) for each in catalogue()]
    told += [(each.usage, each.summary) for each in elsewhere_catalogue()]
    for usage, summary in told:
        assert lines.count(f"  {usage}") == 1
        assert lines[lines.index(f"  {usage}") + 1] == f"      {summary}"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("each", [*catalogue(), *elsewhere_catalogue()], ids=lambda each: each.name)
def test_what_a_robust_client_does_is_told_by_name(
    capsys: pytest.CaptureFixture[str], each: object
) -> None:
    assert main(["behaviours", each.name]) == 0  # type: ignore[attr-defined]
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    printed = " ".join(printed.split())
    assert each.copes in printed  # type: ignore[attr-defined]
    assert each.example in printed  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["behaviours", "rset"], "behaviours: .*there is no behaviour 'rset': did you mean"),
        (["behaviours", "qqq"], "behaviours: .*there is no behaviour 'qqq': leave it out for the"),
        (
            ["serve", "http,rset-after=1", *NETWORK],
            "serve: .*there is no behaviour 'rset-after': did you mean reset-after",
        ),
        (
            ["run", "--serve", "http:80,loss=5", "true"],
            "run: .*loss must be a percentage, as in loss=5%, not '5'",
        ),
        (
            ["run", "--serve", "http:80,silent,loss=5%", "true"],
            "run: .*silent and loss contradict each other: with silent no connection is served",
        ),
        (
            ["run", "--serve", "dns,loss=5%", "true"],
            "run: the DNS server of the network has no behaviours: write --no-dns for"
            " --serve dns,loss=5%, or --name-fault",
        ),
        (
            ["serve", "http,refuse,first=2", *NETWORK, "--workers", "2"],
            "serve: first=2 is of all connections together: not with several workers",
        ),
        (
            ["run", "--serve", "http,rate=1mbit", "--workers", "2", "true"],
            "run: rate=1mbit is of all connections together: not with several workers",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert re.search(says, line), line


@pytest.mark.kernel
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_curl_meets_the_behaviour_of_its_port_and_not_of_another(
    workers: list[str], require_tool: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    curl = require_tool("curl")
    script = "; ".join(
        f"{curl} -si http://peer.test:{port}/bytes/10000 | wc -c; echo ${{PIPESTATUS[0]}}"
        for port in (80, 81, 82, 83)
    )
    apps = ("http:80,reset-after=4096", "http:81,close-after=4096", "http:82,refuse", "http:83")
    options = [each for app in apps for each in ("--serve", app)]
    assert main(["run", *options, *workers, "--", "bash", "-c", script]) == 0
    *bad, whole, status = map(int, capfd.readouterr().out.split())
    assert bad == [4096, 56, 4096, 18, 0, 7]
    assert (whole > 10_000, status) == (True, 0)


def test_serve_says_how_an_app_misbehaves(capsys: pytest.CaptureFixture[str]) -> None:
    ((app, port),) = parse_serve("echo,refuse,first=2")
    Report(trio.CancelScope()).serves(app, ["198.51.100.130/25"], port)
    assert capsys.readouterr().out == "echo,refuse,first=2 on 198.51.100.130:7\n"
