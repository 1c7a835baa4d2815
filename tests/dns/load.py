"""A bounded load of queries, each answer checked; beside kernel sockets with the same server.

python -m tests.dns.load [QUERIES]
"""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

import dns.message
import trio

import tunstack

if TYPE_CHECKING:
    from tunstack import Namespace

IN_FLIGHT = 50
COUNT = 500
ADDRESSES = {f"n{number}.test": f"203.0.113.{number % 250 + 1}" for number in range(COUNT)}


async def right_answers(ns: Namespace, server: str, queries: int) -> int:
    """Ask from a kernel socket, and return how many of the answers are right.

    Args:
        ns: The namespace.
        server: The name server's address.
        queries: How many; `IN_FLIGHT` at a time. What is lost is waited for in vain.
    """
    known = [
        (dns.message.make_query(name, "A", id=0).to_wire()[2:], socket.inet_aton(address))
        for name, address in ADDRESSES.items()
    ]
    expected: dict[bytes, bytes] = {}
    sent = right = 0
    with ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.connect((server, 53))
        for _ in range(queries):
            while sent < queries and len(expected) < IN_FLIGHT:
                query, address = known[sent % COUNT]
                number = (sent & 0xFFFF).to_bytes(2, "big")
                expected[number] = address
                await sock.send(number + query)
                sent += 1
            answer = await sock.recv(2000)
            wanted = expected.pop(answer[:2])
            message = dns.message.from_wire(answer)
            found = [each.address for each in message.answer[0]] if message.answer else []
            right += found == [socket.inet_ntoa(wanted)]
    return right


async def measure(queries: int) -> None:
    """Print the rates of a host of ours and of the kernel, alternately."""
    server = tunstack.DnsServer(tunstack.Names(ADDRESSES))
    async with tunstack.open_namespace() as ns, ns.open_host() as host:
        with ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernels:
            await kernels.bind(("198.51.100.1", 53))
            async with trio.open_nursery() as nursery:
                await nursery.start(host.serve_udp, server.datagram_handler, 53)
                nursery.start_soon(server.datagram_handler, kernels)
                for _ in range(2):
                    for name, address in (("host", "198.51.100.2"), ("kernel", "198.51.100.1")):
                        start = time.monotonic()
                        right = await right_answers(ns, address, queries)
                        rate = queries / (time.monotonic() - start)
                        print(f"{name:<7} {right:,} of {queries:,} right, {rate:,.0f} a second")
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(measure, int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
