"""A storm of mutated packets around a stack whose sockets are in all states, in both families."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.tcp.crowd import OURS, OURS6, PORT, Crowd
from tunstack.ip import icmp, icmpv6
from tunstack.ip.datagram import ICMP, ICMPV6, TCP, UDP, Datagram
from tunstack.ip.demux import FourTuple
from tunstack.ip.family import IPV4, IPV6
from tunstack.ip.fragmentation import fragmented
from tunstack.ip.icmp import IcmpMessage
from tunstack.stack.echo import Pinger
from tunstack.stack.flow import Flow
from tunstack.tcp.segment import Segment
from tunstack.udp.sock import UdpSock
from tunstack.wire import (
    NOTHING_OFFLOADED,
    decode_datagram,
    encode_datagram,
    encode_icmp,
    encode_segment,
    encode_udp,
    gso,
)
from tunstack.wire.checksum import checksum

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.tcp.crowd import Peer
    from tunstack.ip.family import Family

PEERS: Final = {
    IPV4: [bytes((198, 51, 100, last)) for last in (1, 7, 9)] + [bytes((203, 0, 113, 5))],
    IPV6: [bytes.fromhex(f"20010db8{each:016x}{last:08x}") for each in (0, 5) for last in (1, 9)],
}
OTHERS: Final = {
    IPV4: [bytes(4), b"\xff" * 4, bytes((224, 0, 0, 1)), bytes((127, 0, 0, 1)), OURS],
    IPV6: [bytes(16), bytes(15) + b"\1", b"\xff\2" + bytes(13) + b"\1", OURS6],
}
OURS_OF: Final = {IPV4: OURS, IPV6: OURS6}
UDP_PORT: Final = 53
_CHECKSUM_AT: Final = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}
MOST_HELD: Final = 8 << 20
"""Octets of memory that the stack may use for all of it."""


class Storm:
    """A stack and what is thrown at it.

    Attributes:
        thrown: Packets so far.
        crowd: The stack, and who opened connections.
    """

    def __init__(self, rng: Random, *, offload: bool = False) -> None:
        self.rng = rng
        self.thrown = 0
        self.offload = offload
        self.crowd = Crowd(backlog=16, seed=rng.getrandbits(32), offload=offload)
        self.stack = self.crowd.stack
        self.peers: list[Peer] = []
        self.flows: list[Flow] = []
        self.sent: list[bytes] = []
        """The latest packets of ours, for ICMP errors to quote."""
        self.socks = [self._udp(connected=connected) for connected in (False, True)]
        self.pingers = {family: self._pinger(family) for family in (IPV4, IPV6)}
        for _ in range(6):
            self.open()

    def _udp(self, *, connected: bool) -> UdpSock:
        sock = UdpSock(None)
        sock.receive_errors = True
        self.stack.datagrams.open(sock)
        self.stack.datagrams.bind(sock, None, UDP_PORT + connected)
        if connected:
            self.stack.datagrams.connect(sock, PEERS[IPV6][0], 9)
        return sock

    def _pinger(self, family: Family) -> Pinger:
        pinger = Pinger(family, lambda: None)
        pinger.wants_errors = True
        self.stack.echoes.bind(pinger, None, 77)
        return pinger

    # What the applications and the honest peers do

    def open(self) -> None:
        """Somebody opens a connection, or we do."""
        rng, crowd = self.rng, self.crowd
        crowd.family = rng.choice((IPV4, IPV6))
        crowd.ours = OURS_OF[crowd.family]
        if rng.random() < 0.3:
            with suppress(OSError):
                remote = rng.choice(PEERS[crowd.family])
                self.flows.append(self.stack.connect(remote, 7, crowd.now))
            self.take()
            return
        peer = crowd.peer()
        self.peers.append(peer)
        if peer.syn() is not None and rng.random() < 0.8:
            peer.ack()
        del self.peers[:-30]

    def act(self) -> None:
        """An application does something, or time passes."""
        rng, crowd, stack = self.rng, self.crowd, self.stack
        flow = rng.choice(self.flows) if self.flows else None
        match rng.randrange(9):
            case 0:
                self.open()
            case 1:
                while (accepted := crowd.listener.accept()) is not None:
                    if isinstance(accepted, Flow):
                        self.flows.append(accepted)
            case 2 if flow is not None:
                with suppress(OSError):
                    stack.read(flow, 1 << 16)
            case 3 if flow is not None:
                with suppress(OSError):
                    stack.send(flow, rng.randbytes(rng.choice((1, 100, 5000))), crowd.now)
            case 4 if flow is not None:
                with suppress(OSError):
                    rng.choice((stack.close, stack.shutdown, stack.abort))(flow)
                self.flows = [each for each in self.flows if each.state.value != "CLOSED"][-40:]
            case 5:
                for sock in self.socks:
                    while sock.queue.items:
                        stack.datagrams.take(sock)
                    sock.take_error()
                for pinger in self.pingers.values():
                    with suppress(OSError):
                        while stack.echoes.receive(pinger) is not None:
                            pass
            case 6:
                family = rng.choice((IPV4, IPV6))
                sock, remote = self.socks[0], rng.choice(PEERS[family])
                with suppress(OSError):
                    route = stack.datagrams.route(sock, remote, 9)
                    data = bytes(rng.choice((0, 10, 4000)))
                    stack.datagrams.send(sock, route, data, crowd.now)
                with suppress(OSError):
                    request = struct.pack(">BBHHH", 8 if family is IPV4 else 128, 0, 0, 77, 1)
                    stack.echoes.send(self.pingers[family], request, remote, crowd.now)
            case _:
                self.advance(
                    rng.choice(
                        (0.001, 0.05, 0.05, 0.5, 5.0) if rng.random() < 0.97 else (70.0, 700.0)
                    )
                )
        self.take()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        crowd, stack = self.crowd, self.stack
        when = crowd.now + seconds
        while (deadline := stack.deadline()) is not None and deadline <= when:
            crowd.now = max(crowd.now, deadline)
            stack.handle_timers(crowd.now)
            self.take()
        crowd.now = when

    def take(self) -> None:
        """Take what the stack sends: it is well-formed, and to one host."""
        self.stack.flush(self.crowd.now)
        while self.stack.outgoing:
            frame = b"".join(self.stack.outgoing.popleft())
            for packet in gso.packets(frame) if self.offload else (frame,):
                self._sent(packet)
        del self.sent[:-50]

    def _sent(self, packet: bytes) -> None:
        datagram = decode_datagram(packet)
        family = IPV4 if len(datagram.src) == 4 else IPV6
        assert datagram.src == OURS_OF[family]
        assert datagram.dst not in OTHERS[family]
        assert len(packet) <= 1500
        if (datagram.protocol != family.icmp and len(packet) > 100) or datagram.protocol == UDP:
            self.sent.append(packet)

    # What is thrown

    def throw(self) -> None:
        """Throw a packet, or the fragments of one."""
        for packet in self.packets():
            self.stack.handle_packet(self.framed(packet), self.crowd.now)
            self.thrown += 1
            if self.rng.random() < 0.7:
                self.take()
        assert self.stack.statistics()["memory_held"] < MOST_HELD
        assert self.stack.statistics()["fragment_memory_held"] <= 2 << 20

    def framed(self, packet: bytes) -> bytes:
        """The packet as the link delivers it: with offload, a few of the headers are mutated."""
        if not self.offload:
            return packet
        rng = self.rng
        if rng.random() < 0.9:
            return NOTHING_OFFLOADED + packet
        fields = rng.choice((0, 1, 2, 255)), rng.choice((0, 1, 3, 4, 5, 0x81, 255))
        sizes = [rng.choice((0, 1, 20, 40, 54, 1400, 65535)) for _ in range(4)]
        header = struct.pack("=BBHHHH", *fields, *sizes)
        return (header + packet)[: rng.choice((5, 65536, 65536, 65536))]

    def packets(self) -> Iterator[bytes]:
        """A packet or its fragments, mutated or not."""
        rng = self.rng
        family = rng.choice((IPV4, IPV6))
        datagram = self.datagram(family)
        if rng.random() < 0.4:
            datagram = self.mutated_payload(datagram)
        packets = [b"".join(encode_datagram(datagram))]
        if rng.random() < 0.3:
            packets = self.in_fragments(packets[0])
        for packet in packets:
            if family is IPV6 and rng.random() < (0.3 if len(packets) == 1 else 0.03):
                packet = self.with_headers(packet)
            if rng.random() < (0.3 if len(packets) == 1 else 0.03):
                packet = self.mutated(packet)
            yield packet

    def datagram(self, family: Family) -> Datagram:
        """Something that might be for a socket."""
        rng = self.rng
        src, dst = rng.choice(PEERS[family]), OURS_OF[family]
        if rng.random() < 0.03:
            src = rng.choice(OTHERS[family])
        if rng.random() < 0.03:
            dst = rng.choice(OTHERS[family])
        kind = rng.randrange(12)
        if kind < 5:
            packet = self.segment(src, dst)
        elif kind < 7:
            data = rng.randbytes(rng.choice((0, 1, 20, 1400)))
            ports = rng.choice((9, 53, 0)), rng.choice((UDP_PORT, UDP_PORT + 1, 99))
            payload = encode_udp(src, dst, *ports, data) + data
            packet = b"".join(encode_datagram(Datagram(src, dst, UDP, payload)))
        elif kind < 11:
            packet = b"".join(encode_icmp(src, dst, self.icmp(family)))
        else:
            payload = rng.randbytes(rng.randrange(60))
            packet = b"".join(encode_datagram(Datagram(src, dst, rng.randrange(256), payload)))
        try:
            datagram = decode_datagram(packet)
        except Exception:  # A random protocol was an extension header's.
            return Datagram(src, dst, TCP, b"")
        return replace(datagram, tos=rng.choice((0, 0, 1, 2, 3)), ttl=rng.choice((64, 255)))

    def segment(self, src: bytes, dst: bytes) -> bytes:
        """A segment, most often near to what a connection expects."""
        rng = self.rng
        near = rng.choice((0, 0, 1, 100, -1, -100, 5000, 1 << 31))
        data = rng.randbytes(rng.choice((0, 0, 1, 100, 1400)))
        segment = Segment(
            rng.getrandbits(32),
            rng.getrandbits(32),
            rng.choice((2, 16, 16, 24, 17, 4, 20, 18, 32, rng.randrange(256))),
            rng.choice((0, 1, 65535)),
            rng.choice((0, 0, 10)),
            data,
            mss=rng.choice((None, None, 1460, 0, 1)),
            wscale=rng.choice((None, None, 7, 255)),
            sack_permitted=rng.random() < 0.2,
            ts_val=rng.choice((None, 5000 + self.thrown, 5000 + self.thrown, 0)),
            ts_ecr=rng.choice((0, rng.getrandbits(32))),
        )
        ports = rng.choice((1024, 7, 80)), rng.choice((PORT, 99))
        infos = self.stack.connections()
        if infos and rng.random() < 0.85:
            info = rng.choice(infos)
            src, dst = info.remote[0].packed, info.local[0].packed
            ports = info.remote[1], info.local[1]
            flow = self.stack.demux.find(FourTuple(dst, ports[1], src, ports[0]))
            if isinstance(flow, Flow):
                segment.seq = (flow.receiver.nxt + near) % (1 << 32)
                segment.ack = (flow.sender.nxt - rng.choice((0, 0, 1, 1000, -1))) % (1 << 32)
                if rng.random() < 0.2:
                    una = flow.sender.una
                    segment.sack = tuple(
                        ((una + rng.randrange(3000)) % (1 << 32), (una + 3000) % (1 << 32))
                        for _ in range(rng.randrange(1, 4))
                    )
                    segment.ts_val = None
        with suppress(ValueError, struct.error):
            return b"".join(encode_segment(src, dst, *ports, segment))
        return b"".join(encode_segment(src, dst, *ports, Segment(1, 2, 16)))

    def icmp(self, family: Family) -> IcmpMessage:
        """An echo, an error about a packet of ours, or anything."""
        rng = self.rng
        rules = icmp if family is IPV4 else icmpv6
        body = rng.randbytes(rng.choice((0, 8, 200, 1400)))
        kind = rng.randrange(4)
        if kind == 0:
            return IcmpMessage(rules.ECHO_REQUEST, 0, rng.getrandbits(32), body)
        if kind == 1:
            return IcmpMessage(rules.ECHO_REPLY, 0, 77 << 16 | 1, body)
        mine = [each for each in self.sent if each[0] >> 4 == family.version]
        if kind == 2 and mine:
            types = (1, 2, 3, 4, 5) if family is IPV6 else (3, 4, 5, 11, 12)
            rest = rng.choice((0, 68, 576, 1280, 1400, 1500, rng.getrandbits(32)))
            quoted = decode_datagram(rng.choice(mine))
            code = rng.choice((0, 1, 2, 3, 4, rng.randrange(256)))
            return IcmpMessage(rng.choice(types), code, rest, quoted=quoted)
        common = (0, 5, 8, 9, 10, 13, 15, 17) if family is IPV4 else tuple(range(128, 138))
        any_type = rng.choice((*common, rng.randrange(256)))
        return IcmpMessage(any_type, rng.randrange(3), rng.getrandbits(32), body)

    # How it is mutated

    def mutated_payload(self, datagram: Datagram) -> Datagram:
        """With some octets of the payload changed, and most often a right checksum."""
        rng = self.rng
        data = bytearray(datagram.payload)
        at = _CHECKSUM_AT.get(datagram.protocol)
        for _ in range(rng.randrange(1, 4)):
            if data:
                data[rng.randrange(min(len(data), 64))] = rng.choice((0, 255, rng.randrange(256)))
        if rng.random() < 0.2:
            del data[rng.randrange(len(data) + 1) :]
        if at is not None and len(data) >= at + 2 and rng.random() < 0.9:
            data[at : at + 2] = bytes(2)
            pseudo = b""
            if datagram.protocol != ICMP:
                rest = struct.pack(">II", len(data), datagram.protocol)
                pseudo = datagram.src + datagram.dst + rest
            data[at : at + 2] = struct.pack(">H", checksum(pseudo + data))
        return replace(datagram, payload=bytes(data))

    def in_fragments(self, packet: bytes) -> list[bytes]:
        """Fragments: in any order, some lost, doubled or overlapping."""
        rng = self.rng
        datagram = decode_datagram(packet)
        mtu = rng.choice((68, 88, 576, 1280))
        if len(datagram.payload) < 9:
            return [packet]
        number = rng.choice((1, *4 * (rng.getrandbits(16),)))
        parts = fragmented(replace(datagram, identification=number), mtu)[:40]
        if rng.random() < 0.3:
            rng.shuffle(parts)
        if rng.random() < 0.2:
            parts.pop(rng.randrange(len(parts)))
        if parts and rng.random() < 0.2:
            part = rng.choice(parts)
            moved = max(0, part.fragment_offset + rng.choice((-8, 0, 8, 60000))) & 0xFFF8
            parts.append(replace(part, fragment_offset=moved))
        return [b"".join(encode_datagram(part)) for part in parts]

    def with_headers(self, packet: bytes) -> bytes:
        """An IPv6 packet with extension headers behind the fixed one, most of them well-formed."""
        rng = self.rng
        following, chain = packet[6], b""
        for _ in range(rng.choice((1, 1, 2, 3, 20))):
            kind = rng.choice((0, 43, 44, 60, 60, 59, 51, 135))
            body = self.options() if kind in (0, 60) else rng.randbytes(6)
            if kind == 43 and rng.random() < 0.7:
                body = bytes((rng.choice((0, 2, 4)), 0)) + bytes(4)
            if kind == 44:
                chain = struct.pack(">BBHI", following, 0, rng.choice((0, 1, 8)), 5) + chain
            else:
                size = (len(body) + 2) // 8 - 1
                chain = bytes((following, size)) + body + chain
            following = kind
        size = len(packet) - 40 + len(chain)
        start = packet[:4] + struct.pack(">HB", size & 0xFFFF, following) + packet[7:40]
        return start + chain + packet[40:]

    def options(self) -> bytes:
        """Options of a header, with what pads them."""
        rng = self.rng
        kinds = (1, 5, 0x3E, 0x7E, 0xBE, 0xFE, 0xC2, 0x63)
        options = b""
        for _ in range(rng.randrange(4)):
            value = rng.randbytes(rng.choice((0, 2, 4)))
            options += bytes((rng.choice(kinds), len(value))) + value
        return options + bytes(-(len(options) + 2) % 8)

    def mutated(self, packet: bytes) -> bytes:
        """With octets of the IP header and what follows changed, IPv4's checksum often right."""
        rng = self.rng
        data = bytearray(packet)
        for _ in range(rng.randrange(1, 3)):
            data[rng.randrange(min(len(data), 80))] = rng.choice((0, 255, rng.randrange(256)))
        if data[0] >> 4 == 4 and rng.random() < 0.8:
            end = (data[0] & 15) * 4
            data[10:12] = bytes(2)
            data[10:12] = struct.pack(">H", checksum(data[:end]))
        match rng.randrange(8):
            case 0:
                del data[rng.randrange(len(data)) :]
            case 1:
                data += rng.randbytes(rng.randrange(1, 30))
        return bytes(data)


def rage(storm: Storm, packets: int) -> None:
    """Throw packets until there were so many, with the applications acting between."""
    while storm.thrown < packets:
        storm.throw()
        if storm.rng.random() < 0.2:
            storm.act()
