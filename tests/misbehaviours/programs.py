"""Misbehaviours of the program behind the port, and of the end of a connection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.misbehaviours.table import ANSWER, Misbehaviour, misbehaviour

if TYPE_CHECKING:
    from tunstack.blocking import Host, Stream

PROGRAMS: list[Misbehaviour] = []
programs = partial(misbehaviour, PROGRAMS)


@programs(
    title="A RST in the middle of the answer",
    made_of="behaviour",
    met="ECONNRESET after exactly 4096 octets.",
    robust="What came is not the answer: drop it, or resume from there (`Range`).",
    toxiproxy="nearly: `limit_data=4096` ends there with a FIN; `reset_peer` resets at a time",
    scapy="by hand: speak TCP and HTTP until there, then `TCP(flags='R')`",
    packetdrill="`+0 < R. 4097:4097(0) ack 1 win 0`",
    meets=("reset",),
)
def reset_in_the_middle(host: Host) -> None:
    host.serve_tcp("http", behaviour="reset-after=4096")


@programs(
    title="The answer is cut",
    made_of="behaviour",
    met="End of file after 4096 octets: less than Content-Length.",
    robust="Compare with the length that was announced; end of file alone means nothing.",
    toxiproxy="`limit_data=4096`",
    scapy="by hand: a FIN there",
    packetdrill="`+0 < F. 4097:4097(0) ack 1 win 65535`",
    meets=("cut",),
)
def cut_answer(host: Host) -> None:
    host.serve_tcp("http", behaviour="close-after=4096")


@programs(
    title="An empty answer",
    made_of="behaviour",
    met="`connect()` succeeds, then end of file.",
    robust="Retry what is idempotent: it is how a server ends idle connections.",
    toxiproxy="`limit_data=0`, or an upstream that is down: it accepts, and closes",
    scapy="by hand: a FIN after the handshake",
    packetdrill="`+0 < F. 1:1(0) ack 1 win 65535`",
    meets=("empty",),
)
def empty_answer(host: Host) -> None:
    host.serve_tcp("http", behaviour="close-on-accept")


@programs(
    title="Half-close",
    made_of="behaviour",
    met="End of file after 4096 octets, while the peer still reads what is sent to it.",
    robust="End of file is of one direction: close as well, or the connection stays in FIN-WAIT-2.",
    toxiproxy="not possible: it closes both directions",
    scapy="by hand: a FIN, and ACKs for what comes",
    packetdrill="`+0 < F. 4097:4097(0) ack 1 win 65535`, then ACKs",
    meets=("cut",),
)
def half_close(host: Host) -> None:
    host.serve_tcp("http", behaviour="half-close=4096")


@programs(
    title="A half-open peer",
    made_of="behaviour",
    met="The peer has forgotten the connection, as after a power cut: what is sent draws a RST.",
    robust="A pooled connection may be dead: on a reset of a reused one, retry on a new one.",
    toxiproxy="not possible",
    scapy="by hand: forget it; the kernel sends the RST",
    packetdrill="`+0 < R 1:1(0) win 0` in answer to data",
    client="twice",
    options={"pause": 0.3},
    meets=("whole", "reset"),
)
def half_open(host: Host) -> None:
    host.serve_tcp("http", behaviour="half-open=100ms")


@programs(
    title="The peer vanishes",
    made_of="verb",
    met="Silence in the middle of the exchange: no ACK, no FIN, no RST, for ever.",
    robust="A limit on silence, for reading and for sending; keep-alives while idle.",
    toxiproxy="nearly: `timeout=0`: no data any more, but its kernel acknowledges",
    scapy="by hand: stop",
    packetdrill="the script ends its answers",
    options={"timeout": 0.3},
    meets=("timeout",),
)
def vanished(host: Host) -> None:
    def answer(stream: Stream) -> None:
        stream.receive_some()
        stream.send_all(ANSWER[:-1])
        stream.vanish()

    host.serve_tcp(answer, 80)


@programs(
    title="The answer stalls",
    made_of="behaviour",
    met="4096 octets, then none; the peer's TCP is alive, and keep-alives are answered.",
    robust="A limit on silence: no keep-alive notices.",
    toxiproxy="nearly: `timeout=0`, added at the right moment; `limit_data` closes",
    scapy="by hand: acknowledge, and send nothing",
    packetdrill="the script only acknowledges",
    options={"timeout": 0.3},
    meets=("timeout",),
)
def stalled(host: Host) -> None:
    host.serve_tcp("http", behaviour="stall-after=4096")


@programs(
    title="A trickle",
    made_of="behaviour",
    met="A hundred octets every 10 ms: each read is quick, and the whole takes for ever.",
    robust="A limit on the whole beside that on each read: most libraries have the latter only.",
    toxiproxy="`slicer` with `delay`, or `bandwidth`",
    scapy="by hand",
    packetdrill="in the script's times",
    options={"path": "/bytes/1000"},
    takes=0.1,
)
def trickle(host: Host) -> None:
    host.serve_tcp("http", behaviour="trickle=100/10ms")


@programs(
    title="Slow to answer",
    made_of="behaviour",
    met="Connecting is fast, the answer begins late.",
    robust="A timeout for the first octet; retrying adds load to what is already slow.",
    toxiproxy="`latency` downstream",
    scapy="by hand",
    packetdrill="in the script's times",
    takes=0.1,
)
def slow_answer(host: Host) -> None:
    host.serve_tcp("http", behaviour="slow-answer=100ms")


@programs(
    title="A slow reader",
    made_of="behaviour",
    met="The window closes again and again: `send()` takes as long as the peer reads.",
    robust="Send from a queue with a bound, and drop or pause what fills it.",
    toxiproxy="nearly: `bandwidth` upstream, behind the buffers of its kernel",
    scapy="by hand: small windows",
    packetdrill="small windows in the script",
    client="upload",
    options={"size": 200_000},
    takes=0.1,
)
def slow_reader(host: Host) -> None:
    host.serve_tcp("http", behaviour="slow-reader=8mbit")


@programs(
    title="Nonsense in place of the answer",
    made_of="behaviour",
    met="Octets of no protocol, then end of file.",
    robust="An error about the protocol, with bounded reading; no crash.",
    toxiproxy="with a toxic of one's own, in Go; or another upstream",
    scapy="by hand",
    packetdrill="not possible: payloads have no content of one's own",
    meets=("nonsense",),
)
def nonsense(host: Host) -> None:
    host.serve_tcp("http", behaviour="nonsense=100")


@programs(
    title="The FIN is late",
    made_of="rule",
    met="A client that reads until end of file waits, though all data are there.",
    robust="Stop at Content-Length, or at the last chunk.",
    toxiproxy="`slow_close`",
    scapy="by hand, or NFQUEUE",
    packetdrill="`+.1 < F. 4097:4097(0) ack 1 win 65535`",
    client="until_end",
    takes=0.1,
    counted={"rules_delayed": 1},
)
def late_fin(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.delay(0.1, direction="out", flags="FIN")


@programs(
    title="The FIN never comes",
    made_of="rule",
    met="A client that reads until end of file waits for ever.",
    robust="As above, and a limit on silence.",
    toxiproxy="nearly: `slow_close` with a long `delay`",
    scapy="by hand, or NFQUEUE: drop it",
    packetdrill="the script sends none",
    client="until_end",
    options={"timeout": 0.3},
    meets=("timeout",),
    counted={"rules_dropped": 1},
)
def no_fin(host: Host) -> None:
    host.serve_tcp("http")
    host.rules.drop(direction="out", flags="FIN")


@programs(
    title="A RST in place of the FIN",
    made_of="behaviour",
    met="ECONNRESET where end of file is due; data that were not read yet are lost.",
    robust="An answer that is whole by its own length is whole.",
    toxiproxy="nearly: `reset_peer`, a time after the first data, not at the end",
    scapy="by hand",
    packetdrill="`+0 < R. 4097:4097(0) ack 1 win 0`",
    client="until_end",
    meets=("reset",),
)
def reset_at_the_end(host: Host) -> None:
    host.serve_tcp("http", behaviour="reset-at-end")


@programs(
    title="Idle connections are closed",
    made_of="behaviour",
    met="The second request of a kept connection finds end of file.",
    robust="Look for end of file before a connection is reused, and retry on a new one.",
    toxiproxy="not possible by idleness",
    scapy="by hand",
    packetdrill="in the script's times",
    client="twice",
    options={"pause": 0.2},
    meets=("whole", "empty"),
)
def closed_when_idle(host: Host) -> None:
    host.serve_tcp("http", behaviour="close-idle=50ms")


@programs(
    title="A NAT forgets the idle connection",
    made_of="behaviour",
    met="The second request of a kept connection is never answered.",
    robust="Keep-alives below the NAT's limit, or a short life of pooled connections.",
    toxiproxy="not possible by idleness",
    scapy="by hand",
    packetdrill="in the script's times",
    client="twice",
    options={"pause": 0.2, "timeout": 0.3},
    meets=("whole", "timeout"),
)
def forgotten_when_idle(host: Host) -> None:
    host.serve_tcp("http", behaviour="vanish-idle=50ms")
