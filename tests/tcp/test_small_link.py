"""A link that carries hardly more than headers: 68 octets are the least (RFC 791)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunstack.tcp.segment import ACK
from tunstack.wire import encode_segment

from .harness import CONFIG, Offer, established


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
