"""A link that carries hardly more than headers: 68 octets are the least (RFC 791)."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.tcp.harness import CONFIG, Offer, established
from tests.tcp.inspection import Tcb
from tests.tcp.stack_bench import HERE, PEER, PORT, StackBench
from tunstack.stack.stack import Stack
from tunstack.tcp.segment import ACK, PSH, SYN, Segment
from tunstack.wire import (
    NOTHING_OFFLOADED,
    Reason,
    decode_datagram,
    encode_datagram,
    encode_segment,
)


@pytest.mark.rfc("2018:3")
@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("mtu", [68, 76, 80, 84, 1500])
def test_sack_blocks_never_make_an_ack_too_large(mtu: int, timestamps: bool) -> None:
    config = replace(CONFIG, mss=mtu - 40, timestamps=timestamps)
    bench = established(config=config, peer=Offer(mss=mtu - 40, timestamps=timestamps))
    for number in range(1, 9):
        bench.arrive(ACK, seq=100 * number, payload=b"x" * number)
        [(_, ack)] = bench.drain()
        assert ack.sack[0] == (100 * number, 100 * number + number)
        packet = b"".join(encode_segment(bytes(4), bytes(4), 1, 2, ack))
        assert len(packet) <= mtu
    if mtu == 1500:
        assert len(ack.sack) == (3 if timestamps else 4)


def in_fragments(segment: Segment, mtu: int) -> list[bytes]:
    """The peer's segment as Linux sends it over a link on which it does not fit."""
    whole = decode_datagram(b"".join(encode_segment(PEER, HERE.ip.packed, 4000, PORT, segment)))
    room = (mtu - 20) & ~7
    return [
        b"".join(
            encode_datagram(
                replace(
                    whole,
                    payload=whole.payload[start : start + room],
                    dont_fragment=False,
                    more_fragments=start + room < len(whole.payload),
                    fragment_offset=start,
                )
            )
        )
        for start in range(0, len(whole.payload), room)
    ]


@pytest.mark.parametrize("mtu", [68, 80, 87, 576])
def test_segments_that_the_kernel_must_fragment_are_put_together(mtu: int) -> None:
    """It makes none smaller than 88 octets in all, whatever MSS it is offered.

    On a link that is wider, a router before it may have fragmented them.
    """
    bench = StackBench(mtu=mtu)
    bench.arrive(SYN, ts_val=1000)
    iss = bench.expect(SYN | ACK, mss=mtu - 40).seq
    narrow = min(mtu, 87)
    bench.arrive(ACK, seq=1, ack=1, ts_val=1000)
    flow = bench.accept()
    assert flow is not None
    for number in range(2):
        data = Segment(
            1 + 36 * number,
            (Tcb(flow).initial_seq + 1) % 2**32,
            ACK | PSH,
            6000,
            payload=bytes(36),
            ts_val=1001,
        )
        packets = in_fragments(data, narrow)
        assert len(packets) == 2
        for packet in packets[::-1] if number else packets:
            assert len(packet) <= narrow
            bench.stack.handle_packet(packet, bench.now)
    bench.flush()
    if mtu > narrow:  # The segments are small ones there.
        bench.advance(CONFIG.delayed_ack)
    bench.expect(ACK, seq=iss + 1, ack=73)
    assert flow.receive(100) == bytes(72)
    statistics = bench.stack.statistics()
    assert (statistics["fragments_received"], statistics["datagrams_reassembled"]) == (4, 2)
    assert not any(statistics[reason] for reason in Reason)
    assert statistics["fragment_memory_held"] == 0


def test_a_segment_that_is_put_together_must_have_the_right_checksum() -> None:
    bench = StackBench(mtu=68)
    first, second = in_fragments(Segment(1, 1, ACK, 6000, payload=bytes(40)), 68)
    for packet in (first, second[:-1] + b"!"):
        bench.stack.handle_packet(packet, bench.now)
    bench.flush()
    assert bench.stack.statistics()["bad_tcp_checksum"] == 1


def test_dropped_fragments_are_counted() -> None:
    bench = StackBench(mtu=68)
    first, second = in_fragments(Segment(1, 1, ACK, 6000, payload=bytes(40)), 68)
    bench.stack.handle_packet(first, 0.0)
    bench.stack.handle_packet(second, 30.0)
    statistics = bench.stack.statistics()
    assert (statistics["fragments_received"], statistics["fragment_timeout"]) == (2, 1)


def test_a_segment_in_fragments_goes_to_the_process_that_has_its_connection() -> None:
    """Of several on one device, that with the queue for packets without ports gets all of them."""
    bench, handed_on = StackBench(), list[bytes]()
    bench.handshake(ts_val=1)
    flow = bench.accept()
    assert flow is not None
    data = Segment(1, (Tcb(flow).initial_seq + 1) % 2**32, ACK | PSH, 6000, payload=b"x" * 36)
    data.ts_val = 2
    others = [
        Stack([HERE], 1500, rng=Random(seed), offload=offload)
        for seed, offload in enumerate([False, True])
    ]
    for other in others:
        other.share_addresses(handed_on.append)
    for packet in in_fragments(data, 68):
        others[0].handle_packet(packet, 0.0)
        others[1].handle_packet(NOTHING_OFFLOADED + packet, 0.0)
    plain, framed = handed_on
    assert framed == NOTHING_OFFLOADED + plain
    others[1].handle_forwarded(framed, 0.0)
    bench.stack.handle_forwarded(plain, 0.0)
    bench.flush()
    assert flow.receive(100) == b"x" * 36
    assert not any(other.outgoing for other in others)
    for other in others:
        assert not any(other.statistics()[reason] for reason in Reason)


def test_a_syn_in_fragments_is_answered_by_the_process_that_gets_it() -> None:
    bench, handed_on = StackBench(), list[bytes]()
    bench.stack.share_addresses(handed_on.append)
    for packet in in_fragments(Segment(0, flags=SYN, wnd=6000, payload=bytes(40)), 68):
        bench.stack.handle_packet(packet, 0.0)
    bench.flush()
    bench.expect(SYN | ACK, mss=1012)
    assert handed_on == []
