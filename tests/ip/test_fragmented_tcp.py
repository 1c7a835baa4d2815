"""TCP over a path that cuts every segment into fragments, loses, repeats and reorders them."""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from ipaddress import IPv4Interface, IPv6Interface
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tunstack.ip.fragmentation import fragmented
from tunstack.stack.stack import Stack
from tunstack.wire import Reason, decode_datagram, encode_datagram

if TYPE_CHECKING:
    from tunstack.stack.flow import Flow

IPV4: Final = IPv4Interface("198.51.100.1/24"), IPv4Interface("198.51.100.2/24")
IPV6: Final = IPv6Interface("2001:db8::1/64"), IPv6Interface("2001:db8::2/64")
PORT: Final = 80
SIZE: Final = 200_000


class Path:
    """Two stacks, and the path between them."""

    def __init__(
        self, seed: int, interfaces: tuple[IPv4Interface | IPv6Interface, ...], rate: float
    ) -> None:
        self.rng = Random(seed)
        self.rate = rate
        self.now = 0.0
        self.stacks = [Stack([each], 1500, rng=Random(self.rng.random())) for each in interfaces]
        self.events: list[tuple[float, int, int, bytes]] = []
        self.number = 0

    def deliver(self, to: int, packet: bytes) -> None:
        """Have fragments of a packet arrive, some of them twice, some not at all."""
        self.number += 1
        datagram = replace(decode_datagram(packet), identification=self.number, dont_fragment=False)
        for part in fragmented(datagram, self.rng.randrange(100, 800)):
            while self.rng.random() > self.rate:
                self.number += 1
                at = self.now + 0.005 + self.rng.random() * 0.01
                heappush(self.events, (at, self.number, to, b"".join(encode_datagram(part))))
                if self.rng.random() > self.rate:
                    break

    def step(self) -> None:
        """Go on to what is next: a packet, or a timer."""
        for number, stack in enumerate(self.stacks):
            stack.flush(self.now)
            while stack.outgoing:
                self.deliver(1 - number, b"".join(stack.outgoing.popleft()))
        deadlines = [at for stack in self.stacks if (at := stack.deadline()) is not None]
        timer = min(deadlines, default=float("inf"))
        if self.events and self.events[0][0] <= timer:
            self.now, _, to, packet = heappop(self.events)
            self.stacks[to].handle_packet(packet, self.now)
        else:
            self.now = max(self.now, timer)
            for stack in self.stacks:
                stack.handle_timers(self.now)


@pytest.mark.parametrize("interfaces", [IPV4, IPV6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("seed", range(5))
def test_all_data_arrives(interfaces: tuple[IPv4Interface | IPv6Interface, ...], seed: int) -> None:
    path = Path(seed, interfaces, rate=0.02)
    client, server = path.stacks
    remote = interfaces[1].ip.packed
    server.bind(remote, PORT, reuse=True)
    listener = server.listen(remote, PORT, 5)
    flow = client.connect(remote, PORT, 0.0)
    accepted: Flow | None = None
    data = Random(seed).randbytes(SIZE)
    sent, received = 0, bytearray()
    while len(received) < SIZE:
        path.step()
        assert path.now < 300
        if accepted is None:
            connection = listener.accept()
            for each in server.demux.connections:
                if each is connection:
                    accepted = each
        else:
            received += server.read(accepted, SIZE)
        if sent < SIZE and flow.sender.synchronized:
            sent += client.send(flow, data[sent : sent + 10_000], path.now)
    assert received == data
    # When the time of the rest is over, nothing is held.
    statistics = server.statistics()
    assert statistics["datagrams_reassembled"] > SIZE / 1448
    assert statistics["fragment_duplicate"] > 0
    end = path.now + 200  # Time Exceeded may come in fragments, too.
    while path.now < end and any(s.statistics()["fragment_memory_held"] for s in path.stacks):
        path.step()
    for stack in path.stacks:
        statistics = stack.statistics()
        assert statistics["fragment_memory_held"] == 0
        allowed = {Reason.FRAGMENT_DUPLICATE, Reason.FRAGMENT_TIMEOUT, Reason.FRAGMENT_MEMORY}
        assert {reason for reason in Reason if statistics[reason]} <= allowed
