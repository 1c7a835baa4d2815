from __future__ import annotations

import sys

import pytest

from tunstack import Names
from tunstack.apps import APPS, parse_app, parse_serve
from tunstack.link.errors import SetupError


def test_the_apps_have_the_ports_they_have_by_custom() -> None:
    assert {app.name: app.port for app in APPS.values()} == {
        "echo": 7,
        "discard": 9,
        "chargen": 19,
        "dns": 53,
        "http": 80,
        "https": 443,
        "https-expired": 4431,
        "https-wrong-name": 4432,
        "https-self-signed": 4433,
        "https-stalled": 4434,
        "https-damaged": 4435,
        "https-unclosed": 4436,
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
    assert str(caught.value).startswith(
        "no app is called 'gopher'; there are echo (7), discard (9), chargen (19), dns (53), http"
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http", [("http", 80, False)]),
        ("https:8443", [("https", 8443, True)]),
        ("asgi=m.sub:app", [("asgi=m.sub:app", 80, False), ("asgi=m.sub:app", 443, True)]),
        ("asgi=m:a.b:8080", [("asgi=m:a.b", 8080, False)]),
        ("asgi=m:app:443", [("asgi=m:app", 443, True)]),
        ("asgi=m:app:8443", [("asgi=m:app", 8443, True)]),
        ("m.sub:handler:7", [("m.sub:handler", 7, False)]),
    ],
)
def test_parse_serve_reads_apps_applications_and_handlers(
    text: str, expected: list[tuple[str, int, bool]]
) -> None:
    assert [
        (app.name, port, app.certificate is not None) for app, port in parse_serve(text)
    ] == expected


@pytest.mark.parametrize("text", ["asgi=", "asgi=:app", "asgi=m:", "m:f", "m:f:0", "gopher"])
def test_what_cannot_be_served_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_serve(text)


def test_https_without_hypercorn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("tunstack.apps.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "hypercorn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypercorn", None)
    with pytest.raises(SetupError, match=r"pip install 'tunstack\[tls\]'"):
        APPS["https"].check()


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
