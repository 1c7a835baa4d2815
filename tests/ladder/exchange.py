"""Hand-made packets, as a host of ours would report them."""

from __future__ import annotations

from typing import Any, Final, Literal

from tests.wire.packets import KERNEL, OURS, PAIRS
from tunstack.ip import icmp, icmpv6
from tunstack.ip.datagram import UDP, Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.ladder import Ladder, plain_text, step_from_observation
from tunstack.stack.observation import Observation
from tunstack.tcp.segment import ACK, FIN, PSH, SYN, Segment
from tunstack.wire import encode_datagram, encode_icmp, encode_segment

START: Final = 1_700_000_000.0
SAME: Final = "same"


class Exchange:
    """One connection, told by `receive` and `send`; each packet comes a millisecond later.

    Numbers are relative to the SYNs. `after` is our state from this packet on.
    """

    def __init__(
        self,
        port: int = 40312,
        *,
        our_port: int = 80,
        kernel_isn: int = 0xFFFF_FFF0,
        family: str = "IPv4",
    ) -> None:
        self.port, self.our_port = port, our_port
        self.kernel, self.ours = PAIRS[family]
        self.isn = {"in": kernel_isn, "out": 1_000_000}
        self.state: str | None = "LISTEN"
        self.observations: list[Observation] = []

    def receive(self, flags: int, seq: int, ack: int = 0, **more: Any) -> None:
        self._tell("in", flags, seq, ack, **more)

    def send(self, flags: int, seq: int, ack: int = 0, **more: Any) -> None:
        self._tell("out", flags, seq, ack, **more)

    def _tell(
        self,
        direction: Literal["in", "out"],
        flags: int,
        seq: int,
        ack: int,
        *,
        after: str | None = SAME,
        verdict: str | None = None,
        **fields: Any,
    ) -> None:
        other = "out" if direction == "in" else "in"
        segment = Segment(
            (self.isn[direction] + seq) % 2**32,
            (self.isn[other] + ack) % 2**32 if flags & ACK else 0,
            flags,
            **{"wnd": 502, **fields},
        )
        if direction == "in":
            packet = encode_segment(self.kernel, self.ours, self.port, self.our_port, segment)
        else:
            packet = encode_segment(self.ours, self.kernel, self.our_port, self.port, segment)
        if verdict is None:
            verdict = "accepted" if direction == "in" else ""
        self.add(direction, b"".join(packet), after, verdict)

    def add(
        self,
        direction: Literal["in", "out"],
        packet: bytes,
        after: str | None = SAME,
        verdict: str = "",
    ) -> None:
        before, self.state = self.state, self.state if after == SAME else after
        time = START + 0.001 * len(self.observations)
        self.observations.append(Observation(time, direction, packet, before, self.state, verdict))

    def handshake(self) -> None:
        common = {"mss": 1460, "sack_permitted": True, "ts_val": 1, "wnd": 64240}
        self.receive(SYN, 0, after="SYN-RECEIVED", wscale=7, **common)
        self.send(SYN | ACK, 0, 1, wscale=5, **common)
        self.receive(ACK, 1, 1, after="ESTABLISHED")

    def fetch(self, segments: int = 1, size: int = 100) -> None:
        """A request of 78 octets, and an answer of so many segments, each acknowledged."""
        self.receive(PSH | ACK, 1, 1, payload=bytes(78))
        for number in range(segments):
            self.send(PSH | ACK, 1 + number * size, 79, payload=bytes(size))
            self.receive(ACK, 79, 1 + (number + 1) * size)

    def teardown(self, received: int = 0, sent: int = 0) -> None:
        """The kernel closes first, after that many octets each way."""
        self.receive(FIN | ACK, 1 + received, 1 + sent, after="CLOSE-WAIT")
        self.send(FIN | ACK, 1 + sent, 2 + received, after="LAST-ACK")
        self.receive(ACK, 2 + received, 2 + sent, after=None)

    def drawn(self, **options: Any) -> str:
        """The ladder of it all, as text."""
        ladder = Ladder(**options)
        lines = [
            line for seen in self.observations for line in ladder.add(step_from_observation(seen))
        ]
        return "\n".join(plain_text(line).rstrip() for line in [*lines, *ladder.flush()])


def ping(*, reply: bool, family: str = "IPv4", seq: int = 1) -> bytes:
    """An echo from the kernel, identifier 7, or our reply to it."""
    rules = icmp if family == "IPv4" else icmpv6
    message = IcmpMessage(
        rules.ECHO_REPLY if reply else rules.ECHO_REQUEST, 0, 7 << 16 | seq, bytes(56)
    )
    kernel, ours = PAIRS[family]
    return b"".join(encode_icmp(*((ours, kernel) if reply else (kernel, ours)), message))


def udp(
    data: bytes = b"data",
    *,
    sport: int = 4000,
    dport: int = 99,
    src: bytes = KERNEL,
    dst: bytes = OURS,
    **fields: Any,
) -> Datagram:
    """A datagram of UDP without a checksum."""
    header = b"".join(each.to_bytes(2, "big") for each in (sport, dport, 8 + len(data), 0))
    return Datagram(src, dst, UDP, header + data, **fields)


def packet_of(datagram: Datagram) -> bytes:
    """The octets of a datagram."""
    return b"".join(encode_datagram(datagram))


__all__ = ["KERNEL", "OURS", "PAIRS", "SAME", "START", "Exchange", "packet_of", "ping", "udp"]
