"""A conversation by hand, in a program that knows no trio."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.blocking.test_rules import host, ns
from tunstack import ConversationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.blocking import Host

__all__ = ["host", "ns"]

pytestmark = pytest.mark.kernel


@pytest.fixture
def client(host: Host) -> Iterator[socket.socket]:
    """A client that does not wait."""
    with socket.socket() as client:
        client.setblocking(False)
        yield client


def test_a_client_is_spoken_with(host: Host, client: socket.socket) -> None:
    with host.open_conversation(80) as talk:
        client.connect_ex((host.address, 80))
        talk.expect("SYN", within=10)
        talk.send("SYN,ACK", mss=1460)
        talk.expect("ACK", seq=1, ack=1, within=10)
        client.sendall(b"hello")
        talk.expect("ACK", payload=b"hello", within=10)
        talk.send("RST,ACK")
        client.setblocking(True)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_what_came_instead_is_shown(host: Host, client: socket.socket) -> None:
    with ExitStack() as stack:
        talk = stack.enter_context(host.open_conversation(80))
        client.connect_ex((host.address, 80))
        with pytest.raises(ConversationError, match="SYN seq 0"):
            talk.expect("ACK", within=10)
        assert "SYN seq 0" in talk.ladder()


def test_a_server_is_spoken_with(host: Host) -> None:
    at = ("198.51.100.1", 8080)
    with socket.create_server(at) as server, host.open_conversation(remote=at) as talk:
        talk.handshake(within=10)
        accepted, address = server.accept()
        with accepted:
            assert address == talk.local
            talk.send("PSH,ACK", payload=b"abc")
            assert accepted.recv(10) == b"abc"
