from __future__ import annotations

import sys

import pytest

from tunstack import Names
from tunstack.apps import APPS, parse_app
from tunstack.link.errors import SetupError


def test_the_apps_have_the_ports_they_have_by_custom() -> None:
    assert {app.name: app.port for app in APPS.values()} == {
        "echo": 7,
        "discard": 9,
        "chargen": 19,
        "dns": 53,
        "http": 80,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [("http", ("http", 80)), ("http:8080", ("http", 8080)), ("echo:65535", ("echo", 65535))],
)
def test_parse_app_reads_a_name_and_a_port(text: str, expected: tuple[str, int]) -> None:
    app, port = parse_app(text)
    assert (app.name, port) == expected


def test_an_unknown_app_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="gopher") as caught:
        parse_app("gopher:70")
    assert str(caught.value) == (
        "no app is called 'gopher'; there are echo (7), discard (9), chargen (19), dns (53),"
        " http (80)"
    )


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "web", "8 0", "\N{SUPERSCRIPT TWO}"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(ValueError, match="is not a port"):
        parse_app(f"http:{port}")


def test_http_without_h11_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tunstack.apps.http", raising=False)
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(SetupError, match=r"pip install 'tunstack\[http\]'"):
        _ = APPS["http"].handler


def test_dns_without_dnspython_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for public in ("Names", "DnsServer"):
        monkeypatch.delattr(f"tunstack.{public}")
    for name in [*sys.modules]:
        if name.partition(".")[0] == "dns" or name.startswith(
            ("tunstack.dns", "tunstack.apps.dns")
        ):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dns", None)
    with pytest.raises(SetupError, match=r"pip install 'tunstack\[dns\]'"):
        _ = APPS["dns"].handler


def test_the_names_of_dns_are_one_servers_over_tcp_and_udp() -> None:
    app = APPS["dns"].with_names(Names({"a.test": "198.51.100.9"}))
    assert app.handler.__self__ is app.datagram_handler.__self__  # type: ignore[attr-defined,union-attr]
    assert APPS["http"].with_names(Names()) is APPS["http"]
