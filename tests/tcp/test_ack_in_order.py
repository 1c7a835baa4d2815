"""The short way to hear of an ACK comes to what the long one comes to."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tcp.inspection import assert_snd_una_is_one, state
from tunstack.tcp.config import Config
from tunstack.tcp.congestion import Cubic, Reno
from tunstack.tcp.sender.sender import Sender, Transmission
from tunstack.tcp.sequence import MASK

MSS: Final = 1448
CONFIG: Final = Config(mss=1460)


class Twins:
    """Two senders to which the same happens, but that only one takes the short way."""

    def __init__(self, iss: int, config: Config, rtt: float) -> None:
        self.short, self.long = self._both = [
            Sender(config, iss, config.congestion()) for _ in range(2)
        ]
        for each in self._both:
            each.recovery.sack = True
            each.mss = MSS
            each.path.agree(1460, 12, config.mtu_probing)
            each.path.proven = MSS
            each.congestion.set_mss(MSS, config.initial_window)
            each.set_window(1, iss, 1 << 20)
            each.syn_sent(1.0)
        self.acknowledge((iss + 1) & MASK, 1.0 + rtt)

    def append(self, data: bytes) -> None:
        for each in self._both:
            each.buffer.append(data)

    def send(self, size: int, now: float, *, fin: bool = False) -> None:
        for each in self._both:
            each.fin_queued |= fin
            each.sent(Transmission(each.nxt, size, fin=fin), now)

    def acknowledge(self, ack: int, now: float) -> None:
        short = self.short
        assert short.all_in_order
        self.long.handle_ack(ack, now)
        short.handle_ack_in_order(ack, (ack - short.una) & MASK, short.outstanding, now)
        self.check()

    def check(self) -> None:
        assert state(self.short) == state(self.long)
        assert_snd_una_is_one(self.short)


@given(
    iss=st.sampled_from((0, MASK - 5000, 12345)),
    reno=st.booleans(),
    fin=st.booleans(),
    sizes=st.lists(st.integers(1, 4 * MSS), min_size=1, max_size=12),
    shares=st.lists(st.integers(1, 100), min_size=1, max_size=12),
    gaps=st.lists(st.sampled_from((0.0, 0.001, 0.03)), min_size=3, max_size=3),
)
def test_it_comes_to_the_same(
    iss: int, reno: bool, fin: bool, sizes: list[int], shares: list[int], gaps: list[float]
) -> None:
    """Of our SYN, of data in parts, and of a FIN."""
    config = replace(CONFIG, congestion=Reno if reno else Cubic)
    twins = Twins(iss, config, 0.001 + gaps[0])
    sender = twins.short
    now = 2.0
    for size in sizes:
        twins.append(bytes(size))
        twins.send(size, now)
        now += gaps[1]
    if fin:
        twins.send(0, now, fin=True)
    for share in [*shares, 100]:
        now += gaps[2]
        if sender.outstanding:
            step = max(1, sender.outstanding * share // 100)
            twins.acknowledge((sender.una + step) & MASK, now)
    assert not sender.outstanding
    assert sender.fin_acknowledged is fin


def test_what_was_sent_again_is_not_for_it() -> None:
    sender = Twins(0, CONFIG, 0.1).short
    sender.buffer.append(bytes(MSS))
    sender.sent(Transmission(sender.nxt, MSS), 2.0)
    assert sender.all_in_order
    sender.sent(Transmission(sender.una, MSS, why="timeout"), 3.0)
    assert not sender.all_in_order


@pytest.mark.parametrize("user_timeout", [None, 0.15, 0.22, 60.0])
@pytest.mark.parametrize("tail_loss_probe", [True, False])
@pytest.mark.parametrize("rtt", [0.001, 0.1, 2.0])
def test_the_timers_of_a_lone_small_segment(
    rtt: float, tail_loss_probe: bool, user_timeout: float | None
) -> None:
    config = replace(CONFIG, tail_loss_probe=tail_loss_probe, user_timeout=user_timeout)
    twins = Twins(0, config, rtt)
    twins.append(b"answer")
    twins.send(6, 2.0)
    twins.short.start_flight(2.0)
    twins.check()
