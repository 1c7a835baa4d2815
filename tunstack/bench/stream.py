"""One end of a stream over kernel sockets, in a process of its own.

Run as a script, and with as few imports as possible:

    stream.py receive PORT SECONDS SKIPPED  prints "ready", accepts, and prints how many octets came
                                            within so many seconds from then on, and how many of
                                            them in the first ones, which are skipped
    stream.py send HOST PORT CONGESTION     sends for as long as anybody takes it
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress

_PIECE = 1 << 18


def receive(port: str, seconds: str, skipped: str) -> None:
    """Count what comes."""
    buffer = bytearray(_PIECE)
    with socket.create_server(("", int(port))) as listener:
        print("ready", flush=True)
        connection, _ = listener.accept()
    begun = time.monotonic()
    end, start = begun + float(seconds), begun + float(skipped)
    octets = early = 0
    with connection:
        while (left := end - (now := time.monotonic())) > 0:
            if now < start:
                early = octets
            connection.settimeout(left)
            try:
                got = connection.recv_into(buffer)
            except TimeoutError:
                break
            if not got:
                raise ConnectionError("the sender ended too early")
            octets += got
    print(octets, early, flush=True)


def send(host: str, port: str, congestion: str) -> None:
    """Send without end."""
    piece = bytes(_PIECE)
    with socket.socket() as sock, suppress(ConnectionError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        sock.connect((host, int(port)))
        while True:
            sock.sendall(piece)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    (receive if what == "receive" else send)(*arguments)
