"""The client of the benchmark: plain blocking sockets of the kernel, in a process of its own.

Run as a script, ``load.py WHAT HOST PORT AMOUNT [CONNECTIONS]``, it prints how many seconds it
took. It imports as little as it can, to start quickly.
"""

from __future__ import annotations

import select
import socket
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: benchmark\r\n\r\n"
_PIECE = 1 << 20


def receive(address: tuple[str, int], amount: int, _: int) -> float:
    """Fetch `amount` octets from an http app."""
    buffer = bytearray(_PIECE)
    with socket.create_connection(address) as sock:
        sock.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: benchmark\r\n\r\n" % amount)
        _head(sock)
        begin = time.perf_counter()
        missing = amount
        while missing > 0:
            got = sock.recv_into(buffer)
            if not got:
                raise ConnectionError(f"the server ended {missing} octets too early")
            missing -= got
        return time.perf_counter() - begin


def _head(sock: socket.socket) -> bytes:
    """Read up to the end of an answer's head, and no further."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        octet = sock.recv(1)
        if not octet:
            raise ConnectionError("the server ended within the head of its answer")
        head += octet
    return head


def send(address: tuple[str, int], amount: int, _: int) -> float:
    """Send `amount` octets to a discard app, and wait until all are read."""
    piece = bytes(_PIECE)
    with socket.create_connection(address) as sock:
        begin = time.perf_counter()
        sent = 0
        while sent < amount:
            sent += sock.send(piece[: amount - sent])
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass
        return time.perf_counter() - begin


def requests(address: tuple[str, int], amount: int, connections: int) -> float:
    """Make `amount` small requests of an http app, over `connections` that are kept alive."""
    sockets = {}
    poll = select.epoll()
    for _ in range(connections):
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    begin = time.perf_counter()
    started = min(connections, amount)
    for sock in list(sockets.values())[:started]:
        sock.send(REQUEST)
    answered = 0
    while answered < amount:
        for descriptor, _event in poll.poll():
            sock = sockets[descriptor]
            # The answers are far smaller than this, and come in one piece.
            if not sock.recv(65536):
                raise ConnectionError("the server ended a connection that should be kept alive")
            answered += 1
            if started < amount:
                started += 1
                sock.send(REQUEST)
    seconds = time.perf_counter() - begin
    for sock in sockets.values():
        sock.close()
    return seconds


LOADS = {"receive": receive, "send": send, "requests": requests}


if __name__ == "__main__":
    what, host, port, octets, *more = sys.argv[1:]
    print(LOADS[what]((host, int(port)), int(octets), int(more[0]) if more else 1))
