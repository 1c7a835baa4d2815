"""RFC 9293, section by section: what its labels ask for and no other file shows.

Which label is shown where, `make conformance` tells.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import IPv4Interface
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tcp.harness import (
    CONFIG,
    IN_STATE,
    MSS,
    NO_OPTIONS,
    Bench,
    Numbers,
    Offer,
    accepted,
    established,
    fin_wait_2,
    syn_sent,
)
from tests.tcp.inspection import Tcb
from tunstack.ip.datagram import TCP, Datagram
from tunstack.ip.icmp import DESTINATION_UNREACHABLE, HOST_UNREACHABLE, SOURCE_QUENCH, IcmpMessage
from tunstack.stack.flow import Flow
from tunstack.stack.stack import Stack
from tunstack.tcp.congestion import Acknowledgement, Reno
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, URG, Segment
from tunstack.wire import decode_datagram, decode_segment, encode_datagram, encode_segment
from tunstack.wire.icmp import encode_icmp

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.tcp.config import Config

S = State
OURS: Final = IPv4Interface("198.51.100.2/24")
OTHER: Final = IPv4Interface("203.0.113.2/24")
"""The second address of a host with two."""
PEER: Final = IPv4Interface("198.51.100.1/24").ip.packed
OTHER_PEER: Final = IPv4Interface("203.0.113.1/24").ip.packed
BROADCAST: Final = IPv4Interface("198.51.100.255/24").ip.packed
PORT: Final = 80
TEXT: Final = bytes(n % 251 for n in range(80_000))
RENO: Final = replace(CONFIG, congestion=Reno)
BARE: Final = replace(NO_OPTIONS, wnd=65535)

examples = settings(deadline=None, derandomize=True, max_examples=200)


class TwoHomes:
    """A stack with two addresses that listens on `PORT`, and packets in and out as they are."""

    def __init__(self, mtu: int = 1500, config: Config | None = None) -> None:
        self.stack = Stack([OURS, OTHER], mtu, rng=Random(1), config=config)
        self.stack.bind(None, PORT, reuse=True)
        self.listener = self.stack.listen(None, PORT, 5)
        self.now = 0.0

    def arrive(self, packet: bytes) -> list[tuple[Datagram, Segment]]:
        """A packet arrives; returns what the stack sends, which is TCP."""
        self.stack.handle_packet(packet, self.now)
        return self.sent()

    def sent(self) -> list[tuple[Datagram, Segment]]:
        """What the stack sends now."""
        self.stack.flush(self.now)
        packets = [decode_datagram(b"".join(packet)) for packet in self.stack.outgoing]
        self.stack.outgoing.clear()
        return [(packet, decode_segment(packet)[2]) for packet in packets]

    def connect(self, remote: bytes = PEER, **where: Any) -> Flow:
        """Open a connection to port 7; its SYN is sent and answered."""
        flow = self.stack.connect(remote, 7, self.now, **where)
        [(_, syn)] = self.sent()
        self.arrive(packet_for(flow, Segment(0, syn.seq + 1, SYN | ACK, 65535, mss=1460)))
        assert flow.state is S.ESTABLISHED
        return flow

    def advance(self, seconds: float) -> None:
        """Let time pass until a timer has fired, `seconds` at the most."""
        deadline = self.stack.deadline()
        assert deadline is not None
        assert deadline <= self.now + seconds
        self.now = deadline
        self.stack.handle_timers(self.now)


def tcp_packet(
    src: bytes, dst: bytes, segment: Segment, *, sport: int = 4000, dport: int = PORT
) -> bytes:
    return b"".join(encode_segment(src, dst, sport, dport, segment))


def with_ip_options(packet: bytes, options: bytes) -> bytes:
    """The same datagram with IP options in its header."""
    return b"".join(encode_datagram(replace(decode_datagram(packet), options=options)))


def packet_for(flow: Flow, segment: Segment) -> bytes:
    """A segment of the peer of `flow`."""
    name = flow.four_tuple
    return tcp_packet(
        name.remote, name.local, segment, sport=name.remote_port, dport=name.local_port
    )


def error_about(flow: Flow, kind: int, code: int) -> bytes:
    """An ICMP error about the oldest segment of `flow` that is under way."""
    name = flow.four_tuple
    head = name.local_port.to_bytes(2, "big") + name.remote_port.to_bytes(2, "big")
    head += Tcb(flow).snd_una.to_bytes(4, "big")
    quoted = Datagram(name.local, name.remote, TCP, head)
    message = IcmpMessage(kind, code, quoted=quoted)
    return b"".join(encode_icmp(PEER, name.local, message))


# 3.1: the header


@pytest.mark.rfc("MUST-1", "REC-1")
@pytest.mark.parametrize("wnd", [0x7FFF, 0x8000, 0xFFFF])
def test_a_window_with_the_highest_bit_set_is_a_large_one(wnd: int, numbers: Numbers) -> None:
    config = replace(CONFIG, initial_window=100, nodelay=True)
    bench = established(config=config, peer=replace(BARE, wnd=wnd), **numbers)
    bench.send(TEXT)
    assert sum(len(sent.segment.payload) for sent in bench.drain()) == wnd - wnd % 1000


@pytest.mark.rfc("REC-1")
def test_a_window_beyond_16_bits_is_used_to_its_last_segment() -> None:
    config = replace(CONFIG, initial_window=1000, nodelay=True, window_scaling=True)
    bench = established(config=config, peer=Offer(wscale=4, wnd=4000))
    bench.arrive(ACK, wnd=4375)  # 70,000 octets.
    bench.send(TEXT)
    assert sum(len(sent.segment.payload) for sent in bench.drain()) == 70_000


UNKNOWN_OPTION: Final = b"\xfd\x04\xca\xfe"


@pytest.mark.rfc("MUST-5")
@pytest.mark.parametrize(
    ("make", "flags", "payload", "after"),
    [
        (established, ACK, b"", S.ESTABLISHED),
        (established, ACK | PSH, b"data", S.ESTABLISHED),
        (established, ACK | URG, b"data", S.ESTABLISHED),
        (established, ACK | FIN, b"", S.CLOSE_WAIT),
        (established, RST, b"", S.CLOSED),
        (fin_wait_2, ACK | FIN, b"", S.TIME_WAIT),
    ],
)
def test_options_may_come_with_any_segment(
    make: Callable[..., Bench], flags: int, payload: bytes, after: State
) -> None:
    """Those of a SYN as well: out of place they mean nothing, and do no harm."""
    bench = make(peer=BARE)
    bench.arrive(flags, payload=payload, mss=100, wscale=3, sack_permitted=True, ts_val=7)
    bench.drain()
    bench.expect_state(after)
    assert bench.snd_mss == MSS
    if payload:
        assert bench.receive() == payload


@pytest.mark.rfc("MUST-5", "MUST-6")
@pytest.mark.parametrize("flags", [SYN, SYN | ACK, ACK, ACK | PSH, ACK | FIN, RST | ACK])
def test_an_unknown_option_changes_nothing_in_any_segment(flags: int) -> None:
    packet = bytearray(tcp_packet(PEER, OURS.ip.packed, Segment(5, 6, flags, 1000, mss=1460)))
    known = decode_segment(decode_datagram(packet))[2]
    # The same segment, its MSS option followed by one that nobody knows.
    segment = packet[20:44] + UNKNOWN_OPTION
    segment[12] = 7 << 4
    segment[16:18] = bytes(2)
    datagram = Datagram(PEER, OURS.ip.packed, TCP, with_checksum(bytes(segment)))
    assert decode_segment(datagram)[2] == known


def with_checksum(segment: bytes) -> bytes:
    """A segment of PEER's for us, with its checksum, whose field is zero."""
    pseudo = PEER + OURS.ip.packed + TCP.to_bytes(2, "big") + len(segment).to_bytes(2, "big")
    total = sum(
        int.from_bytes((pseudo + segment)[at : at + 2], "big")
        for at in range(0, len(pseudo + segment), 2)
    )
    return segment[:16] + (-total % 0xFFFF).to_bytes(2, "big") + segment[18:]


words = st.integers(0, 2**32 - 1)
segments = st.builds(
    Segment,
    words,
    words,
    st.integers(0, 255),
    mss=st.none() | st.integers(0, 65535),
    wscale=st.none() | st.integers(0, 14),
    sack_permitted=st.booleans(),
    sack=st.lists(st.tuples(words, words), max_size=4).map(tuple),
    ts_val=st.none() | words,
    ts_ecr=words,
)


@pytest.mark.rfc("MUST-68", "MUST-69")
@examples
@given(segments)
def test_options_sent_have_lengths_and_nothing_but_zeros_behind_their_end(
    segment: Segment,
) -> None:
    options = tcp_packet(PEER, OURS.ip.packed, segment)[40:]
    kinds = []
    while options and options[0]:
        kinds.append(options[0])
        size = 1 if options[0] == 1 else options[1]
        assert options[0] == 1 or 2 <= size <= len(options)
        options = options[size:]
    assert not any(options)
    assert (2 in kinds, 3 in kinds) == (segment.mss is not None, segment.wscale is not None)
    assert (4 in kinds, 5 in kinds) == (segment.sack_permitted, bool(segment.sack))
    assert (8 in kinds) == (segment.ts_val is not None)


# 3.2: the MSS option


@pytest.mark.rfc("MUST-65")
@pytest.mark.parametrize("make", [established, accepted])
def test_the_mss_is_announced_in_syns_alone(make: Callable[..., Bench]) -> None:
    bench = make()
    sent = []
    for act in (
        lambda: bench.send(TEXT[:3000]),
        lambda: bench.arrive(ACK, seq=5, ack=1, payload=b"beyond a gap"),
        lambda: bench.wait(),  # Once more.
        lambda: bench.shutdown(),
        lambda: bench.abort(),
    ):
        act()
        sent += [segment for _, segment in bench.drain()]
    assert {segment.flags & (PSH | FIN | RST) for segment in sent} == {0, PSH, FIN, RST}
    assert {segment.mss for segment in sent} == {None}


# 3.5 and 3.6: opening and closing


@pytest.mark.rfc("MUST-12")
@pytest.mark.parametrize(
    ("flags", "error"), [(FIN | ACK, None), (RST, errno.ECONNRESET)], ids=["FIN", "RST"]
)
def test_the_application_can_distinguish_close_from_abort(flags: int, error: int | None) -> None:
    bench = established()
    bench.arrive(flags)
    bench.drain()
    if error is None:
        assert bench.receive() == b""
    else:
        with pytest.raises(ConnectionResetError) as caught:
            bench.receive()
        assert caught.value.errno == error


# 3.7.1: the maximum segment size


@pytest.mark.rfc("MUST-67", "SHLD-5", "SHLD-6", "MUST-14", "6691:2")
@pytest.mark.parametrize("mtu", [68, 576, 1400, 1500, 9000, 65535])
def test_the_mss_announced_is_what_a_packet_of_the_link_can_bring(mtu: int) -> None:
    """The MTU less both headers without their options (RFC 6691 section 2)."""
    home = TwoHomes(mtu)
    home.stack.connect(PEER, 7, 0.0)
    [(_, syn)] = home.sent()
    [(_, syn_ack)] = home.arrive(tcp_packet(PEER, OURS.ip.packed, Segment(1, flags=SYN)))
    assert (syn.mss, syn_ack.mss) == (mtu - 40, mtu - 40)


# 3.8.1: the retransmission timeout


@pytest.mark.rfc("MUST-18", "MUST-19", "6298:2.2", "6298:3", "6298:5.5")
def test_the_timeout_follows_the_measurement_and_doubles_and_karn_is_heeded(
    numbers: Numbers,
) -> None:
    bench = syn_sent(config=RENO, peer=BARE, **numbers)
    bench.advance(0.5)
    bench.arrive_syn(SYN | ACK)
    bench.expect(ACK)
    bench.send(b"first")
    bench.expect(ACK | PSH, payload=b"first")
    # SRTT = R, RTTVAR = R / 2, RTO = SRTT + 4 RTTVAR.
    for wait in (1.5, 3.0):
        at = bench.now + wait
        bench.wait()
        bench.expect(ACK | PSH, at=at, payload=b"first", note="retransmission: timeout")
    # Nobody knows which of the three this acknowledges: it measures nothing, and the back-off
    # stays until something is measured that was sent once.
    bench.advance(0.1)
    bench.arrive(ACK)
    bench.send(b"second")
    bench.expect(ACK | PSH, payload=b"second")
    at = bench.now + 6.0
    bench.wait()
    bench.expect(ACK | PSH, at=at, payload=b"second", note="retransmission: timeout")


@pytest.mark.rfc("MAY-4", "6864:4.1")
def test_a_retransmission_has_the_identification_of_the_original() -> None:
    """Zero, as in every datagram that must not be fragmented: nobody puts it together again."""
    home = TwoHomes()
    flow = home.connect()
    flow.send(b"x", home.now)
    home.stack.mark_pending(flow)
    [(original, _)] = home.sent()
    home.advance(5.0)
    [(again, _)] = home.sent()
    assert Tcb(flow).retransmissions == 1
    assert (again.identification, again.dont_fragment) == (original.identification, True)
    assert again == original


# 3.8.2: congestion control


def flight(bench: Bench) -> int:
    """How many segments the bench sends now."""
    return len(bench.drain())


def round_trip(bench: Bench, segments: int) -> int:
    """Each of so many segments is acknowledged; returns how many are sent meanwhile."""
    sent = 0
    for _ in range(segments):
        una = bench.snd_una
        bench.arrive(ACK, ack=(una + MSS) % 2**32)
        sent += flight(bench)
    return sent


@pytest.mark.rfc("MUST-19", "5681:3.1", "6928:2")
def test_slow_start_then_congestion_avoidance(numbers: Numbers) -> None:
    bench = established(config=RENO, peer=Offer(sack_permitted=False, wscale=7), **numbers)
    bench.arrive(ACK)
    bench.send(bytes(500_000))
    assert flight(bench) == 10
    bench.arrive(ACK)  # Of all ten: slow start doubles.
    assert flight(bench) == 20
    bench.wait()
    bench.expect(ACK, size=MSS, note="retransmission: timeout")  # One segment; threshold 10.
    bench.arrive(ACK)
    flights = [flight(bench)]
    for _ in range(6):
        flights.append(round_trip(bench, flights[-1]))
    assert flights == [
        2,
        4,
        8,
        10,
        11,
        12,
        13,
    ]  # Doubled up to the threshold, then one a round trip.


@pytest.mark.rfc("MAY-18")
def test_another_congestion_control_takes_renos_place() -> None:
    class ThreeSegments:
        """Three, whatever happens."""

        def __init__(self) -> None:
            self.cwnd = 0
            self.ssthresh = 1 << 30

        def set_mss(self, mss: int, initial_segments: int) -> None:
            self.cwnd = 3 * mss

        def acknowledged(self, ack: Acknowledgement) -> None: ...
        def loss(self, flight_size: int, now: float) -> None: ...
        def marked(self, flight_size: int, now: float) -> None: ...
        def change_mss(self, mss: int) -> None: ...
        def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None: ...
        def undo(self, cwnd: int, ssthresh: int) -> None: ...
        def idle(self) -> None: ...

    bench = established(config=replace(CONFIG, congestion=ThreeSegments))
    bench.send(TEXT)
    for _ in range(5):
        assert flight(bench) == 3
        bench.arrive(ACK)
    bench.drain()


# 3.8.6.1: windows that are closed


@pytest.mark.rfc("MAY-8")
def test_our_window_stays_closed_until_the_application_reads(numbers: Numbers) -> None:
    bench = established(config=replace(CONFIG, receive_buffer=4096), **numbers)
    bench.arrive(ACK, payload=bytes(4096))
    bench.expect(ACK, ack=4097, wnd=0)
    for _ in range(1000):
        bench.advance(60.0)
        bench.arrive(ACK, payload=b"?")
        bench.expect(ACK, ack=4097, wnd=0)
    bench.expect_state(S.ESTABLISHED)
    assert len(bench.receive()) == 4096
    bench.expect(ACK, ack=4097, wnd=32)


# 3.9.1: the calls of the application


@pytest.mark.rfc("MUST-41", "MUST-42")
@pytest.mark.parametrize("state", [S.SYN_SENT, S.SYN_RECEIVED])
def test_a_passive_open_on_the_port_of_an_open_under_way(state: State) -> None:
    home = TwoHomes()
    port = 5000
    flow = home.stack.connect(PEER, 7, 0.0, local_port=port)
    home.sent()
    if state is S.SYN_RECEIVED:
        home.arrive(packet_for(flow, Segment(1, flags=SYN, wnd=65535)))
    assert flow.state is state
    home.stack.bind(None, port, reuse=True)
    listener = home.stack.listen(None, port, 5)
    assert flow.state is state
    # Both are there: a SYN from elsewhere is the listener's, what the peer answers is the flow's.
    syn = Segment(9, flags=SYN, wnd=65535)
    [(_, answer)] = home.arrive(tcp_packet(PEER, OURS.ip.packed, syn, sport=8, dport=port))
    assert answer.flags == SYN | ACK
    home.arrive(
        tcp_packet(
            PEER,
            OURS.ip.packed,
            Segment(10, answer.seq + 1, ACK, 65535),
            sport=8,
            dport=port,
        )
    )
    assert len(listener) == 1
    theirs = Segment(1, Tcb(flow).snd_nxt, SYN | ACK, 65535)
    home.arrive(packet_for(flow, theirs))
    assert flow.state is S.ESTABLISHED


@pytest.mark.rfc("MUST-43")
@pytest.mark.parametrize("local", [OURS, OTHER])
def test_an_open_comes_from_the_address_that_it_names(local: IPv4Interface) -> None:
    home = TwoHomes()
    home.stack.connect(PEER, 7, 0.0, local=local.ip.packed)
    [(datagram, _)] = home.sent()
    assert datagram.src == local.ip.packed


@pytest.mark.rfc("MUST-44")
@pytest.mark.parametrize(("remote", "local"), [(PEER, OURS), (OTHER_PEER, OTHER)])
def test_the_address_of_an_open_that_names_none_follows_from_the_remote(
    remote: bytes, local: IPv4Interface
) -> None:
    home = TwoHomes()
    home.stack.connect(remote, 7, 0.0)
    [(datagram, _)] = home.sent()
    assert datagram.src == local.ip.packed


@pytest.mark.rfc("MUST-45")
@pytest.mark.parametrize("local", [OURS, OTHER])
def test_all_segments_of_a_connection_come_from_one_address(local: IPv4Interface) -> None:
    """Whichever the remote's network would suggest, opened by either side."""
    home = TwoHomes()
    sources = set()
    flow = home.connect(local=local.ip.packed)
    syn = Segment(9, flags=SYN, wnd=65535)
    [(datagram, answer)] = home.arrive(tcp_packet(PEER, local.ip.packed, syn))
    sources.add(datagram.src)
    ack = Segment(10, answer.seq + 1, ACK, 65535)
    home.arrive(tcp_packet(PEER, local.ip.packed, ack))
    passive = home.listener.accept()
    assert isinstance(passive, Flow)
    for each in (flow, passive):
        each.send(b"x", home.now)
        home.stack.mark_pending(each)
        sources |= {datagram.src for datagram, _ in home.sent()}
        home.advance(5.0)  # Once more.
        sources |= {datagram.src for datagram, _ in home.sent()}
        each.abort()
        home.stack.mark_pending(each)
        sources |= {datagram.src for datagram, _ in home.sent()}
    assert sources == {local.ip.packed}


@pytest.mark.rfc("MAY-15", "MUST-61")
def test_whatever_is_sent_is_pushed_unasked() -> None:
    bench = established(config=replace(CONFIG, nodelay=True))
    for text in (b"a", TEXT[:MSS], TEXT[:2500]):
        bench.send(text)
        *before, last = [sent.segment.flags for sent in bench.drain()]
        assert last == ACK | PSH
        assert set(before) <= {ACK}


@pytest.mark.rfc("MAY-17")
@pytest.mark.parametrize("flags", [ACK, ACK | PSH])
def test_data_is_passed_up_with_and_without_psh(flags: int) -> None:
    bench = established()
    bench.arrive(flags, payload=b"data")
    assert bench.connection.readable
    assert bench.receive() == b"data"
    bench.drain()
    bench.advance(1.0)
    bench.expect(ACK, ack=5)


@pytest.mark.rfc("MAY-14")
def test_what_is_queued_is_sent_at_close_and_dropped_at_abort_alone() -> None:
    for end in (Bench.close, Bench.abort):
        bench = established(peer=Offer(wnd=1000))
        bench.send(TEXT[:3000])
        bench.expect(ACK, payload=TEXT[:1000])
        end(bench)
        if end is Bench.abort:
            bench.expect(RST)
            continue
        bench.arrive(ACK)
        bench.expect(ACK, payload=TEXT[1000:2000])
        bench.arrive(ACK)
        bench.expect(ACK | PSH, payload=TEXT[2000:3000])
        bench.arrive(ACK)
        bench.expect(ACK | FIN)


# 3.9.2: the layer below

IP_OPTIONS: Final = {
    "unknown": b"\x9e\x04\xca\xfe",
    "timestamp": b"\x44\x0c\x05\x00" + bytes(8),
    "record route": b"\x07\x0b\x04" + bytes(8) + b"\x00",
    "loose source route, completed": b"\x83\x07\x08" + OTHER_PEER + b"\x00",
    "security": b"\x82\x0b" + bytes(9) + b"\x00",
}


@pytest.mark.parametrize(
    "option",
    [
        pytest.param("unknown", marks=pytest.mark.rfc("MUST-50")),
        pytest.param("timestamp", marks=pytest.mark.rfc("MUST-50", "MAY-10")),
        pytest.param("record route", marks=pytest.mark.rfc("MUST-50", "MAY-11")),
        "loose source route, completed",
        "security",
    ],
)
def test_ip_options_are_ignored(option: str) -> None:
    """A whole exchange with one in each packet; what is sent has none, and goes where it would."""
    home = TwoHomes()
    options = IP_OPTIONS[option]
    syn = tcp_packet(PEER, OURS.ip.packed, Segment(9, flags=SYN, wnd=65535))
    [(datagram, answer)] = home.arrive(with_ip_options(syn, options))
    assert (datagram.dst, datagram.options, answer.flags) == (PEER, b"", SYN | ACK)
    data = Segment(10, answer.seq + 1, ACK | PSH, 65535, payload=b"hello")
    home.arrive(with_ip_options(tcp_packet(PEER, OURS.ip.packed, data), options))
    flow = home.listener.accept()
    assert flow is not None
    assert flow.receive(100) == b"hello"


@pytest.mark.rfc("MUST-54", "MUST-56")
def test_an_icmp_error_is_for_the_connection_that_it_is_about() -> None:
    home = TwoHomes()
    flows = [home.connect(local_port=port) for port in (5000, 5001)]
    for flow in flows:
        flow.send(b"x", home.now)
        home.stack.mark_pending(flow)
    home.sent()
    home.arrive(error_about(flows[1], DESTINATION_UNREACHABLE, HOST_UNREACHABLE))
    assert flows[0].soft_error is None
    assert flows[1].soft_error is not None
    assert flows[1].soft_error.errno == errno.EHOSTUNREACH
    assert [flow.state for flow in flows] == [S.ESTABLISHED] * 2


@pytest.mark.rfc("MUST-56")
@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 1), (3, 5), (11, 0), (11, 1), (12, 0)])
def test_soft_icmp_errors_abort_nothing(kind: int, code: int) -> None:
    """Unreachable with these codes, time exceeded, a parameter problem."""
    home = TwoHomes()
    flow = home.connect()
    flow.send(b"x", home.now)
    home.stack.mark_pending(flow)
    home.sent()
    assert home.arrive(error_about(flow, kind, code)) == []
    assert flow.state is S.ESTABLISHED
    home.arrive(packet_for(flow, Segment(1, Tcb(flow).snd_nxt, ACK, 65535, payload=b"here")))
    assert flow.receive(10) == b"here"
    assert Tcb(flow).outstanding == 0


@pytest.mark.rfc("MUST-55", "6633:3")
def test_source_quench_changes_nothing() -> None:
    home = TwoHomes()
    flow = home.connect()
    flow.send(bytes(20_000), home.now)
    home.stack.mark_pending(flow)
    home.sent()
    before = flow.info()
    assert home.arrive(error_about(flow, SOURCE_QUENCH, 0)) == []
    assert flow.info() == before


@pytest.mark.rfc("MUST-57", "1122:3.2.1.3")
@pytest.mark.parametrize("dst", [BROADCAST, b"\xff" * 4, b"\xe0\x00\x00\x01"])
def test_a_syn_to_many_is_dropped_without_a_word(dst: bytes) -> None:
    home = TwoHomes()
    assert home.arrive(tcp_packet(PEER, dst, Segment(9, flags=SYN, wnd=65535))) == []
    assert [*home.stack.demux.connections] == []


@pytest.mark.rfc("MUST-63", "1122:3.2.1.3")
@pytest.mark.parametrize(
    "src",
    [bytes(4), b"\xff" * 4, b"\xe0\x00\x00\x01", b"\x7f\x00\x00\x01", BROADCAST, OURS.ip.packed],
)
def test_a_syn_from_an_invalid_source_is_dropped(src: bytes) -> None:
    home = TwoHomes()
    assert home.arrive(tcp_packet(src, OURS.ip.packed, Segment(9, flags=SYN, wnd=65535))) == []
    assert [*home.stack.demux.connections] == []


# 3.10.7.4: what arrives


@pytest.mark.rfc("MUST-66")
@pytest.mark.parametrize("state", [S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2])
def test_a_reset_counts_in_every_state_whose_window_may_be_zero(
    state: State, numbers: Numbers
) -> None:
    bench = IN_STATE[state](config=replace(CONFIG, receive_buffer=4096), **numbers)
    bench.arrive(ACK, ack=1, payload=bytes(4096))
    bench.drain()
    assert bench.rcv_wnd == 0
    bench.arrive(RST)
    bench.expect_state(S.CLOSED)
