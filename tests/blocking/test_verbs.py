"""The blocking API has the verbs of the async API, with their signatures and docstrings."""

from __future__ import annotations

import inspect

import pytest
import trio

import tunstack
from tunstack import blocking

PAIRS = [
    (tunstack.Namespace, blocking.Namespace),
    (tunstack.Host, blocking.Host),
    (tunstack.TcpStream, blocking.Stream),
    (tunstack.Rules, blocking.Rules),
    (tunstack.Rule, blocking.Rule),
    (tunstack.Conversation, blocking.Conversation),
]

LEFT_OUT: dict[type, set[str]] = {
    tunstack.Namespace: {"open_workers", "open_link", "socket"},
    tunstack.Host: {
        *("open_tcp_listeners", "socket", "socket_factory"),  # What gives sockets of trio's.
        *("resolver", "use_resolver", "tapped"),
        *("serve_protocol", "connect_protocol"),  # Their callbacks run in the host's thread.
    },
    tunstack.TcpStream: {*vars(trio.SocketStream), *vars(trio.abc.SendStream)},
    tunstack.Rule: {"action", "count", "end", "matcher"},
}
"""What needs :meth:`tunstack.blocking.Host.run`."""


def verbs(of: type) -> dict[str, object]:
    return {name: value for name, value in inspect.getmembers(of) if not name.startswith("_")}


@pytest.mark.parametrize(("given", "ours"), PAIRS)
def test_each_verb_is_there_or_left_out_on_purpose(given: type, ours: type) -> None:
    missing = verbs(given).keys() - verbs(ours).keys()
    assert missing - LEFT_OUT.get(given, set()) == set()


@pytest.mark.parametrize("ours", [ours for _, ours in PAIRS])
def test_each_verb_is_documented_and_typed(ours: type) -> None:
    for name, value in verbs(ours).items():
        function = value.fget if isinstance(value, property) else value
        assert inspect.getdoc(value), name
        assert "return" in inspect.get_annotations(function), name  # type: ignore[arg-type]


def test_a_verb_has_the_signature_of_the_async_one() -> None:
    ours, given = blocking.Namespace.open_host, tunstack.Namespace.open_host
    assert inspect.signature(ours) == inspect.signature(given)
    assert inspect.getdoc(ours) == inspect.getdoc(given)
