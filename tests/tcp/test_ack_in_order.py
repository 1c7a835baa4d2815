"""The short way to hear of an ACK comes to what the long one comes to."""

from __future__ import annotations

from copy import deepcopy
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


def both_ways(sender: Sender, ack: int, now: float) -> None:
    assert sender.all_in_order
    other = deepcopy(sender)
    other.handle_ack(ack, now)
    sender.handle_ack_in_order(ack, (ack - sender.una) & MASK, sender.outstanding, now)
    assert state(sender) == state(other)
    assert_snd_una_is_one(sender)


def opened(iss: int, config: Config, rtt: float) -> Sender:
    sender = Sender(config, iss, config.congestion())
    sender.recovery.sack = True
    sender.mss = MSS
    sender.path.agree(1460, 12, config.mtu_probing)
    sender.path.proven = MSS
    sender.congestion.set_mss(MSS, config.initial_window)
    sender.set_window(1, iss, 1 << 20)
    sender.syn_sent(1.0)
    both_ways(sender, (iss + 1) & MASK, 1.0 + rtt)
    return sender


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
    sender = opened(iss, config, 0.001 + gaps[0])
    now = 2.0
    for size in sizes:
        sender.buffer.append(bytes(size))
        sender.sent(Transmission(sender.nxt, size), now)
        now += gaps[1]
    if fin:
        sender.fin_queued = True
        sender.sent(Transmission(sender.nxt, 0, fin=True), now)
    for share in [*shares, 100]:
        now += gaps[2]
        if sender.outstanding:
            step = max(1, sender.outstanding * share // 100)
            both_ways(sender, (sender.una + step) & MASK, now)
    assert not sender.outstanding
    assert sender.fin_acknowledged is fin


def test_what_was_sent_again_is_not_for_it() -> None:
    sender = opened(0, CONFIG, 0.1)
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
    sender = opened(0, config, rtt)
    sender.buffer.append(b"answer")
    other = deepcopy(sender)
    for each in (sender, other):
        each.sent(Transmission(each.nxt, 6), 2.0)
    sender.start_flight(2.0)
    assert state(sender) == state(other)
