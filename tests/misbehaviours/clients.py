"""The clients: each says in a word what it has met. They know nothing of tunstack.

They run in the test's process, and as a program of their own::

    python clients.py fetch '{"host": "198.51.100.2", "timeout": 5}'
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import socket
import ssl
import sys
import time
from contextlib import closing
from typing import Any

PATH = "/bytes/20000"
_BLOCK = hashlib.shake_128(b"tunstack").digest(65521)
BODIES = {f"/bytes/{n}": (_BLOCK * (n // len(_BLOCK) + 1))[:n] for n in (1000, 20_000)} | {
    "/": b"right"
}

_ERRNOS = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
}


def word_for(error: Exception) -> str:
    """What was met, in a word."""
    match error:
        case TimeoutError():
            return "timeout"
        case http.client.RemoteDisconnected():
            return "empty"
        case http.client.IncompleteRead():
            return "cut"
        case http.client.BadStatusLine() | http.client.LineTooLong():
            return "nonsense"
        case ssl.SSLCertVerificationError():
            return "certificate"
        case ssl.SSLError():
            return "tls"
        case OSError() if error.errno in _ERRNOS:
            return _ERRNOS[error.errno]
    raise error


def connection(
    host: str, timeout: float, authority: str | None = None
) -> http.client.HTTPConnection:
    if authority is None:
        return http.client.HTTPConnection(host, timeout=timeout)
    context = ssl.create_default_context(cafile=authority)
    return http.client.HTTPSConnection(host, timeout=timeout, context=context)


def get(client: http.client.HTTPConnection, path: str, **headers: str) -> str:
    try:
        client.request("GET", path, headers=headers)
        body = client.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        return word_for(error)
    return "whole" if body == BODIES[path] else "changed"


def fetch(
    host: str,
    path: str = PATH,
    times: int = 1,
    timeout: float = 10,
    authority: str | None = None,
) -> list[str]:
    """Connect and fetch, several times."""
    met = []
    for _ in range(times):
        with closing(connection(host, timeout, authority)) as client:
            met.append(get(client, path))
    return met


def twice(host: str, pause: float = 0, timeout: float = 10) -> list[str]:
    """Fetch twice over one connection."""
    with closing(connection(host, timeout)) as client:
        client.connect()
        client.auto_open = 0
        first = get(client, PATH)
        time.sleep(pause)
        return [first, get(client, PATH)]


def until_end(host: str, timeout: float = 10) -> list[str]:
    """Fetch, and read until end of file."""
    try:
        with socket.create_connection((host, 80), timeout) as sock:
            head = f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            sock.sendall(head.encode())
            read = b"".join(iter(lambda: sock.recv(65536), b""))
    except OSError as error:
        return [word_for(error)]
    return ["whole" if read.endswith(BODIES[PATH]) else "cut"]


def upload(host: str, size: int, timeout: float = 10) -> list[str]:
    """Send so many octets, and read their hash."""
    with closing(connection(host, timeout)) as client:
        try:
            client.request("POST", "/sha256", bytes(size))
            answer = client.getresponse().read().split()[0].decode()
        except (OSError, http.client.HTTPException) as error:
            return [word_for(error)]
    return ["whole" if answer == hashlib.sha256(bytes(size)).hexdigest() else "changed"]


def keep_alive(host: str) -> list[str]:
    """Idle with keep-alives after a second, of which one may be unanswered."""
    try:
        with socket.create_connection((host, 80), timeout=30) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
                sock.setsockopt(socket.IPPROTO_TCP, option, 1)
            sock.setblocking(True)
            return ["whole" if sock.recv(1) else "empty"]
    except OSError as error:
        return [word_for(error)]


def look_up(host: str, times: int = 1, timeout: float = 5) -> list[str]:
    """Ask the name server for a name, several times."""
    import dns.exception
    import dns.message
    import dns.query
    import dns.rcode

    met = []
    for _ in range(times):
        query = dns.message.make_query("www.test", "A")
        try:
            answer = dns.query.udp(query, host, timeout=timeout, ignore_unexpected=True)
        except dns.query.BadResponse:
            met.append("timeout")  # What is no answer is not waited beyond.
        except dns.exception.Timeout:
            met.append("timeout")
        else:
            met.append(dns.rcode.to_text(answer.rcode()))
    return met


CLIENTS: dict[str, Any] = {
    each.__name__: each for each in (fetch, twice, until_end, upload, keep_alive, look_up)
}

if __name__ == "__main__":
    print(json.dumps(CLIENTS[sys.argv[1]](**json.loads(sys.argv[2]))))
