"""A segment that is not acceptable changes nothing, whatever else it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from tests.tcp.crowd import OURS, Crowd
from tests.tcp.harness import (
    CONFIG,
    IN_STATE,
    WSCALE,
    Numbers,
    established,
    syn_received,
    time_wait,
)
from tunstack.tcp.connection.ecn import CE, REQUEST
from tunstack.tcp.connection.state import SYNCHRONIZED, State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import encode_segment

S = State
STATES: Final = sorted({S.SYN_RECEIVED, *SYNCHRONIZED}, key=str)

BAD: Final[dict[str, dict[str, Any]]] = {
    "ACK of what was never sent": {"flags": ACK, "ack": 9999},
    "ACK that is too old": {"flags": ACK, "ack": -70_000},
    "FIN with an ACK of what was never sent": {"flags": ACK | FIN, "ack": 9999},
    "no ACK": {"flags": PSH},
    "FIN without an ACK": {"flags": FIN},
    "nothing": {"flags": 0},
    "before the window": {"flags": ACK, "seq": -5000},
    "beyond the window": {"flags": ACK, "seq": 3 << 20},
    "FIN before the window": {"flags": ACK | FIN, "seq": -5000},
    "FIN beyond the window": {"flags": ACK | FIN, "seq": 3 << 20},
    "FIN again with an ACK of what was never sent": {"flags": ACK | FIN, "seq": 1, "ack": 9999},
    "FIN again without an ACK": {"flags": FIN, "seq": 1},
    "old timestamp": {"flags": ACK, "ts_val": -7},
    "FIN with an old timestamp": {"flags": ACK | FIN, "ts_val": -7},
    "SYN in the window": {"flags": SYN, "seq": 100, "ts_val": 0},
    "SYN beyond the window": {"flags": SYN, "seq": 3 << 20, "ts_val": 0},
    "SYN,ACK in the window": {"flags": SYN | ACK, "seq": 100},
    "RST in the window": {"flags": RST, "seq": 100},
    "RST beyond the window": {"flags": RST, "seq": 3 << 20},
}
ALSO: Final[dict[str, dict[str, Any]]] = {
    "nothing else": {},
    "data": {"payload": b"blind"},
    "another window": {"wnd": 7},
    "urgent data": {"flags": URG, "up": 50, "payload": b"blind"},
    "SACK": {"sack": ((1, 2),)},
    "marks": {"flags": ECE | CWR, "ecn": CE, "payload": b"blind"},
}


@pytest.mark.rfc("5961:5.2", "7323:4.3")
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("state", STATES)
def test_it_changes_nothing(state: State, bad: str) -> None:
    if state is S.SYN_RECEIVED and bad in ("SYN in the window", "SYN,ACK in the window"):
        return  # RFC 9293 section 3.10.7.4, fourth: back to LISTEN.
    for also in ALSO.values():
        bench = IN_STATE[state](config=replace(CONFIG, ecn=REQUEST), iss=2**32 - 1, irs=2**32 - 1)
        bench.advance(10.0)
        bench.drain()
        bench.arrive(RST, seq=200)  # Our answer offers all the window that there is.
        bench.drain()
        before = bench.variables()
        # A TSval that nobody would think old is what a blind attacker would choose.
        fields: dict[str, Any] = {"ts_val": 200_000, **BAD[bad], **also}
        fields["flags"] |= BAD[bad]["flags"]
        bench.arrive(**fields)
        bench.drain()
        assert bench.variables() == before, also


@pytest.mark.parametrize("bad", [name for name, each in BAD.items() if not each["flags"] & RST])
def test_an_unacceptable_segment_does_not_update_ts_recent(bad: str, numbers: Numbers) -> None:
    """One blind segment with a TSval far ahead, and PAWS would drop all that the peer sends."""
    bench = established(**numbers)
    bench.arrive(**{"ts_val": 200_000, **BAD[bad]})
    bench.drain()
    assert bench.arrive(ACK, ack=1, payload=b"real", ts_val=201) is Verdict.ACCEPTED
    assert bench.receive() == b"real"


@pytest.mark.parametrize("flags", [SYN, SYN | ACK, SYN | ECE | CWR])
@pytest.mark.parametrize("seq", [-70_000, -1, 3 << 20])
def test_only_their_own_syn_again_draws_our_syn_ack_again(
    flags: int, seq: int, numbers: Numbers
) -> None:
    bench = syn_received(config=replace(CONFIG, ecn=REQUEST), **numbers)
    bench.arrive(flags, seq=seq, ts_val=1)
    bench.expect(ACK, seq=1, ack=1)
    assert not bench.ecn_agreed
    bench.arrive_syn()
    bench.expect(SYN | ACK, seq=0, ack=1, mss=1012, wscale=WSCALE, sack_permitted=True)


def test_only_their_fin_restarts_time_wait(numbers: Numbers) -> None:
    bench = time_wait(**numbers)
    bench.advance(30.0)
    deadline = bench.connection.deadline()
    for seq in (-5000, 0, 3 << 20):
        bench.arrive(FIN | ACK, seq=seq)
        bench.expect(ACK, seq=2, ack=2)
        assert bench.connection.deadline() == deadline
    bench.arrive(FIN | ACK, seq=1)
    bench.expect(ACK, seq=2, ack=2)
    assert bench.connection.deadline() == 90.0


@pytest.mark.rfc("MAY-9")
@pytest.mark.parametrize(
    ("fields", "noted"),
    [
        ({}, 0x20),
        ({"ack": 5000}, 0x48),
        ({"ts_val": 3}, 0x48),
        ({"seq": 3, "flags": RST}, 0x48),
        ({"seq": 3 << 20}, 0x48),
        ({"flags": 0}, 0x48),
    ],
)
def test_the_service_of_what_is_not_acceptable_is_not_noted(
    fields: dict[str, int], noted: int
) -> None:
    crowd = Crowd()
    peer, flow = crowd.connected()

    def arrive(tos: int, seq: int = 0, ack: int = 0, **others: Any) -> None:
        numbers = (peer.nxt + seq) & MASK, (peer.expected + ack) & MASK
        segment = replace(Segment(*numbers, ACK, 500, ts_val=5000, payload=b"x"), **others)
        ports = peer.sport, peer.port
        crowd.packet(b"".join(encode_segment(peer.address, OURS, *ports, segment, tos=tos)))

    arrive(0x48)
    peer.nxt += 1
    arrive(0x20, **fields)
    assert flow.info().rcv_tos == noted
