"""Misbehaviours of a peer's TCP: sequence numbers, acknowledgments, windows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.misbehaviours.table import ANSWER, Misbehaviour, misbehaviour

if TYPE_CHECKING:
    from tunstack.blocking import Host, Stream

SEGMENTS: list[Misbehaviour] = []
segments = partial(misbehaviour, SEGMENTS)


@segments(
    title="Overlapping data",
    made_of="verb",
    met="The last five octets come again, with other content: the first ones count.",
    robust="Nothing; who inspects traffic must take the same ones.",
    toxiproxy="not possible",
    scapy="by hand: `TCP(seq=seq - 5)/b'WRONG'`",
    packetdrill="`+0 < P. 40:45(5) ack 1 win 65535`, without content of one's own",
    options={"path": "/"},
)
def overlapping_data(host: Host) -> None:
    def answer(stream: Stream) -> None:
        stream.receive_some()
        stream.send_all(ANSWER)
        stream.send_segment(seq=-5, payload=b"WRONG")

    host.serve_tcp(answer, 80)


@segments(
    title="An ACK of what was never sent",
    made_of="verb",
    met="The client's system answers with an ACK, and goes on (RFC 9293 section 3.10.7.4).",
    robust="Nothing.",
    toxiproxy="not possible",
    scapy="by hand: `TCP(flags='A', ack=ack + 1000)`",
    packetdrill="`+0 < . 1:1(0) ack 1001 win 65535`",
    options={"path": "/"},
)
def wrong_ack(host: Host) -> None:
    def answer(stream: Stream) -> None:
        stream.receive_some()
        stream.send_segment(ack=1000)
        stream.send_all(ANSWER)

    host.serve_tcp(answer, 80)


@segments(
    title="A blind RST of an attacker",
    made_of="verb",
    met="In the window, but not at the expected number: a challenge ACK (RFC 5961), no reset.",
    robust="Nothing; a system that resets is faulty.",
    toxiproxy="not possible",
    scapy="by hand, beside any connection: `TCP(flags='R', seq=seq + 100)`",
    packetdrill="`+0 < R 101:101(0) win 0`, and expects `> . 1:1(0) ack 1`",
    options={"path": "/"},
)
def blind_reset(host: Host) -> None:
    def answer(stream: Stream) -> None:
        stream.receive_some()
        stream.send_segment(flags="RST", seq=100)
        stream.send_all(ANSWER)

    host.serve_tcp(answer, 80)


@segments(
    title="Data with a wrong checksum, out of nowhere",
    made_of="verb",
    met="Nothing: the segment is dropped.",
    robust="Nothing.",
    toxiproxy="not possible",
    scapy="by hand: `TCP(chksum=0xBAD)/b'no'`",
    packetdrill="not possible: checksums are computed",
    options={"path": "/"},
)
def wrong_checksum(host: Host) -> None:
    def answer(stream: Stream) -> None:
        stream.receive_some()
        stream.send_segment(payload=b"no", checksum=0xBAD)
        stream.send_all(ANSWER)

    host.serve_tcp(answer, 80)


@segments(
    title="Tiny segments",
    made_of="behaviour",
    met="The answer comes in segments of 100 octets: each read returns little.",
    robust="Never take a read for a message: read until it is whole.",
    toxiproxy="nearly: `slicer` cuts what it writes; the segments are the kernel's",
    scapy="by hand: an MSS option of 100",
    packetdrill="`+0 < S. 0:0(0) ack 1 win 65535 <mss 100>`",
)
def tiny_segments(host: Host) -> None:
    host.serve_tcp("http", behaviour="tiny-mss=100")


@segments(
    title="Data are not acknowledged",
    made_of="verb",
    met="The client's system sends again and again; `send()` blocks once its buffer is full.",
    robust="A timeout for sending; the system: TCP_USER_TIMEOUT.",
    toxiproxy="not possible",
    scapy="by hand: do not answer",
    packetdrill="the script does not acknowledge",
    client="upload",
    options={"size": 20_000_000, "timeout": 0.5},
    meets=("timeout",),
)
def unacknowledged(host: Host) -> None:
    def read(stream: Stream) -> None:
        stream.stop_acknowledging()
        while stream.receive_some():
            pass

    host.serve_tcp(read, 80)


@segments(
    title="A zero window for ever",
    made_of="behaviour",
    met="The peer is there and answers window probes, and takes no more: `send()` blocks.",
    robust="A timeout for sending: keep-alives do not notice it.",
    toxiproxy="nearly: `bandwidth=1` upstream: it closes once the buffers of its kernel are full",
    scapy="by hand: `TCP(window=0)`, and to every probe",
    packetdrill="`+0 < . 1:1(0) ack 1461 win 0`, and to every probe",
    client="upload",
    options={"size": 20_000_000, "timeout": 0.5},
    meets=("timeout",),
)
def zero_window(host: Host) -> None:
    host.serve_tcp("http", behaviour="zero-window-after=10000")


@segments(
    title="A zero window that opens again",
    made_of="behaviour",
    met="`send()` blocks for a while, then goes on.",
    robust="A timeout for sending that is longer than the peer's pauses.",
    toxiproxy="nearly: the same, and removed later",
    scapy="by hand: `TCP(window=0)`, then a window update",
    packetdrill="`win 0`, then `+.1 < . 1:1(0) ack 1461 win 65535`",
    client="upload",
    options={"size": 1_000_000},
    takes=0.1,
)
def zero_window_for_a_while(host: Host) -> None:
    host.serve_tcp("http", behaviour="zero-window-after=10000/100ms")


@segments(
    title="Keep-alives are not answered",
    made_of="behaviour",
    met="A client that idles with SO_KEEPALIVE gets ETIMEDOUT.",
    robust="Set TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT: the defaults are two hours and more.",
    toxiproxy="not possible: the proxy's kernel answers",
    scapy="by hand: do not answer",
    packetdrill="expects `> . 0:0(0) ack 1`, and does not answer",
    client="keep_alive",
    meets=("timeout",),
)
def keep_alive_deaf(host: Host) -> None:
    host.serve_tcp("echo:80", behaviour="keep-alive-deaf")
