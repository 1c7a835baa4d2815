"""Full segments on their way to a peer that knows SACK, a round trip of 100 ms away.

    bench = flying(10)                 # ten are out, more are queued
    bench.advance(RTT)
    sack(bench, 1, 2, 3)               # the first is missing
    expect_segments(bench, 0, note="fast")

Segments are counted from 0; the peer's ACKs name what it holds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.tcp.harness import CONFIG, MSS, Bench, Offer, syn_sent
from tunstack.tcp.congestion import Reno
from tunstack.tcp.segment import ACK, PSH, SYN

if TYPE_CHECKING:
    from tunstack.tcp.congestion import CongestionControl
    from tunstack.tcp.recovery.recovery_variables import Phase

TEXT: Final = bytes(n % 251 for n in range(400_000))
RTT: Final = 0.1
RENO: Final = replace(CONFIG, congestion=Reno)
"""Half is a round number; who controls congestion makes no difference here."""
SACKING: Final = Offer(mss=MSS, timestamps=False)
"""Knows SACK, and no timestamps: those tell of spurious retransmissions (Eifel)."""
STAMPING: Final = Offer()
"""Knows both."""


def seq(number: int) -> int:
    """Sequence number of a full segment, and as an ACK what covers all before it."""
    return 1 + number * MSS


def block(first: int, last: int | None = None) -> tuple[int, int]:
    """The SACK block of one segment, or of those from `first` to `last`."""
    return seq(first), seq((first if last is None else last) + 1)


def connected(rtt: float = RTT, **setup: Any) -> Bench:
    """A bench whose peer is `rtt` seconds away; its clock stands at that."""
    bench = syn_sent(**{"config": RENO, "peer": SACKING} | setup)
    bench.advance(rtt)
    bench.arrive_syn(SYN | ACK)
    bench.drain()
    return bench


def flying(segments: int = 10, *, queued: int = 40, rtt: float = RTT, **setup: Any) -> Bench:
    """So many segments are on their way, and `queued` of them altogether have been sent for."""
    bench = connected(rtt, **setup)
    bench.cwnd = segments * MSS
    bench.send(TEXT[: max(segments, queued) * MSS])
    assert numbers_of(bench) == [*range(segments)]
    return bench


def numbers_of(bench: Bench) -> list[int]:
    """Take what was sent; the numbers of the segments."""
    return [segment.seq // MSS for _, segment in bench.drain()]


def expect_segments(bench: Bench, *numbers: int, note: str = "") -> None:
    """Exactly these full segments come next; `note` is why they were sent again, if they were."""
    for number in numbers:
        text = TEXT[number * MSS : (number + 1) * MSS]
        flags = ACK | PSH * (seq(number + 1) == end(bench))
        why = note and f"retransmission: {note}"
        bench.expect(flags, seq=seq(number), payload=text, note=why)


def end(bench: Bench) -> int:
    """The number behind all that was sent for."""
    return bench.snd_end


def acknowledge(bench: Bench, number: int, *held: int, **fields: Any) -> None:
    """All before segment `number` has arrived, and those `held`: the last named came last.

    The first block holds the segment that came last (RFC 2018 section 4).
    """
    runs: list[tuple[int, int]] = []
    for one in sorted(held):
        if runs and runs[-1][1] == one - 1:
            runs[-1] = (runs[-1][0], one)
        else:
            runs.append((one, one))
    if held:
        runs.sort(key=lambda run: not run[0] <= held[-1] <= run[1])
    blocks = tuple(block(*run) for run in runs[:4])
    bench.arrive(ACK, ack=seq(number), sack=fields.pop("dsack", ()) + blocks, **fields)


def sack(bench: Bench, *held: int, ack: int = 0, **fields: Any) -> None:
    """They arrive one after the other, beyond a gap, and each draws an ACK."""
    for count in range(1, len(held) + 1):
        acknowledge(bench, ack, *held[:count], **fields)
        if count < len(held):
            bench.drain()


def phase(bench: Bench) -> Phase:
    return bench.phase


def congestion(bench: Bench) -> CongestionControl:
    return bench.congestion


def windows(bench: Bench) -> tuple[float, float]:
    """Cwnd and ssthresh, in segments."""
    return congestion(bench).cwnd / MSS, congestion(bench).ssthresh / MSS
