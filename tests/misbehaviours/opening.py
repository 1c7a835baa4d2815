"""Misbehaviours of the opening of a connection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.misbehaviours.table import Misbehaviour, misbehaviour

if TYPE_CHECKING:
    from tunstack.blocking import Host

OPENING: list[Misbehaviour] = []
opening = partial(misbehaviour, OPENING)


@opening(
    title="Only the SYN,ACK is late",
    made_of="rule",
    met="`connect()` takes as long; everything after it is fast.",
    robust="Give connecting a timeout of its own, apart from that of the answer.",
    toxiproxy="not possible: the proxy's kernel completes the handshake; `latency` delays data",
    scapy="by hand: `time.sleep(0.1)` before `send(SYN,ACK)`; or NFQUEUE",
    packetdrill="`+.1 < S. 0:0(0) ack 1 win 65535`",
    takes=0.1,
    counted={"rules_delayed": 1},
)
def syn_ack_late(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.delay(0.1, direction="out", flags="SYN,ACK")


@opening(
    title="The second SYN is dropped",
    made_of="rule",
    met="The first connection is well, the second takes a second longer, as its SYN is sent again.",
    robust="Allow at least one retransmission (1 s) before connecting is given up.",
    toxiproxy="not possible",
    scapy="NFQUEUE: count SYNs, and drop the second",
    packetdrill="the script does not answer the second `> S`",
    options={"times": 2, "timeout": 0.3},
    meets=("whole", "timeout"),
    counted={"rules_dropped": 1},
)
def second_syn_dropped(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.drop(direction="in", flags="SYN", nth=2)


@opening(
    title="An ICMP error answers the SYN",
    made_of="rule",
    met="`connect()` fails at once: EHOSTUNREACH.",
    robust="Try the next address at once; it is no timeout, and waiting does not help.",
    toxiproxy="not possible",
    scapy="by hand: `send(IP(...)/ICMP(type=3, code=1)/...)`, with the SYN quoted",
    packetdrill="`+0 < icmp unreachable host_unreachable [0:0(0)]`",
    meets=("unreachable",),
    counted={"rules_answered": 1},
)
def icmp_error_for_a_syn(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.answer("host-unreachable", direction="in", flags="SYN")


@opening(
    title="A firewall prohibits the port",
    made_of="verdict",
    met="ICMP *communication administratively prohibited*: EHOSTUNREACH, over IPv6 EACCES.",
    robust="Report it as such: retrying does not help.",
    toxiproxy="not possible",
    scapy="by hand: `ICMP(type=3, code=13)`",
    packetdrill="`+0 < icmp unreachable packet_filtered [0:0(0)]`",
    meets=("unreachable",),
)
def prohibited(host: Host) -> None:
    host.serve_tcp("http", on_syn=lambda syn: "prohibited")


@opening(
    title="A routing loop",
    made_of="rule",
    met="ICMP *time exceeded*: EHOSTUNREACH.",
    robust="As for every unreachable host: the next address, then a pause.",
    toxiproxy="not possible",
    scapy="by hand: `ICMP(type=11)`",
    packetdrill="`+0 < icmp time_exceeded [0:0(0)]`",
    meets=("unreachable",),
    counted={"rules_answered": 1},
)
def routing_loop(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.answer("time-exceeded", direction="in", flags="SYN")


@opening(
    title="Slow to accept",
    made_of="behaviour",
    met="Each `connect()` takes that long, as with a busy load balancer.",
    robust="Open connections ahead of need, and bound their number.",
    toxiproxy="not possible: it accepts at once",
    scapy="by hand, as the late SYN,ACK",
    packetdrill="as the late SYN,ACK",
    takes=0.1,
)
def slow_connect(host: Host) -> None:
    host.serve_tcp("http", behaviour="slow-accept=100ms")


@opening(
    title="Connecting is never answered",
    made_of="verdict",
    met="`connect()` times out: by default after two minutes on Linux.",
    robust="Set a connect timeout, and retry elsewhere.",
    toxiproxy="not possible; `timeout=0` connects, and then stalls",
    scapy="by hand: answer nothing, and drop the kernel's RST by a firewall rule",
    packetdrill="the script answers no `> S`",
    options={"timeout": 0.3},
    meets=("timeout",),
)
def dropped_connect(host: Host) -> None:
    host.serve_tcp("http")
    host.on_syn(lambda syn: "hold", 80)


@opening(
    title="Connection refused",
    made_of="behaviour",
    met="`connect()` fails at once: ECONNREFUSED.",
    robust="Retry with a growing pause: the service may be starting.",
    toxiproxy="`enabled: false` closes the listener",
    scapy="none needed: a closed port; by hand `TCP(flags='RA')`",
    packetdrill="`+0 < R. 0:0(0) ack 1 win 0`",
    meets=("refused",),
)
def refused(host: Host) -> None:
    host.serve_tcp("http", behaviour="refuse")


@opening(
    title="The first two fail",
    made_of="rule",
    met="Two attempts are refused, the third succeeds.",
    robust="Retry, and do not remember the failure for longer than that.",
    toxiproxy="nearly: disable and enable it from the test, between the attempts",
    scapy="by hand, or NFQUEUE: count SYNs",
    packetdrill="a script of three connections",
    options={"times": 3},
    meets=("refused", "refused", "whole"),
)
def first_two_fail(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.answer("reset", direction="in", flags="SYN", first=2)


@opening(
    title="The backlog is full",
    made_of="behaviour",
    met="One connection opens and is not served; SYNs of others are dropped.",
    robust="A timeout for the answer as well, not only for connecting.",
    toxiproxy="not possible",
    scapy="none needed: `listen(0)` and no `accept()`, in a program of one's own",
    packetdrill="of the listening side only",
    options={"times": 2, "timeout": 0.3},
    meets=("timeout", "timeout"),
)
def full_backlog(host: Host) -> None:
    host.serve_tcp("http", behaviour="full-backlog=1")


@opening(
    title="The SYN,ACK acknowledges what was never sent",
    made_of="conversation",
    met="The client's TCP answers with a RST, and sends its SYN again; the block's end resets it.",
    robust="Nothing but a connect timeout.",
    toxiproxy="not possible",
    scapy="by hand: `TCP(flags='SA', ack=syn.seq + 1000)`",
    packetdrill="`+0 < S. 0:0(0) ack 1000 win 65535`, and expects `> R 1000:1000(0)`",
    meets=("refused",),
)
def wrong_ack_in_the_handshake(host: Host) -> None:
    with host.open_conversation(80) as talk:
        talk.expect("SYN")
        talk.send("SYN,ACK", ack=1000)
        talk.expect("RST", seq=1000)
        talk.expect("SYN", within=5)


@opening(
    title="Reset as soon as it is open",
    made_of="behaviour",
    met="`connect()` succeeds, and the first read or write fails: ECONNRESET. A `connect()` that"
    " does not block, as in curl and asyncio, may fail itself.",
    robust="Nothing was processed if no request was sent: retry.",
    toxiproxy="nearly: `reset_peer` with `timeout=0`, which resets at the first data",
    scapy="by hand: after the handshake `TCP(flags='R')`",
    packetdrill="`+0 < R 1:1(0) win 0` after the handshake",
    meets=("reset",),
    curl=frozenset({7}),
)
def reset_on_accept(host: Host) -> None:
    host.serve_tcp("http", behaviour="reset-on-accept")


@opening(
    title="A middlebox removes the options of SYNs",
    made_of="behaviour",
    met="No window scaling, no SACK, no timestamps, segments of 536 octets: it works, slowly.",
    robust="Nothing in a program; measure throughput with it.",
    toxiproxy="not possible",
    scapy="NFQUEUE: `packet[TCP].options = []`, checksums anew",
    packetdrill="`+0 < S. 0:0(0) ack 1 win 65535`: without options",
)
def no_options(host: Host) -> None:
    host.serve_tcp("http", behaviour="no-options")
