"""IPv6 flow labels."""

from __future__ import annotations

from collections import Counter

import pytest

from tunstack.ip.address import packed
from tunstack.ip.demux import FourTuple
from tunstack.ip.flow_label import LARGEST, FlowLabels

NAMES = [
    FourTuple(packed("2001:db8::2"), 80, packed("2001:db8::1"), port).packed
    for port in range(1024, 5120)
]


@pytest.mark.rfc("6437:3")
def test_a_flow_keeps_its_label_and_flows_differ() -> None:
    """Uniform: of 4,096 flows hardly two have the same, and each bit is set in half of them."""
    labels = FlowLabels(b"secret")
    chosen = [labels.label(name) for name in NAMES]
    assert chosen == [labels.label(name) for name in NAMES]
    assert all(0 < label <= LARGEST for label in chosen)
    assert len(set(chosen)) > 0.99 * len(chosen)
    bits = Counter(bit for label in chosen for bit in range(20) if label >> bit & 1)
    assert all(0.45 < bits[bit] / len(chosen) < 0.55 for bit in range(20))


@pytest.mark.rfc("6437:6.1", "6437:3-2")
def test_who_does_not_know_the_key_does_not_know_the_label() -> None:
    ours, others = FlowLabels(b"secret"), FlowLabels(b"another")
    assert sum(ours.label(name) == others.label(name) for name in NAMES) < 10
