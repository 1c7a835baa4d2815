"""Misbehaviours of the network on the way."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from tests.misbehaviours.table import Misbehaviour, misbehaviour

if TYPE_CHECKING:
    from tunstack import Packet, SynVerdict
    from tunstack.blocking import Host

NETWORK: list[Misbehaviour] = []
network = partial(misbehaviour, NETWORK)


@network(
    title="Only the n-th packet is lost",
    made_of="rule",
    met="A retransmission: the answer is whole, and a little late.",
    robust="Nothing: TCP does it. A timeout below 200 ms to 1 s turns it into a failure.",
    toxiproxy="not possible: it is above TCP",
    scapy="NFQUEUE: count, and `payload.drop()`",
    packetdrill="the script does not acknowledge that segment, and expects it again",
    counted={"rules_dropped": 1},
)
def nth_packet_lost(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.drop(direction="out", protocol="tcp", nth=3)


@network(
    title="A share of all packets is lost",
    made_of="impairment",
    met="Answers are whole, and late by retransmissions. The same seed loses the same packets.",
    robust="Timeouts that allow for a retransmission or two, and few small round trips.",
    toxiproxy="not possible; `toxicity` is a share of connections",
    scapy="NFQUEUE and `random`; or netem beside it",
    packetdrill="not possible: a script is one course of events",
)
def loss(host: Host) -> None:
    host.serve_tcp("http")
    host.impair("loss=5%")


@network(
    title="Latency",
    made_of="impairment",
    met="Each round trip takes 100 ms, that of the handshake too.",
    robust="Reuse connections, pipeline or batch requests.",
    toxiproxy="nearly: `latency=50` in each direction, for data only",
    scapy="NFQUEUE, with a queue of one's own",
    packetdrill="in the script's times",
    takes=0.2,
)
def latency(host: Host) -> None:
    host.serve_tcp("http")
    host.impair("delay=50ms")


@network(
    title="A bottleneck",
    made_of="impairment",
    met="20 kB take 160 ms; packets beyond the queue are lost.",
    robust="Time limits by progress, not for the whole transfer.",
    toxiproxy="nearly: `bandwidth` (KB/s), without loss",
    scapy="not in practice",
    packetdrill="in the script's times",
    takes=0.1,
)
def bottleneck(host: Host) -> None:
    host.serve_tcp("http")
    host.impair("out:rate=1mbit", local_port=80)


@network(
    title="The cable is pulled, and plugged again",
    made_of="verb",
    met="Silence, at any moment, then it goes on by retransmissions.",
    robust="Wait out short interruptions, with a limit on silence.",
    toxiproxy="not possible: `timeout=0` drops data for good, and closes when it is removed",
    scapy="not possible by itself: a firewall rule for the time",
    packetdrill="the script is silent, and expects retransmissions",
    takes=0.1,
)
def pulled_cable(host: Host) -> None:
    def pull(syn: Packet) -> SynVerdict:
        host.unplug()
        threading.Timer(0.1, host.plug).start()
        return "accept"

    host.serve_tcp("http", on_syn=pull)


@network(
    title="Only the answers are lost",
    made_of="rule",
    met="The request arrives and is processed, its answer never comes.",
    robust="Retry only what is idempotent, or with a key by which the server knows it again.",
    toxiproxy="nearly: `timeout=0` downstream; its kernel acknowledges the request",
    scapy="NFQUEUE on one direction",
    packetdrill="the script acknowledges nothing, and answers nothing",
    options={"timeout": 0.3},
    meets=("timeout",),
    counted={"rules_dropped": 1},
)
def one_way(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.drop(direction="out", state="ESTABLISHED")


@network(
    title="A black hole for large packets",
    made_of="rule",
    met="Connecting and small answers work; a large one hangs.",
    robust="A limit on silence while reading. The system: `net.ipv4.tcp_mtu_probing=1`.",
    toxiproxy="not possible",
    scapy="NFQUEUE: `if len(packet) > 1000: payload.drop()`",
    packetdrill="a script of one's own retransmissions",
    options={"timeout": 0.3},
    meets=("timeout",),
    counted={"rules_dropped": 1},
)
def black_hole(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.drop(where=lambda packet: len(packet.data) > 1000)


@network(
    title="A smaller path MTU",
    made_of="rule",
    met="ICMP *fragmentation needed*: the client's system sends smaller segments; all goes well.",
    robust="Nothing in a program; do not filter ICMP.",
    toxiproxy="not possible",
    scapy="by hand, or NFQUEUE: `ICMP(type=3, code=4, nexthopmtu=1000)`",
    packetdrill="`+0 < icmp unreachable frag_needed mtu 1000 [1:1461(1460)]`",
    client="upload",
    options={"size": 100_000},
    counted={"rules_answered": 1},
)
def small_mtu(host: Host) -> None:
    host.serve_tcp("http")
    large = "fragmentation-needed(1000)"
    host.rules.answer(large, direction="in", where=lambda packet: len(packet.data) > 1000)


@network(
    title="Packets come twice",
    made_of="rule",
    met="Nothing: TCP discards duplicates. Over UDP a program sees them.",
    robust="Over UDP: number messages, and discard those that were seen.",
    toxiproxy="not possible",
    scapy="NFQUEUE, and `send()` of a copy",
    packetdrill="the same line twice",
    counted={"rules_duplicated": 1},
)
def duplicates(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.duplicate(protocol="tcp")


@network(
    title="Packets overtake each other",
    made_of="rule",
    met="Duplicate ACKs, perhaps needless retransmissions; the answer is whole.",
    robust="Nothing over TCP; over UDP a program orders what it needs in order.",
    toxiproxy="not possible",
    scapy="NFQUEUE: hold one, and send it later",
    packetdrill="lines in another order",
    counted={"rules_delayed": 1},
)
def reordering(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.delay((0, 0.02), direction="out", octets=(0, 1_000_000))


@network(
    title="A packet is damaged",
    made_of="rule",
    met="Its checksum is wrong: the client's system drops it, and it is sent again.",
    robust="Nothing: TCP does it.",
    toxiproxy="not possible",
    scapy="NFQUEUE: change an octet, and leave the checksum",
    packetdrill="not possible: checksums are computed",
    counted={"rules_damaged": 1},
)
def damaged_packet(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.damage(-1, direction="out", octets=(0, 1), first=1)


@network(
    title="Damage that no checksum sees",
    made_of="rule",
    met="The answer is whole, and an octet of it is wrong, as by a faulty middlebox.",
    robust="Checksums of its own, or TLS, which notices.",
    toxiproxy="with a toxic of one's own, in Go",
    scapy="NFQUEUE: change an octet, `del packet[TCP].chksum`",
    packetdrill="not possible: payloads have no content of one's own",
    meets=("changed",),
    counted={"rules_changed": 1},
)
def undetected_damage(host: Host) -> None:
    host.serve_tcp("http")
    zeros = {"payload": lambda packet: bytes(len(packet.payload))}
    host.rules.change(zeros, direction="out", octets=(10_000, 10_001))
