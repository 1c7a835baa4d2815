"""Load generators over kernel sockets, each in a process of its own.

Run as a script, ``load.py LOAD HOST PORT SECONDS CONNECTIONS``, it prints its figures as a line of
JSON. It has few imports, to start fast, and does little more than system calls, so that the server
is what is measured.

    send, receive    bulk transfer over all connections
    requests         small HTTP requests on persistent connections
    connections      the same, each on a connection of its own; CONNECTIONS are open at a time
    echoes           round-trip times of a small message
    datagrams        echoes of UDP datagrams, of which CONNECTIONS are on their way at a time
    tls_send, tls_receive, tls_requests
                     the same over TLS, without verification; bulk over one connection
    hold             opens connections, prints a line, and keeps them open until its input ends; the
                     first local port is given in place of SECONDS
"""

from __future__ import annotations

import json
import math
import resource
import select
import signal
import socket
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

AGENT = "tunstack-benchmark/1 (a request of about a hundred octets)"
REQUEST = f"GET / HTTP/1.1\r\nHost: benchmark\r\nUser-Agent: {AGENT}\r\n\r\n".encode()
_WRITE_SIZE = 1 << 18
_MESSAGE = bytes(64)
_WARM_UP = 50
_LOST = 2.0
"""Seconds without any answer after which a datagram counts as lost."""

Address = tuple[str, int]
Figures = dict[str, float]


def _open(
    address: Address, connections: int, events: int
) -> tuple[select.epoll, list[socket.socket]]:
    poll = select.epoll()
    sockets = []
    for _ in range(connections):
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        sockets.append(sock)
        poll.register(sock, events)
    return poll, sockets


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def send(address: Address, seconds: float, connections: int) -> Figures:
    """Send for `seconds`, and wait until the server has read everything."""
    poll, sockets = _open(address, connections, select.EPOLLOUT)
    by_number = {sock.fileno(): sock for sock in sockets}
    piece = bytes(_WRITE_SIZE)
    octets = 0
    begin = now = time.perf_counter()
    while now < begin + seconds:
        for number, _ in poll.poll(seconds):
            with suppress(BlockingIOError):
                octets += by_number[number].send(piece)
        now = time.perf_counter()
    for sock in sockets:
        sock.shutdown(socket.SHUT_WR)
    for sock in sockets:
        sock.setblocking(True)
        if sock.recv(1):
            raise ConnectionError("the server sent something")
    return {"octets": octets, "seconds": time.perf_counter() - begin}


def receive(address: Address, seconds: float, connections: int) -> Figures:
    """Receive for `seconds`."""
    poll, sockets = _open(address, connections, select.EPOLLIN)
    by_number = {sock.fileno(): sock for sock in sockets}
    buffer = bytearray(_WRITE_SIZE)
    octets = 0
    begin = now = time.perf_counter()
    while now < begin + seconds:
        for number, _ in poll.poll(seconds):
            octets += _check_open(by_number[number].recv_into(buffer))
        now = time.perf_counter()
    return {"octets": octets, "seconds": now - begin}


def _check_open(received: int) -> int:
    if not received:
        raise ConnectionError("the server ended a connection that should stay")
    return received


def requests(address: Address, seconds: float, connections: int) -> Figures:
    """Send requests, the next one on a connection as soon as the last one is answered."""
    poll, sockets = _open(address, connections, select.EPOLLIN)
    by_number = {sock.fileno(): sock for sock in sockets}
    answered = 0
    begin = now = time.perf_counter()
    for sock in sockets:
        sock.send(REQUEST)
    while now < begin + seconds:
        for number, _ in poll.poll(seconds):
            sock = by_number[number]
            # A response is far smaller than this, and arrives in one segment.
            _check_open(len(sock.recv(65536)))
            answered += 1
            sock.send(REQUEST)
        now = time.perf_counter()
    return {"requests": answered, "seconds": now - begin}


def connections(address: Address, seconds: float, at_a_time: int) -> Figures:
    """Connect, send a request and read to the end, with `at_a_time` connections open."""
    request = REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0")
    poll = select.epoll()
    open_: dict[int, socket.socket] = {}

    def connect() -> None:
        sock = socket.socket(_family(address))
        sock.setblocking(False)
        sock.connect_ex(address)
        open_[sock.fileno()] = sock
        poll.register(sock, select.EPOLLOUT)

    done = 0
    begin = now = time.perf_counter()
    for _ in range(at_a_time):
        connect()
    while now < begin + seconds:
        for number, event in poll.poll(seconds):
            sock = open_[number]
            if event == select.EPOLLOUT:
                sock.send(request)
                poll.modify(number, select.EPOLLIN)
            elif not sock.recv(65536):
                done += 1
                del open_[number]
                sock.close()
                connect()
        now = time.perf_counter()
    return {"requests": done, "seconds": now - begin}


def echoes(address: Address, seconds: float, _: int) -> Figures:
    """Measure round-trip times of a small message, one at a time."""
    times: list[float] = []
    clock = time.perf_counter
    with socket.create_connection(address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = clock() + seconds
        begin = clock()
        while begin < end or len(times) <= _WARM_UP:
            sock.send(_MESSAGE)
            _check_open(len(sock.recv(65536)))
            now = clock()
            times.append(now - begin)
            begin = now
    times = sorted(times[_WARM_UP:])
    return {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99)}


def datagrams(address: Address, seconds: float, window: int) -> Figures:
    """Send UDP datagrams, the next one as soon as one has come back; none may be lost."""
    answered = sent = 0
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        begin = now = time.perf_counter()
        while answered < sent or now < begin + seconds:
            while sent < answered + window and now < begin + seconds:
                sock.send(_MESSAGE)
                sent += 1
            if not select.select([sock], [], [], _LOST)[0]:
                raise ConnectionError(f"{sent - answered} of {sent} datagrams were lost")
            with suppress(BlockingIOError):
                while True:
                    sock.recv(2048, socket.MSG_DONTWAIT)
                    answered += 1
            now = time.perf_counter()
    return {"requests": answered, "seconds": now - begin}


def _encrypted(address: Address) -> ssl.SSLSocket:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sock = context.wrap_socket(socket.create_connection(address))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def tls_send(address: Address, seconds: float, _: int) -> Figures:
    """Send for `seconds`, and wait until the server has read everything."""
    piece = bytes(_WRITE_SIZE)
    octets = 0
    with _encrypted(address) as sock:
        begin = time.perf_counter()
        while time.perf_counter() < begin + seconds:
            octets += sock.send(piece)
        sock.unwrap().close()
    return {"octets": octets, "seconds": time.perf_counter() - begin}


def tls_receive(address: Address, seconds: float, _: int) -> Figures:
    """Receive for `seconds`."""
    buffer = bytearray(_WRITE_SIZE)
    octets = 0
    with _encrypted(address) as sock:
        begin = time.perf_counter()
        while time.perf_counter() < begin + seconds:
            octets += _check_open(sock.recv_into(buffer))
    return {"octets": octets, "seconds": time.perf_counter() - begin}


def tls_requests(address: Address, seconds: float, connections: int) -> Figures:
    """Send requests, the next one on a connection as soon as the last one is answered."""
    poll = select.epoll()
    by_number = {}
    for _ in range(connections):
        sock = _encrypted(address)
        by_number[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    answered = 0
    begin = now = time.perf_counter()
    for sock in by_number.values():
        sock.send(REQUEST)
    while now < begin + seconds:
        for number, _ in poll.poll(seconds):
            sock = by_number[number]
            # The head and the body may have records of their own.
            answer = b""
            while not answer.endswith(b"Hello, world!\n"):
                data = sock.recv(65536)
                _check_open(len(data))
                answer += data
            answered += 1
            sock.send(REQUEST)
        now = time.perf_counter()
    return {"requests": answered, "seconds": now - begin}


def percentile(ordered: list[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values."""
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]


def hold(address: Address, first: float, connections: int) -> Figures:
    """Open connections from local port `first` on, and keep them open."""
    # Ports are bound here: the kernel's choice takes milliseconds once half of them are in use.
    sockets = []
    for port in range(int(first), int(first) + connections):
        sock = socket.socket(_family(address))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))
        sock.connect(address)
        sockets.append(sock)
    print(json.dumps({"held": len(sockets)}), flush=True)
    sys.stdin.read()
    return {"held": len(sockets)}


LOADS = {
    each.__name__: each
    for each in (
        send,
        receive,
        requests,
        connections,
        echoes,
        datagrams,
        tls_send,
        tls_receive,
        tls_requests,
        hold,
    )
}


def main(what: str, host: str, port: str, seconds: str, amount: str) -> None:
    """Run a load, and print its figures and our CPU seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles it, and then ends us.
    wanted = int(amount) + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    figures = LOADS[what]((host, int(port)), float(seconds), int(amount))
    print(json.dumps(figures | {"cpu": time.process_time()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
