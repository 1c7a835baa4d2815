"""A client that is a program: it runs in the namespace of its peer."""

import sys
from subprocess import DEVNULL, CompletedProcess

import pytest

from tunstack.blocking import Host, Namespace
from tunstack.pytest_plugin import Peer, Peers

REFUSED, CUT, TIMEOUT, RESET = 7, 18, 28, 56  # Exit statuses of curl.


def curl(peer: Peer, path: str = "", *options: str) -> CompletedProcess[bytes]:
    command = ["curl", "-sS", "--max-time", "0.5", *options, peer.url + path]
    return peer.namespace.run_process(command, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (None, 0),
        ("refuse", REFUSED),
        ("silent", TIMEOUT),
        ("close-after=4096", CUT),
        ("reset-after=4096", RESET),
        ("stall-after=4096", TIMEOUT),
        ("duplicate=50%,reorder=20%,jitter=5ms", 0),
    ],
)
def test_curl_says_what_it_met(tunstack_peer: Peers, behaviour: str | None, status: int) -> None:
    assert curl(tunstack_peer("http", behaviour=behaviour), "bytes/20000").returncode == status


def test_curl_retries(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("http", behaviour="fail-first=1")
    again = ["--retry", "1", "--retry-connrefused", "--retry-delay", "0", "--max-time", "10"]
    assert b"It works" in curl(peer, "", *again).stdout


def test_a_script_of_python(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("echo")
    script = f"import socket; print(socket.create_connection({peer.address}).getpeername())"
    done = peer.namespace.run_process([sys.executable, "-c", script], capture_output=True)
    assert done.stdout.decode().strip() == str(peer.address)


def test_a_conversation_by_hand(tunstack_host: Host, tunstack_namespace: Namespace) -> None:
    url = f"http://{tunstack_host.address}/"
    with (
        tunstack_host.open_conversation(80) as talk,
        tunstack_namespace.open_process(["curl", "-sS", url], stderr=DEVNULL) as program,
    ):
        syn = talk.expect("SYN")
        talk.send("SYN,ACK", mss=syn.mss)
        talk.expect("ACK", seq=1, ack=1)
        request = talk.expect("ACK", seq=1)
        talk.send("RST", seq=1)
        assert request.payload.startswith(b"GET / HTTP/1.1")
        assert program.wait(5) == RESET
