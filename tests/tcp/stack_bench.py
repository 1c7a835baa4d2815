"""A bench for a whole stack, where ports matter: the peer's segments go in and out as packets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.tcp.harness import CONFIG, Sent, Trace
from tunstack.stack.stack import Stack
from tunstack.tcp.segment import ACK, SYN, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import decode_datagram, decode_segment, encode_segment

if TYPE_CHECKING:
    from tunstack.stack.flow import Flow
    from tunstack.stack.limits import Limits
    from tunstack.tcp.config import Config

HERE: Final = IPv4Interface("198.51.100.2/24")
PEER: Final = IPv4Interface("198.51.100.1/24").ip.packed
PORT: Final = 80
"""Ours, where the stack listens."""


class Origin(NamedTuple):
    """The initial sequence numbers of a connection, ours and theirs."""

    iss: int
    irs: int


class StackBench(Trace):
    """A stack that listens on `PORT`, and a peer with many ports.

    Sequence numbers are relative to the latest SYNs between the two ports; timestamps are not.
    """

    def __init__(
        self,
        config: Config = CONFIG,
        *,
        backlog: int = 5,
        seed: int = 1,
        limits: Limits | None = None,
        mtu: int = 1500,
    ) -> None:
        super().__init__()
        self.stack = Stack([HERE], mtu, rng=Random(seed), config=config, limits=limits)
        self.stack.bind(None, PORT, reuse=True)
        self.listener = self.stack.listen(None, PORT, backlog)
        self.now = 0.0
        self.origins: dict[int, Origin] = {}

    def arrive(
        self,
        flags: int,
        *,
        sport: int = 4000,
        dport: int = PORT,
        seq: int = 0,
        ack: int = 0,
        payload: bytes = b"",
        ts_val: int | None = None,
    ) -> None:
        """A segment arrives from the peer's port `sport`, and the stack sends what it has to."""
        self.expect_nothing()
        origin = self.origins.get(sport, Origin(0, 0))
        segment = Segment(
            (origin.irs + seq) & MASK, flags=flags, wnd=65535, payload=payload, ts_val=ts_val
        )
        if flags & ACK:
            segment.ack = (origin.iss + ack) & MASK
        packet = encode_segment(PEER, HERE.ip.packed, sport, dport, segment)
        self.stack.handle_packet(b"".join(packet), self.now)
        self.flush()

    def arrive_syn(self, irs: int = 0, *, sport: int = 4000, ts_val: int | None = None) -> None:
        """The peer's SYN, whose sequence number is `irs`."""
        old = self.origins.get(sport, Origin(0, 0))
        self.origins[sport] = Origin(old.iss, irs & MASK)
        self.arrive(SYN, sport=sport, ts_val=ts_val)

    def handshake(self, irs: int = 0, *, sport: int = 4000, ts_val: int | None = None) -> None:
        """The peer opens a connection."""
        self.arrive_syn(irs, sport=sport, ts_val=ts_val)
        self.drain()
        self.arrive(ACK, sport=sport, seq=1, ack=1, ts_val=ts_val)
        self.drain()

    def accept(self) -> Flow | None:
        """Take a connection from the listener."""
        connection = self.listener.accept()
        return None if connection is None else self.flow(connection)

    def flow(self, connection: object) -> Flow:
        """The flow that a connection is."""
        [flow] = [flow for flow in self.stack.demux.connections if flow is connection]
        return flow

    def advance(self, seconds: float) -> None:
        """Let time pass; timers fire at their deadlines."""
        self.expect_nothing()
        when = self.now + seconds
        while (deadline := self.stack.deadline()) is not None and deadline <= when:
            self.now = max(self.now, deadline)
            self.stack.handle_timers(self.now)
            self.flush()
        self.now = when

    def flush(self) -> None:
        """Collect what the stack sends."""
        self.stack.flush(self.now)
        while self.stack.outgoing:
            datagram = decode_datagram(b"".join(self.stack.outgoing.popleft()))
            _, dport, segment = decode_segment(datagram)
            irs = self.origins.get(dport, Origin(0, 0)).irs
            if segment.flags & SYN:
                self.origins[dport] = Origin(segment.seq, irs)
            iss = self.origins.get(dport, Origin(0, 0)).iss
            self.pending.append(
                Sent(
                    self.now,
                    replace(
                        segment,
                        seq=(segment.seq - iss) & MASK,
                        ack=(segment.ack - irs) & MASK if segment.flags & ACK else segment.ack,
                        payload=bytes(segment.payload),
                    ),
                )
            )
