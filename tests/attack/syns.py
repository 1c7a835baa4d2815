"""Send SYNs in the names of others: ``syns.py COUNT RATE``, in a network namespace, as its root.

They go from 198.51.100.3 to .254 to port 80 of 198.51.100.2, and look like Linux's. A rate, a
second, is kept since a device drops what is not taken from it in time: without one, few arrive.
Prints how many seconds it took.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import time

TARGET = bytes((198, 51, 100, 2))
PORT = 80
_IP = struct.Struct(">BBHHHBBH4s4s")
_TCP = struct.Struct(">HHIIHHHH")
_OPTIONS = struct.Struct(">IHHIIBBBB")


def syn(rng: random.Random) -> bytes:
    """One SYN of somebody who does not exist."""
    source = bytes((198, 51, 100, rng.randrange(3, 255)))
    options = _OPTIONS.pack(0x020405B4, 0x0402, 0x080A, rng.getrandbits(32), 0, 1, 3, 3, 7)
    length = 20 + len(options)
    fields = [rng.randrange(1024, 65536), PORT, rng.getrandbits(32), 0, length << 10 | 2, 64240]
    header = _TCP.pack(*fields, 0, 0)
    pseudo = source + TARGET + struct.pack(">HH", socket.IPPROTO_TCP, length)
    total = int.from_bytes(pseudo + header + options, "big") % 0xFFFF
    header = _TCP.pack(*fields, 0xFFFF - total, 0)
    # The kernel fills in the length and the checksum.
    ip = _IP.pack(0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0, source, TARGET)
    return ip + header + options


def main(count: int, rate: float) -> None:
    """Send `count` of them."""
    rng = random.Random(1)
    prepared = [syn(rng) for _ in range(min(count, 20_000))]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        begin = time.perf_counter()
        for number in range(count):
            if number % 20 == 0 and (early := begin + number / rate - time.perf_counter()) > 0:
                time.sleep(early)
            sock.sendto(prepared[number % len(prepared)], ("198.51.100.2", 0))
        print(time.perf_counter() - begin)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
