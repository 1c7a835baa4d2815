"""The stack around the connections: who gets what, ICMP errors, and who may be talked to."""

from __future__ import annotations

import errno
from ipaddress import IPv4Interface
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tests.tcp.inspection import Tcb
from tests.tcp.stack_bench import HERE, PEER, PORT, StackBench
from tunstack.ip import icmp
from tunstack.ip.datagram import Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.stack.stack import Stack
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, Segment
from tunstack.wire import decode_datagram, decode_segment, encode_icmp, encode_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.stack.flow import Flow
    from tunstack.stack.observation import Observation

S = State
ROUTER: Final = b"\xc6\x33\x64\x09"
OURS: Final = HERE.ip.packed


def connecting() -> tuple[StackBench, Flow]:
    bench = StackBench()
    flow = bench.stack.connect(PEER, 7, bench.now, local_port=40000)
    bench.flush()
    bench.drain()
    return bench, flow


def report(bench: StackBench, flow: Flow, kind: int, code: int, *, seq: int | None = None) -> None:
    """A router complains about a segment of the flow's."""
    name = flow.four_tuple
    segment = Segment(Tcb(flow).snd_una if seq is None else seq % 2**32, flags=ACK)
    packet = b"".join(
        encode_segment(name.local, name.remote, name.local_port, name.remote_port, segment)
    )
    quoted = Datagram(name.local, name.remote, 6, packet[20:28])
    message = IcmpMessage(kind, code, quoted=quoted)
    bench.stack.handle_packet(b"".join(encode_icmp(ROUTER, OURS, message)), bench.now)
    bench.flush()


# ICMP errors (RFC 9293 section 3.9.2.2)


@pytest.mark.parametrize(
    ("kind", "code", "number"),
    [
        (icmp.DESTINATION_UNREACHABLE, 0, errno.ENETUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 1, errno.EHOSTUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 2, errno.ENOPROTOOPT),
        (icmp.DESTINATION_UNREACHABLE, 3, errno.ECONNREFUSED),
        (icmp.DESTINATION_UNREACHABLE, 5, errno.EOPNOTSUPP),
        (icmp.DESTINATION_UNREACHABLE, 6, errno.ENETUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 7, errno.EHOSTDOWN),
        (icmp.DESTINATION_UNREACHABLE, 8, errno.ENONET),
        (icmp.DESTINATION_UNREACHABLE, 9, errno.ENETUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 10, errno.EHOSTUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 11, errno.ENETUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 12, errno.EHOSTUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 13, errno.EHOSTUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 14, errno.EHOSTUNREACH),
        (icmp.DESTINATION_UNREACHABLE, 15, errno.EHOSTUNREACH),
        (icmp.TIME_EXCEEDED, 0, errno.EHOSTUNREACH),
        (icmp.PARAMETER_PROBLEM, 0, errno.EPROTO),
        (icmp.PARAMETER_PROBLEM, 1, errno.EPROTO),
    ],
)
def test_icmp_error_ends_an_attempt(kind: int, code: int, number: int) -> None:
    bench, flow = connecting()
    report(bench, flow, kind, code)
    assert flow.state is S.CLOSED
    assert flow.error is not None
    assert flow.error.errno == number
    assert len(bench.stack.demux.connections) == 0


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (icmp.SOURCE_QUENCH, 0),  # MUST-55
        (icmp.REDIRECT, 1),
        (icmp.DESTINATION_UNREACHABLE, icmp.FRAGMENTATION_NEEDED),
        (icmp.DESTINATION_UNREACHABLE, 16),  # There is none.
        (icmp.DESTINATION_UNREACHABLE, 255),
    ],
)
def test_icmp_message_that_changes_nothing(kind: int, code: int) -> None:
    bench, flow = connecting()
    report(bench, flow, kind, code)
    assert flow.state is S.SYN_SENT
    assert flow.soft_error is None


def test_reassembly_time_exceeded_does_not_end_the_connection() -> None:
    """It goes again; meanwhile the application may know of it (SHLD-25)."""
    bench, flow = connecting()
    report(bench, flow, icmp.TIME_EXCEEDED, icmp.REASSEMBLY_TIME_EXCEEDED)
    assert flow.state is S.SYN_SENT
    assert flow.soft_error is not None
    assert flow.soft_error.errno == errno.EHOSTUNREACH


@pytest.mark.parametrize("beside", [-1, 1, 1000])
def test_icmp_error_about_what_is_not_outstanding_is_a_guess(beside: int) -> None:
    """RFC 5927 section 4.1."""
    bench, flow = connecting()
    report(bench, flow, icmp.DESTINATION_UNREACHABLE, 1, seq=Tcb(flow).snd_una + beside)
    assert flow.state is S.SYN_SENT
    assert bench.stack.statistics()["icmp_unmatched"] == 1


def test_icmp_error_reaches_its_connection_only() -> None:
    """MUST-54."""
    bench, flow = connecting()
    other = bench.stack.connect(PEER, 8, bench.now, local_port=40000)
    bench.flush()
    bench.drain()
    report(bench, other, icmp.DESTINATION_UNREACHABLE, 1)
    assert (flow.state, other.state) == (S.SYN_SENT, S.CLOSED)


def test_icmp_error_about_a_flow_that_is_not_here_is_shown_to_who_may_have_it() -> None:
    """Several stacks with one address, of which the network knows nothing."""
    (bench, flow), other = connecting(), StackBench()
    forwarded: list[bytes] = []
    other.stack.paths.forward = bench.stack.paths.forward = forwarded.append
    report(other, flow, icmp.DESTINATION_UNREACHABLE, 1)
    assert len(forwarded) == 1
    other.stack.paths.handle_forwarded(forwarded[0], 0.0)
    bench.stack.paths.handle_forwarded(b"no packet at all", 0.0)
    assert [*bench.stack.demux.connections] == [flow]
    bench.stack.paths.handle_forwarded(forwarded[0], 0.0)
    bench.flush()
    assert flow.state is S.CLOSED
    assert [each.stack.statistics()["icmp_unmatched"] for each in (bench, other)] == [0, 1]


def test_an_icmp_error_about_a_local_flow_is_not_forwarded() -> None:
    bench, flow = connecting()
    forwarded: list[bytes] = []
    bench.stack.paths.forward = forwarded.append
    report(bench, flow, icmp.DESTINATION_UNREACHABLE, 1, seq=Tcb(flow).snd_una + 1)
    report(bench, flow, icmp.DESTINATION_UNREACHABLE, 1)
    assert flow.state is S.CLOSED
    assert forwarded == []


def test_a_stack_that_only_listens_does_not_connect() -> None:
    bench = StackBench()
    bench.stack.opening.only_listens = True
    with pytest.raises(OSError, match="only listens") as caught:
        bench.stack.connect(PEER, 7, bench.now)
    assert caught.value.errno == errno.EOPNOTSUPP
    bench.handshake()
    assert bench.accept() is not None


def test_icmp_error_later_is_soft() -> None:
    """MUST-56."""
    bench = StackBench()
    bench.handshake()
    flow = bench.accept()
    assert flow is not None
    flow.send(b"x", bench.now)
    bench.stack.mark_pending(flow)
    bench.flush()
    bench.expect(ACK | PSH, seq=1, payload=b"x")
    report(bench, flow, icmp.DESTINATION_UNREACHABLE, 1)
    assert flow.state is S.ESTABLISHED
    assert flow.soft_error is not None
    assert flow.info().soft_error is flow.soft_error


# Who may be talked to


@pytest.mark.parametrize("remote", [(198, 51, 100, 255), (224, 0, 0, 1), (255, 255, 255, 255)])
def test_open_to_no_single_host_is_refused(remote: tuple[int, ...]) -> None:
    """MUST-46."""
    bench = StackBench()
    with pytest.raises(OSError, match="unreachable") as error:
        bench.stack.connect(bytes(remote), 7, bench.now)
    assert error.value.errno == errno.ENETUNREACH
    assert len(bench.stack.demux.connections) == 0


def test_port_of_an_open_attempt_can_be_listened_on() -> None:
    """MUST-42."""
    bench, flow = connecting()
    bench.stack.bind(None, 40000, reuse=True)
    listener = bench.stack.listen(None, 40000, 5)
    bench.arrive(SYN, sport=7, dport=40000, seq=100)  # Crosses ours: it is for the attempt.
    bench.drain()
    assert flow.state is S.SYN_RECEIVED
    bench.arrive(SYN, sport=8, dport=40000, seq=100)
    bench.drain()
    bench.arrive(ACK, sport=8, dport=40000, seq=101, ack=1)
    assert len(listener) == 1


def test_open_to_port_0_is_refused() -> None:
    bench = StackBench()
    with pytest.raises(ConnectionRefusedError):
        bench.stack.connect(PEER, 0, bench.now)


def test_the_address_in_the_network_of_the_peer_is_chosen() -> None:
    """MUST-44; the first where none is."""
    interfaces = [IPv4Interface("198.51.100.130/28"), IPv4Interface("198.51.100.2/28")]
    stack = Stack(interfaces, 1500, rng=Random(1))
    assert stack.addresses.source_for(PEER) == OURS
    assert stack.addresses.source_for(bytes((198, 51, 100, 135))) == interfaces[0].ip.packed
    assert stack.addresses.source_for(bytes((198, 51, 100, 200))) == interfaces[0].ip.packed


@pytest.mark.parametrize(
    ("src", "dst", "reason"),
    [
        (PEER, b"\xc6\x33\x64\xff", "not_our_address"),  # MUST-57
        (PEER, b"\xc6\x33\x64\x03", "not_our_address"),
        (b"\xe0\x00\x00\x01", OURS, "bad_source_address"),  # MUST-63
        (b"\xc6\x33\x64\xff", OURS, "bad_source_address"),
        (b"\x7f\x00\x00\x01", OURS, "bad_source_address"),
        (OURS, OURS, "bad_source_address"),
    ],
)
def test_syn_from_or_to_no_single_host_is_dropped(src: bytes, dst: bytes, reason: str) -> None:
    bench = StackBench()
    packet = encode_segment(src, dst, 4000, PORT, Segment(0, flags=SYN))
    bench.stack.handle_packet(b"".join(packet), bench.now)
    bench.flush()
    bench.expect_nothing()
    assert bench.stack.statistics()[reason] == 1
    assert len(bench.stack.demux.connections) == 0


# Segments of no connection (section 3.10.7.1 and 2)


def test_segment_to_a_closed_port_draws_a_reset() -> None:
    bench = StackBench()
    bench.arrive(SYN, dport=81, seq=100)
    bench.expect(RST | ACK, seq=0, ack=101)
    bench.arrive(ACK | PSH, dport=81, seq=100, ack=500, payload=b"hello")
    bench.expect(RST, seq=500)
    bench.arrive(RST, dport=81, seq=100)
    bench.expect_nothing()
    bench.arrive(FIN, dport=81, seq=100)
    bench.expect(RST | ACK, seq=0, ack=101)


def test_an_unmatched_ack_to_a_listener_draws_a_reset() -> None:
    """Section 3.10.7.2, second."""
    bench = StackBench()
    for flags in (ACK, SYN | ACK, FIN | ACK):
        bench.arrive(flags, seq=100, ack=500)
        bench.expect(RST, seq=500)
    bench.arrive(RST, seq=100)
    bench.expect_nothing()


# Between two of our own


def test_a_connection_to_ourselves() -> None:
    """What goes to our own address does not touch the link."""
    bench = StackBench()
    flow = bench.stack.connect(OURS, PORT, bench.now)
    bench.advance(0.001)
    assert flow.state is S.ESTABLISHED
    accepted = bench.accept()
    assert accepted is not None
    flow.send(b"hello", bench.now)
    bench.stack.mark_pending(flow)
    bench.flush()
    bench.advance(0.001)
    assert accepted.receive(10) == b"hello"
    bench.expect_nothing()


# What is told of it


def told(observation: Observation) -> str:
    """Without the congestion window."""
    return observation.comment.partition(";")[0]


def test_observations_have_the_verdict_of_each_packet() -> None:
    bench = StackBench()
    seen: list[Observation] = []
    bench.stack.set_tap(seen.append)
    bench.stack.set_epoch(1000.0)
    bench.now = 5.0
    bench.arrive_syn()
    bench.drain()
    bench.arrive(ACK, seq=1, ack=1)
    bench.arrive(RST, seq=500)
    bench.drain()
    bench.arrive(SYN, dport=81, sport=4001)
    bench.drain()
    assert {observation.time for observation in seen} == {1005.0}
    assert [(observation.direction, told(observation)) for observation in seen] == [
        ("in", "LISTEN -> SYN-RECEIVED: accepted"),
        ("out", "SYN-RECEIVED"),
        ("in", "SYN-RECEIVED -> ESTABLISHED: accepted"),
        ("in", "ESTABLISHED: reset challenged"),
        ("out", "ESTABLISHED"),
        ("in", "no listener: reset sent"),
        ("out", ""),
    ]


def test_tcp_info_of_a_connection() -> None:
    bench = StackBench()
    bench.handshake(ts_val=None)
    bench.arrive(ACK | PSH, seq=1, ack=1, payload=b"unread")
    bench.arrive(ACK, seq=100, ack=1, payload=b"beyond")
    bench.drain()
    flow = bench.accept()
    assert flow is not None
    flow.send(bytes(100_000), bench.now)
    bench.stack.mark_pending(flow)
    bench.flush()
    bench.drain()
    info = flow.info()
    assert (info.state, info.local[1], str(info.remote[0])) == ("ESTABLISHED", PORT, "198.51.100.1")
    assert (info.unread, info.out_of_order, info.bytes_received) == (6, 6, 6)
    assert (info.unacked, info.notsent, info.bytes_acked) == (5360, 94_640, 0)
    assert (info.snd_mss, info.rcv_mss, info.snd_cwnd) == (536, 1012, 5360)
    assert (info.timestamps, info.sack, info.snd_wscale, info.rcv_wscale) == (False, False, 0, 0)
    assert (info.rtt, info.rto, info.retransmits) == (0.0, 0.2, 0)


def raw(segment: Segment, *, sport: int = 4000) -> bytes:
    """A packet of the peer's, as it is."""
    return b"".join(encode_segment(PEER, OURS, sport, PORT, segment))


def their_reset(bench: StackBench, flow: Flow) -> None:
    bench.stack.handle_packet(raw(Segment(Tcb(flow).rcv_nxt, flags=RST)), bench.now)


def our_reset(bench: StackBench, flow: Flow) -> None:
    bench.stack.abort(flow)


def the_last_ack(bench: StackBench, flow: Flow) -> None:
    bench.arrive(FIN | ACK, seq=1, ack=1)
    bench.stack.close(flow)
    bench.flush()
    bench.drain()
    ack = Segment(Tcb(flow).rcv_nxt, Tcb(flow).snd_nxt, ACK, 65535)
    bench.stack.handle_packet(raw(ack), bench.now)


def data_after_close(bench: StackBench, flow: Flow) -> None:
    bench.stack.close(flow)
    bench.flush()
    bench.drain()
    late = Segment(Tcb(flow).rcv_nxt, Tcb(flow).snd_nxt, ACK, 65535, payload=b"late")
    bench.stack.handle_packet(raw(late), bench.now)


def the_link(bench: StackBench, flow: Flow) -> None:
    bench.stack.end_all(OSError(errno.ENETDOWN, "Network is down"))


ENDS: Final = (their_reset, our_reset, the_last_ack, data_after_close, the_link)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_what_has_ended_is_no_connection_at_once(end: Callable[[StackBench, Flow], None]) -> None:
    """Before the flush: a segment draws a RST, and the four-tuple is free."""
    bench = StackBench()
    bench.handshake()
    flow = bench.accept()
    assert flow is not None
    end(bench, flow)
    assert flow.state is S.CLOSED
    assert not bench.stack.demux.connections
    bench.stack.handle_packet(raw(Segment(1, 12345, ACK, 65535)), bench.now)
    again = bench.stack.connect(PEER, 4000, bench.now, local_port=PORT)
    assert [*bench.stack.demux.connections] == [again]
    bench.stack.flush(bench.now)
    sent = [decode_segment(decode_datagram(b"".join(each)))[2] for each in bench.stack.outgoing]
    assert [each.seq for each in sent if each.flags == RST].count(12345) == 1
    assert sent[-1].flags == SYN
    assert [*bench.stack.demux.connections] == [again]


def test_a_handshake_that_was_reset_is_no_connection_at_once() -> None:
    """What comes behind the RST in one batch: a segment draws a RST, a SYN is half open again."""
    bench = StackBench()
    bench.arrive_syn(1000)
    bench.drain()
    iss = bench.origins[4000].iss
    bench.stack.handle_packet(raw(Segment(1001, flags=RST)), bench.now)
    assert not bench.stack.demux.connections
    bench.stack.handle_packet(raw(Segment(1001, iss + 1, ACK, 65535)), bench.now)
    assert bench.stack.statistics()["half_open"] == 0
    for seq in (5000, 6000):
        bench.stack.handle_packet(raw(Segment(seq, flags=SYN, wnd=65535)), bench.now)
        bench.stack.handle_packet(raw(Segment(seq + 1, flags=RST)), bench.now)
    bench.stack.handle_packet(raw(Segment(9000, flags=SYN, wnd=65535)), bench.now)
    assert bench.stack.statistics()["half_open"] == 1
    bench.flush()
    [reset, answer] = [sent.segment for sent in bench.drain()]
    assert (reset.flags, answer.flags) == (RST, SYN | ACK)
    assert bench.listener.accept() is None


@pytest.mark.parametrize("ours", [False, True], ids=["their RST", "our own"])
def test_a_syn_in_one_batch_with_the_reset_before_it_is_answered(ours: bool) -> None:
    """As of a client that meets its old connection: it resets that, and repeats its SYN at once."""
    bench = StackBench()
    bench.handshake()
    flow = bench.accept()
    assert flow is not None
    (our_reset if ours else their_reset)(bench, flow)
    bench.stack.handle_packet(raw(Segment(900_000, flags=SYN, wnd=65535)), bench.now)
    bench.flush()
    flags = [sent.segment.flags for sent in bench.drain()]
    assert sorted(flags) == sorted([SYN | ACK] + [RST] * ours)
    [again] = bench.stack.demux.connections
    assert again is not flow
    assert again.state is S.SYN_RECEIVED
    bench.advance(0.5)
    assert flow.state is S.CLOSED


def test_the_attributes_of_a_stack_fit_within_its_object() -> None:
    """CPython keeps fewer than 30 there, and finds them faster; mypyc keeps any number."""
    assert len(getattr(StackBench().stack, "__dict__", ())) < 30
