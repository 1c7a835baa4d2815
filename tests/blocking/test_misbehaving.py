"""Verbs, verdicts and behaviours, in a program that knows no trio."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.blocking.test_rules import client, host, ns
from tunstack.behaviours import ResetAfter

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack import Packet
    from tunstack.blocking import Host, Service, Stream

__all__ = ["client", "host", "ns"]

pytestmark = pytest.mark.kernel


@pytest.fixture
def echo(host: Host) -> Service:
    return host.serve_tcp("echo")


def connected(service: Service) -> tuple[socket.socket, Stream]:
    """A client, and the connection at the host."""
    client = socket.create_connection(service.address, timeout=10)
    return client, service.wait_accepted()


def test_a_connection_is_aborted(echo: Service) -> None:
    client, stream = connected(echo)
    with client:
        stream.abort()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_connection_vanishes(host: Host, echo: Service) -> None:
    client, stream = connected(echo)
    with client:
        stream.vanish()
        client.sendall(b"abc")
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_connection_freezes_and_thaws(host: Host, echo: Service) -> None:
    client, stream = connected(echo)
    with client:
        stream.freeze(shrink=True)
        closed = host.rules.call(lambda packet: packet, direction="out", where=is_closed)
        client.sendall(b"a" * 10_000)
        closed.wait(timeout=10)
        stream.thaw()
        received = 0
        while received < 10_000:
            received += len(client.recv(10_000))


def is_closed(packet: Packet) -> bool:
    return packet.window == 0


def test_a_segment_of_ones_own_is_sent(host: Host, echo: Service) -> None:
    client, stream = connected(echo)
    with client:
        stream.send_segment(payload=b"from nobody", flags="PSH,ACK")
        assert client.recv(100) == b"from nobody"


@pytest.mark.parametrize("thread", [True, False])
def test_a_function_decides_on_syns(host: Host, thread: bool) -> None:
    asked: list[tuple[int | None, bool]] = []

    def decide(syn: Packet) -> str:
        here = threading.current_thread().name == "tunstack.blocking"
        asked.append((syn.destination_port, here))
        return "refuse"

    async def decide_in_the_loop(syn: Packet) -> str:
        return decide(syn)

    function: Callable[[Packet], object] = decide if thread else decide_in_the_loop
    echo = host.serve_tcp("echo", on_syn=function)  # type: ignore[arg-type]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(echo.address, timeout=10)
    assert asked == [(7, not thread)]


def test_a_verdict_on_a_port_is_ended(host: Host, echo: Service) -> None:
    rule = host.on_syn(lambda syn: "refuse", 7)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(echo.address, timeout=10)
    rule.remove()
    socket.create_connection(echo.address, timeout=10).close()


def received(service: Service) -> int:
    """How many octets come before a RST."""
    with socket.create_connection(service.address, timeout=10) as client:
        client.sendall(b"GET /bytes/100000 HTTP/1.1\r\nHost: peer.test\r\n\r\n")
        total = 0
        try:
            while data := client.recv(65536):
                total += len(data)
        except ConnectionResetError:
            return total
    raise AssertionError("no RST")


def send_much(stream: Stream) -> None:
    stream.receive_some()
    stream.send_all(bytes(100_000))


def test_a_behaviour_is_a_text_or_an_object_or_in_the_name_of_an_app(host: Host) -> None:
    services = [
        host.serve_tcp("http", behaviour="reset-after=4096"),
        host.serve_tcp("http:20", behaviour=ResetAfter(4096)),
        host.serve_tcp("http:21,reset-after=4096"),
        host.serve_tcp("http:22,duplicate=10%", behaviour="reset-after=4096"),
        # It speaks when it was asked: a RST that comes before the client's connect() has returned
        # is an error of connect(), without the octets before it.
        host.serve_tcp(send_much, 0, behaviour="reset-after=4096"),
    ]
    assert [received(each) for each in services] == [4096] * len(services)


def test_a_behaviour_that_is_not_possible_is_an_error_at_its_place(host: Host) -> None:
    with pytest.raises(ValueError, match="there is no behaviour 'rset-after'"):
        host.serve_tcp("http", behaviour="rset-after=1")
    with pytest.raises(ValueError, match="contradict"):
        host.serve_tcp("http,refuse", behaviour="silent")
    host.serve_tcp("http")
