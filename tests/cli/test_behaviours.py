"""``tunstack behaviours``, and behaviours behind the apps of run and serve."""

from __future__ import annotations

import re

import pytest

from tunstack.behaviours import catalogue, elsewhere_catalogue
from tunstack.cli import main

NETWORK = ("--address", "198.51.100.2/24")


def test_the_list_has_every_behaviour_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["behaviours"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for each in (*catalogue(), *elsewhere_catalogue()):
        usage = each.usage() if isinstance(each, type) else each.usage
        at = lines.index(f"  {usage}")
        assert lines.count(f"  {usage}") == 1
        assert lines[at + 1] == f"      {each.summary}"
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("each", [*catalogue(), *elsewhere_catalogue()], ids=lambda each: each.name)
def test_what_a_robust_client_does_is_told_by_name(
    capsys: pytest.CaptureFixture[str], each: object
) -> None:
    assert main(["behaviours", each.name]) == 0  # type: ignore[attr-defined]
    printed = capsys.readouterr().out
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
            "serve: first=2 is of all connections together: leave out --workers",
        ),
        (
            ["run", "--serve", "http,rate=1mbit", "--workers", "2", "true"],
            "run: rate=1mbit is of all connections together: leave out --workers",
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
