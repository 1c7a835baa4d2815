"""One end of a bulk transfer over a kernel socket, in a process of its own.

Run as a script, with as few imports as possible:

    stream.py receive PORT SECONDS SKIPPED  prints "ready", accepts, and prints the octets received
                                            within SECONDS, and those of the first SKIPPED seconds
    stream.py send HOST PORT CONGESTION     sends until the connection ends
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress

_WRITE_SIZE = 1 << 18


def receive(port: str, seconds: str, skipped: str) -> None:
    """Receive, and count octets."""
    buffer = bytearray(_WRITE_SIZE)
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
    """Send until the connection ends."""
    piece = bytes(_WRITE_SIZE)
    with socket.socket() as sock, suppress(ConnectionError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        sock.connect((host, int(port)))
        while True:
            sock.sendall(piece)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    (receive if what == "receive" else send)(*arguments)
