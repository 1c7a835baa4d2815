"""What somebody can do, and find out, who sees nothing of a connection: next to nothing."""

from __future__ import annotations

import errno
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.tcp.crowd import OURS, PORT, Crowd, state
from tests.tcp.harness import Bench, established, syn_received
from tests.tcp.inspection import Tcb
from tunstack.ip.datagram import Datagram
from tunstack.ip.demux import EPHEMERAL_PORTS
from tunstack.ip.icmp import DESTINATION_UNREACHABLE, ECHO_REQUEST, HOST_UNREACHABLE, IcmpMessage
from tunstack.stack.limits import Limits
from tunstack.tcp.connection.challenge import PER_PERIOD, PERIOD
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, RST, SYN, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import decode_datagram, encode_datagram, encode_icmp, encode_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.stack.flow import Flow

S = State
SOMEBODY: Final = bytes((198, 51, 100, 9))

# Challenge ACKs (RFC 5961)

ATTACKS: Final[dict[str, Callable[[Bench], Any]]] = {
    "RST in the window": lambda bench: bench.arrive(RST, seq=1000),
    "SYN in the window": lambda bench: bench.arrive(SYN, seq=1000),
    "SYN before the window": lambda bench: bench.arrive(SYN, seq=-70000),
    "SYN beyond the window": lambda bench: bench.arrive(SYN, seq=9 << 20),
    "SYN with an old timestamp": lambda bench: bench.arrive(SYN, seq=1000, ts_val=-5),
    "SYN,ACK": lambda bench: bench.arrive(SYN | ACK, seq=1000, ack=500),
    "ACK of what was not sent": lambda bench: bench.arrive(ACK, ack=5000),
    "old ACK": lambda bench: bench.arrive(ACK, ack=-70000),
    "data with an old ACK": lambda bench: bench.arrive(ACK, ack=-70000, payload=b"blind"),
    "ACK before the window": lambda bench: bench.arrive(ACK, seq=-70000),
    "ACK with an old timestamp": lambda bench: bench.arrive(ACK, ts_val=-5),
}


def answers(bench: Bench, attack: str, times: int) -> int:
    """How many answers so many attacks draw."""
    count = 0
    for _ in range(times):
        ATTACKS[attack](bench)
        sent = bench.drain()
        assert all((out.segment.flags, out.segment.ack) == (ACK, 1) for out in sent)
        count += len(sent)
    return count


@pytest.mark.rfc("5961:3.2")
@pytest.mark.rfc("5961:4.2")
@pytest.mark.rfc("5961:5.2")
@pytest.mark.rfc("5961:7")
@pytest.mark.rfc("MAY-12")
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_challenged_a_few_times_and_no_more(attack: str) -> None:
    bench = established()
    bench.now = 100.0
    assert answers(bench, attack, 5 * PER_PERIOD) == PER_PERIOD
    bench.now += PERIOD
    assert answers(bench, attack, 5 * PER_PERIOD) == PER_PERIOD
    bench.expect_state(S.ESTABLISHED)
    assert bench.receive() == b""


def test_data_outside_the_window_is_always_answered() -> None:
    """It may be a retransmission, whose sender needs the ACK; as on Linux."""
    bench = established()
    for _ in range(3 * PER_PERIOD):
        bench.arrive(ACK, seq=-70000, payload=b"again")
        assert len(bench.drain()) == 1


def test_a_syn_again_draws_the_syn_ack_again_a_few_times_and_no_more() -> None:
    """Or who sends SYNs in a victim's name could have us send it as many."""
    bench = syn_received()
    count = 0
    for _ in range(5 * PER_PERIOD):
        bench.arrive_syn()
        count += len(bench.drain())
    assert count == PER_PERIOD


@pytest.mark.rfc("5961:7")
def test_challenges_of_one_connection_reveal_nothing_of_another() -> None:
    """CVE-2016-5696: with one limit for all, an outsider counted those that were left to him."""
    crowd = Crowd(backlog=10)
    (attacker, _), (victim, _) = crowd.connected(), crowd.connected()
    own = [attacker.ack(SYN) for _ in range(PER_PERIOD + 5)]
    assert sum(map(len, own)) == PER_PERIOD
    others = [victim.ack(RST, seq=(victim.nxt + 9) & MASK) for _ in range(PER_PERIOD + 5)]
    assert sum(map(len, others)) == PER_PERIOD


# ICMP (RFC 5927)


def icmp_error(crowd: Crowd, segment: Segment, flow: Flow, code: int = HOST_UNREACHABLE) -> None:
    """An ICMP error arrives that quotes a segment as if the flow had sent it."""
    name = flow.four_tuple
    quoted = encode_segment(name.local, name.remote, name.local_port, name.remote_port, segment)
    message = IcmpMessage(DESTINATION_UNREACHABLE, code, quoted=decode_datagram(b"".join(quoted)))
    crowd.packet(b"".join(encode_icmp(SOMEBODY, OURS, message)))


@pytest.mark.rfc("5927:4.1", "5927:4.1-1")
@pytest.mark.parametrize(
    ("offset", "believed"),
    [(0, True), (500, True), (999, True), (1000, False), (-1, False), (1 << 31, False)],
)
def test_an_icmp_error_must_quote_an_outstanding_sequence_number(
    offset: int, believed: bool
) -> None:
    crowd = Crowd()
    _, flow = crowd.connected()
    flow.send(bytes(1000), crowd.now)
    crowd.act(flow)
    icmp_error(crowd, Segment((Tcb(flow).snd_una + offset) & MASK), flow)
    assert (flow.soft_error is not None) is believed
    assert ("icmp_unmatched" in crowd.statistics) is not believed
    assert flow.state is S.ESTABLISHED


@pytest.mark.rfc("5927:4.1")
@pytest.mark.parametrize("guess", [0, 1, -1])
def test_only_who_knows_the_number_of_our_syn_ends_an_attempt(guess: int) -> None:
    crowd = Crowd()
    flow = crowd.stack.connect(SOMEBODY, 7, crowd.now)
    crowd.flush()
    icmp_error(crowd, Segment((Tcb(flow).initial_seq + guess) & MASK, flags=SYN), flow)
    if guess:
        assert flow.state is S.SYN_SENT
    else:
        assert flow.state is S.CLOSED
        assert flow.error is not None
        assert flow.error.errno == errno.EHOSTUNREACH


def test_an_icmp_error_concerns_the_connection_that_it_quotes() -> None:
    crowd = Crowd()
    (_, one), (_, other) = crowd.connected(), crowd.connected()
    for flow in (one, other):
        flow.send(b"x", crowd.now)
        crowd.act(flow)
    icmp_error(crowd, Segment(Tcb(one).snd_una), one)
    assert one.soft_error is not None
    assert other.soft_error is None


# Numbers (RFC 6528, RFC 7323, RFC 6864)


def differences(numbers: list[int]) -> Counter[int]:
    return Counter((b - a) & MASK for a, b in pairwise(numbers))


@pytest.mark.rfc("6528:3")
@pytest.mark.rfc("MUST-9")
@pytest.mark.parametrize("policy", ["when full", "always"])
def test_the_isn_of_one_connection_reveals_nothing_of_the_next(policy: Any) -> None:
    """To different ports at one moment, as nmap asks; cookies as well."""
    crowd = Crowd(limits=Limits(syncookies=policy), backlog=1000)
    isns, clocks = [], []
    for peer in crowd.peers(200):
        answer = peer.syn()
        assert answer is not None
        assert answer.ts_val is not None
        isns.append(answer.seq)
        clocks.append(answer.ts_val)
    for numbers in (isns, clocks):
        assert len(set(numbers)) == 200
        assert differences(numbers).most_common(1)[0][1] == 1
        for bit in range(26, 32):
            assert 60 < sum(number >> bit & 1 for number in numbers) < 140
    assert not set(isns) & set(clocks)


@pytest.mark.rfc("6528:3")
@pytest.mark.rfc("MUST-8")
def test_numbers_of_one_four_tuple_rise_from_connection_to_connection() -> None:
    """By 250,000 a second: so that no old segment fits into the next connection."""
    crowd = Crowd()
    peer = crowd.peer()
    isns = []
    for _ in range(5):
        answer = peer.syn()
        assert answer is not None
        isns.append(answer.seq)
        peer.ack(RST)
        crowd.advance(2.0)
    assert [*differences(isns)] == [500_000]


@pytest.mark.rfc("7323:7.1")
def test_timestamps_of_one_four_tuple_go_on_from_connection_to_connection() -> None:
    """Which is what lets TIME-WAIT be reopened by them (RFC 6191)."""
    crowd = Crowd()
    peer = crowd.peer()
    clocks = []
    for _ in range(5):
        answer = peer.syn()
        assert answer is not None
        assert answer.ts_val is not None
        clocks.append(answer.ts_val)
        peer.ack(RST)
        crowd.advance(2.0)
    assert [*differences(clocks)] == [2000]


@pytest.mark.rfc("6864:4.1")
def test_identification_of_what_is_never_fragmented_is_always_0() -> None:
    """It counts nothing, so it tells nothing."""
    crowd = Crowd()
    peer, flow = crowd.connected()
    flow.send(bytes(5000), crowd.now)
    sent = [*crowd.act(flow), *(crowd.latest if peer.ack(RST, seq=9) else [])]
    assert len(sent) >= 3
    for out in sent:
        assert (out.datagram.identification, out.datagram.dont_fragment) == (0, True)


@pytest.mark.rfc("6864:4.3")
def test_identification_of_what_may_be_fragmented_cannot_be_guessed_by_others() -> None:
    """It counts for each peer, from a random number on: to one peer none comes again for long."""
    crowd = Crowd()
    seen: dict[int, list[int]] = {}
    for number in range(300):
        peer = bytes((198, 51, 100, 10 + number % 100))
        ping = b"".join(encode_icmp(peer, OURS, IcmpMessage(ECHO_REQUEST, payload=b"ping")))
        crowd.stack.handle_packet(ping, crowd.now)
        reply = decode_datagram(b"".join(crowd.stack.outgoing.popleft()))
        assert not reply.dont_fragment
        seen.setdefault(number % 100, []).append(reply.identification)
    firsts = [numbers[0] for numbers in seen.values()]
    assert len(set(firsts)) > 90
    assert differences(firsts).most_common(1)[0][1] <= 2
    assert all(len(set(numbers)) == 3 for numbers in seen.values())


# Ports (RFC 6056)


@pytest.mark.rfc("6056:3.1")
@pytest.mark.rfc("6056:3.3.1")
def test_ports_of_our_own_connections_cannot_be_guessed() -> None:
    crowd = Crowd(limits=Limits(connections=2000))
    ports = []
    for _ in range(400):
        flow = crowd.stack.connect(SOMEBODY, 7, crowd.now)
        ports.append(flow.four_tuple.local_port)
    assert all(port in EPHEMERAL_PORTS for port in ports)
    assert len(set(ports)) == 400
    assert differences(ports).most_common(1)[0][1] <= 3
    quarter = len(EPHEMERAL_PORTS) // 4
    quarters = Counter((port - EPHEMERAL_PORTS.start) // quarter for port in ports)
    assert all(60 < quarters[number] < 140 for number in range(4))


# What strangers may draw


def stray_ack(crowd: Crowd, peer: bytes, port: int) -> bool:
    """Whether an ACK for a connection that does not exist is answered."""
    packet = encode_segment(peer, OURS, 4000, port, Segment(1, 2, ACK))
    return [out.segment.flags for out in crowd.packet(b"".join(packet))] == [RST]


@pytest.mark.parametrize("port", [PORT, 9])
def test_resets_for_strangers_are_limited_for_each_of_them(port: int) -> None:
    crowd = Crowd(limits=Limits(resets=50))
    victim, other = SOMEBODY, bytes((198, 51, 100, 10))
    assert sum(stray_ack(crowd, victim, port) for _ in range(200)) == 50
    assert stray_ack(crowd, other, port)
    assert crowd.statistics["resets_suppressed"] == 150
    assert crowd.statistics["tcp_ignored"] == 150
    crowd.now += 0.1
    assert sum(stray_ack(crowd, victim, port) for _ in range(200)) == 5


@pytest.mark.rfc("1812:4.3.2.8")
def test_icmp_errors_are_limited_for_each_peer_and_pings_are_not() -> None:
    crowd = Crowd(limits=Limits(icmp_errors=20))
    unknown = b"".join(encode_datagram(Datagram(SOMEBODY, OURS, 253, b"12345678")))
    ping = b"".join(encode_icmp(SOMEBODY, OURS, IcmpMessage(ECHO_REQUEST)))
    for _ in range(100):
        crowd.stack.handle_packet(unknown, crowd.now)
        crowd.stack.handle_packet(ping, crowd.now)
    answered = Counter(
        bytes(decode_datagram(b"".join(packet)).payload)[0] for packet in crowd.stack.outgoing
    )
    assert answered == {DESTINATION_UNREACHABLE: 20, 0: 100}
    assert crowd.statistics["icmp_suppressed"] == 80


def test_the_reset_limit_does_not_affect_connections() -> None:
    crowd = Crowd(limits=Limits(resets=1))
    peer, flow = crowd.connected()
    for _ in range(100):
        stray_ack(crowd, peer.address, 9)
    peer.send(b"hello")
    assert flow.receive(100) == b"hello"
    flow.abort()
    [reset] = crowd.act(flow)
    assert reset.segment.flags == RST
    assert state(flow) is S.CLOSED


def test_segments_between_strangers_in_our_own_name_are_dropped() -> None:
    """LAND: a SYN from ourselves to ourselves."""
    crowd = Crowd()
    syn = encode_segment(OURS, OURS, PORT, PORT, Segment(1, flags=SYN))
    assert crowd.packet(b"".join(syn)) == []
    assert crowd.statistics["bad_source_address"] == 1
    assert not crowd.stack.demux.connections
