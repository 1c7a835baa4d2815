"""What makes a short connection cheap, and changes nothing."""

from __future__ import annotations

import gc
from ipaddress import IPv4Interface
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tests.tcp.crowd import CONFIG, OURS, PORT, Crowd
from tunstack.stack.flow import Flow
from tunstack.stack.stack import Stack
from tunstack.tcp.segment import ACK, PSH, Segment
from tunstack.wire import encode_segment

if TYPE_CHECKING:
    from tunstack.stack.observation import Observation

SERVER, CLIENT = IPv4Interface("198.51.100.2/24"), IPv4Interface("198.51.100.1/24")
REQUEST: Final = b"GET / HTTP/1.0\r\n\r\n"
ANSWER: Final = b"HTTP/1.0 200 OK\r\n\r\nHello, world\n"


def exchange(*, tapped: bool = False, predict: bool = True, offload: bool = False) -> list[bytes]:
    """Some connections, one after another, each with a request; returns all that was sent."""
    observed: list[Observation] = []
    tap = observed.append if tapped else None
    server, client = (
        Stack(
            [home], 1500, rng=Random(seed), config=CONFIG, tap=tap, predict=predict, offload=offload
        )
        for seed, home in enumerate((SERVER, CLIENT))
    )
    server.demux.bind(None, PORT, reuse=True)
    listener = server.opening.listen(None, PORT, 5)
    sent: list[bytes] = []
    now = 1.0

    def settle() -> None:
        nonlocal now
        busy = True
        while busy:
            busy = False
            for one, other in ((client, server), (server, client)):
                now += 0.001
                one.flush(now)
                while one.outgoing:
                    busy = True
                    sent.append(b"".join(one.outgoing.popleft()))
                    other.handle_packet(sent[-1], now)
                other.flush(now)

    for number in range(6):
        ours = client.connect(SERVER.ip.packed, PORT, now, local_port=4000 + number % 3)
        settle()
        ours.send(REQUEST, now)
        client.mark_pending(ours)
        settle()
        theirs = listener.accept()
        assert isinstance(theirs, Flow)
        assert server.read(theirs, 100) == REQUEST
        server.send(theirs, ANSWER, now)
        server.flush(now)
        first, second = ((server, theirs), (client, ours))[:: 1 if number % 2 else -1]
        first[1].close()
        first[0].mark_pending(first[1])
        settle()
        if second[1] is ours:
            assert ours.receive(100) == ANSWER
        second[1].close()
        second[0].mark_pending(second[1])
        settle()
        client.time_waits.clear()  # So it comes back with the same ports, the server waiting.
    assert bool(observed) is tapped
    return sent


@pytest.mark.parametrize("offload", [False, True])
def test_who_watches_sees_what_is_sent_anyway(offload: bool) -> None:
    assert exchange(tapped=True, offload=offload) == exchange(offload=offload)


@pytest.mark.parametrize("offload", [False, True])
def test_prediction_changes_no_octet(offload: bool) -> None:
    assert exchange(predict=False, offload=offload) == exchange(offload=offload)


def test_nothing_is_left_for_the_garbage_collector() -> None:
    exchange()
    gc.collect()
    gc.disable()
    others = {id(each) for each in gc.get_objects() if isinstance(each, Flow)}
    try:
        exchange()
        left = [each for each in gc.get_objects() if isinstance(each, Flow)]
        assert others.issuperset(map(id, left))
    finally:
        gc.enable()


def test_a_request_in_the_batch_that_opens_the_connection_is_predicted() -> None:
    crowd = Crowd()
    peer = crowd.peer()
    answer = peer.syn()
    assert answer is not None
    assert answer.ts_val is not None
    for flags, data in ((ACK, b""), (ACK | PSH, REQUEST)):
        segment = Segment(
            peer.nxt, peer.expected, flags, 500, 0, data, ts_val=5001, ts_ecr=answer.ts_val
        )
        packet = b"".join(encode_segment(peer.address, OURS, peer.sport, PORT, segment))
        crowd.stack.handle_packet(packet, crowd.now)
    assert crowd.flush() == []
    assert crowd.statistics["tcp_predicted"] == 1
    assert crowd.accept().receive(100) == REQUEST


def test_what_its_application_says_first_goes_out_as_ever() -> None:
    """It may speak as soon as the connection is open, before the batch is over."""
    crowd = Crowd()
    peer = crowd.peer()

    def answer() -> None:
        crowd.accept().send(ANSWER, crowd.now)

    crowd.listener.changed = answer
    peer.syn()
    [segment] = peer.ack()
    assert (segment.flags, segment.payload) == (ACK | PSH, ANSWER)
