"""Packet rules, the cable and impairments, in a program that knows no trio."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tunstack import Packet, blocking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.blocking import Host, Namespace

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def ns() -> Iterator[Namespace]:
    with blocking.open_namespace() as ns, ns.sockets():
        yield ns


@pytest.fixture
def host(ns: Namespace) -> Iterator[Host]:
    with ns.open_host() as host:
        yield host
        host.abort()


@pytest.fixture
def client(host: Host) -> Iterator[socket.socket]:
    """A client of an echo service."""
    echo = host.serve_tcp("echo")
    with socket.create_connection(echo.address, timeout=10) as client:
        yield client


def echoed(client: socket.socket, data: bytes = b"abc") -> bytes:
    client.sendall(data)
    return client.recv(100)


def test_a_rule_counts_and_is_awaited(host: Host, client: socket.socket) -> None:
    rule = host.rules.drop(direction="in", octets=(0, 1), first=1)
    assert len(host.rules) == 1
    with pytest.raises(TimeoutError):
        rule.wait(timeout=0.01)
    assert echoed(client) == b"abc"
    rule.wait()
    assert rule.matched == 1
    assert rule.packets[0].payload == b"abc"


def test_a_rule_ends_with_its_block(host: Host, client: socket.socket) -> None:
    with host.rules.change({"payload": b"xyz"}, direction="out", octets=(0, 1)) as rule:
        assert echoed(client) == b"xyz"
        assert not rule.removed
    assert rule.removed
    with pytest.raises(trio.ClosedResourceError):
        rule.wait(2)


def test_what_is_held_is_released(host: Host, client: socket.socket) -> None:
    rule = host.rules.hold(direction="out", octets=(0, 1))
    client.sendall(b"abc")
    rule.wait(timeout=5)
    assert rule.release() >= 1
    assert client.recv(100) == b"abc"


def test_a_packet_is_injected(host: Host, client: socket.socket) -> None:
    seen = host.rules.call(lambda packet: packet, direction="in", octets=(0, 1))
    assert echoed(client) == b"abc"
    seen.remove()
    (packet,) = seen.packets
    assert packet.ack is not None
    host.rules.inject(packet.reset().replace(seq=packet.ack + 3), "out")
    with pytest.raises(ConnectionResetError):
        client.recv(100)


def test_the_cable_is_pulled_and_plugged(host: Host, client: socket.socket) -> None:
    host.unplug()
    client.sendall(b"abc")
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(100)
    host.plug()
    client.settimeout(10)
    assert client.recv(100) == b"abc"


def test_the_path_is_impaired_for_a_while(host: Host, client: socket.socket) -> None:
    rule = host.impair("duplicate=100%", local_port=7)
    assert echoed(client) == b"abc"
    assert rule.matched
    host.impair(None)
    assert rule.removed


@pytest.mark.parametrize(
    ("selection", "why"),
    [({"nth": 0}, "nth"), ({"protocol": "udp", "flags": "SYN"}, "TCP"), ({"prot": 1}, "prot")],
)
def test_a_mistake_is_an_error_at_its_place(
    host: Host, selection: dict[str, object], why: str
) -> None:
    rules: object = host.rules
    with pytest.raises((TypeError, ValueError), match=why):
        rules.drop(**selection)  # type: ignore[attr-defined]


def test_what_a_function_of_a_rule_raises_comes_out_of_what_waits(ns: Namespace) -> None:
    def wrong(packet: Packet) -> bool:
        raise LookupError("in a predicate")

    opened = ns.open_host()
    host = opened.__enter__()
    rule = host.rules.drop(where=wrong)
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex((host.address, 7))
        with pytest.raises(LookupError, match="in a predicate"):
            rule.wait()
    with pytest.raises(LookupError, match="in a predicate"):
        opened.__exit__(None, None, None)


def test_a_function_of_a_rule_may_ask_its_host(host: Host, client: socket.socket) -> None:
    states: list[str] = []

    def look(packet: Packet) -> Packet:
        states.extend(each.state for each in host.connections())
        return packet

    host.rules.call(look, direction="in", octets=(0, 1))
    assert echoed(client) == b"abc"
    assert "ESTABLISHED" in states


def test_an_aborted_host_does_not_wait_for_its_peers(ns: Namespace) -> None:
    with ns.open_host() as host:
        with socket.create_connection(host.serve_tcp("echo").address, timeout=10) as client:
            host.abort()
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
        with pytest.raises(trio.ClosedResourceError):
            host.connections()
