"""Many peers of one stack, honest and otherwise: each is an address, a port and what it knows.

    crowd = Crowd(backlog=5)
    peer = crowd.peer()
    answer = peer.syn()
    peer.ack()
    [ack] = peer.send(ACK | PSH, b"hello")

Numbers are absolute here: who attacks has no others.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tunstack.ip.datagram import TCP
from tunstack.ip.demux import FourTuple
from tunstack.ip.family import IPV4, IPV6
from tunstack.stack import opening
from tunstack.stack.flow import Flow
from tunstack.stack.stack import Stack
from tunstack.tcp.config import Config
from tunstack.tcp.segment import ACK, PSH, SYN, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import decode_datagram, decode_frame, decode_segment, encode_segment

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer, Datagram
    from tunstack.ip.family import Family
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.tcp.connection.state import State
    from tunstack.tcp.listen.listener import Listener

HERE: Final = IPv4Interface("198.51.100.2/24")
OURS: Final = HERE.ip.packed
HERE6: Final = IPv6Interface("2001:db8::2/64")
OURS6: Final = HERE6.ip.packed
_OURS: Final = {IPV4: OURS, IPV6: OURS6}
_PEER_AT: Final = {IPV4: 3, IPV6: 7}
"""The octet in which the addresses of peers differ: in IPv6 each has a /64."""
PORT: Final = 80
MSS: Final = 1460
CONFIG: Final = Config(mss=MSS, receive_buffer=1 << 20, send_buffer=1 << 20)


ISN_STEP: Final = opening.ISN_STEP
"""How far the numbers of a new incarnation begin beyond those of the old one."""


class Packet(NamedTuple):
    """A segment that the stack sent, and to whom."""

    datagram: Datagram
    sport: int
    dport: int
    segment: Segment


def state(flow: Flow) -> State:
    """What it is in now; mypy would believe that it is what it was when looked at last."""
    return flow.state


class Crowd:
    """A stack that listens on `PORT` in both families, its clock, and whoever is around.

    Attributes:
        family: Of those who are around.
        ours: The address that they talk to.
        observed: What the stack told of itself, so far.
        latest: What it sent last.
    """

    def __init__(
        self,
        config: Config = CONFIG,
        *,
        limits: Limits | None = None,
        backlog: int = 5,
        seed: int = 1,
        offload: bool = False,
        family: Family = IPV4,
    ) -> None:
        self.now = 1000.0
        self.family = family
        self.ours = _OURS[family]
        self.offload = offload
        self.observed: list[Observation] = []
        self.latest: list[Packet] = []
        self.stack = Stack(
            [HERE, HERE6],
            1500,
            rng=Random(seed),
            config=config,
            limits=limits,
            tap=self.observed.append,
            offload=offload,
        )
        self.listener = self.listen(PORT, backlog)
        self._peers = 0

    def listen(self, port: int, backlog: int = 5) -> Listener:
        self.stack.bind(None, port, reuse=True)
        return self.stack.listen(None, port, backlog)

    def peer(self, *, port: int = PORT, **offer: Any) -> Peer:
        """Somebody new, who will talk to `port`; `offer` is what its SYN says."""
        self._peers += 1
        host, sport = self._peers % 250, 1024 + self._peers // 250
        at = _PEER_AT[self.family]
        address = self.ours[:at] + bytes((3 + host,)) + self.ours[at + 1 :]
        return Peer(self, address, sport, port, offer)

    def peers(self, count: int) -> list[Peer]:
        return [self.peer() for _ in range(count)]

    def connected(self) -> tuple[Peer, Flow]:
        """A peer with a connection, and our end of that, accepted."""
        peer = self.peer()
        peer.syn()
        peer.ack()
        return peer, self.accept()

    def accept(self) -> Flow:
        flow = self.listener.accept()
        assert isinstance(flow, Flow)
        return flow

    def flow(self, peer: Peer) -> Flow | None:
        """Our end of the peer's connection, if there is one."""
        return self.stack.demux.find(FourTuple(self.ours, peer.port, peer.address, peer.sport))

    def packet(self, packet: bytes) -> list[Packet]:
        """A packet arrives; returns what the stack sends then."""
        self.stack.handle_packet(packet, self.now)
        return self.flush()

    def flush(self) -> list[Packet]:
        """Take all TCP packets that the stack has to send."""
        self.stack.flush(self.now)
        sent = []
        while self.stack.outgoing:
            packet: Buffer = b"".join(self.stack.outgoing.popleft())
            datagram = decode_frame(packet) if self.offload else decode_datagram(packet)
            if datagram.protocol == TCP:
                sent.append(Packet(datagram, *decode_segment(datagram)))
        self.latest = sent
        return sent

    def act(self, flow: Flow) -> list[Packet]:
        """An application's call has changed `flow`."""
        self.stack.mark_pending(flow)
        return self.flush()

    def advance(self, seconds: float) -> list[Packet]:
        """Let time pass; returns what the stack sends meanwhile."""
        when = self.now + seconds
        sent = []
        while (deadline := self.stack.deadline()) is not None and deadline <= when:
            self.now = max(self.now, deadline)
            self.stack.handle_timers(self.now)
            sent += self.flush()
        self.now = when
        return sent

    @property
    def statistics(self) -> dict[str, int]:
        """All that is not 0."""
        return {name: count for name, count in self.stack.statistics().items() if count}


class Peer:
    """One of the crowd.

    Attributes:
        isn: Its initial sequence number.
        nxt: The number that it sends next.
        expected: The one that it expects next.
        answer: The SYN,ACK that it got.
    """

    def __init__(
        self, crowd: Crowd, address: bytes, sport: int, port: int, offer: dict[str, Any]
    ) -> None:
        self.crowd = crowd
        self.address = address
        self.sport = sport
        self.port = port
        self.offer = {"mss": MSS, "wscale": 7, "sack_permitted": True, "ts_val": 5000, **offer}
        self.isn = self.nxt = (sport * 7919 + address[-1] * 104729) & MASK
        self.expected = 0
        self.answer: Segment | None = None

    def packet(self, segment: Segment) -> bytes:
        """The packet, or frame, in which a segment of its arrives."""
        offload = self.crowd.offload
        return b"".join(
            encode_segment(
                self.address, self.crowd.ours, self.sport, self.port, segment, offload=offload
            )
        )

    def arrive(self, segment: Segment) -> list[Segment]:
        """A segment of its arrives as it stands; returns what it gets for that."""
        sent = self.crowd.packet(self.packet(segment))
        mine = (self.address, self.sport, self.port)
        return [out.segment for out in sent if (out.datagram.dst, out.dport, out.sport) == mine]

    def syn(self, *, flags: int = 0) -> Segment | None:
        """It sends its SYN, with other `flags` as well; returns the answer, if there is one."""
        self.nxt = (self.isn + 1) & MASK
        answers = self.arrive(Segment(self.isn, flags=SYN | flags, wnd=65535, **self.offer))
        self.answer = answers[0] if answers else None
        if self.answer is not None:
            self.expected = (self.answer.seq + 1) & MASK
        return self.answer

    def ack(self, flags: int = ACK, payload: bytes = b"", **fields: Any) -> list[Segment]:
        """It sends the next segment in order, but for what `fields` say."""
        return self.arrive(replace(self.next(flags, payload), **fields))

    def next(self, flags: int = ACK, payload: bytes = b"") -> Segment:
        """The next segment in order."""
        segment = Segment(self.nxt, self.expected, flags, 65535, payload=payload)
        if self.answer is not None and self.answer.ts_val is not None:
            segment.ts_val, segment.ts_ecr = self.offer["ts_val"], self.answer.ts_val
        return segment

    def send(self, payload: bytes, *, flags: int = ACK | PSH, **fields: Any) -> list[Segment]:
        """It sends data in order."""
        answers = self.ack(flags, payload, **fields)
        self.nxt = (self.nxt + len(payload)) & MASK
        return answers

    def beyond(self, offset: int, payload: bytes) -> list[Segment]:
        """It sends data `offset` beyond the next in order, which it withholds."""
        return self.ack(ACK, payload, seq=(self.nxt + offset) & MASK)
