"""When data asks to be delivered, and acknowledged, at once: the PSH flag (RFC 9293 section 3.9.1).

On the last octet that is queued it must; on the last segment of a burst it may, and does.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tcp.harness import CONFIG, MSS, Bench, established
from tunstack.tcp.segment import ACK, PSH

TEXT = bytes(40 * MSS)


def pushed(bench: Bench) -> list[bool]:
    """Of each segment that was sent, whether it has PSH."""
    return [bool(segment.flags & PSH) for _, segment in bench.drain()]


def test_the_last_segment_of_a_burst_is_pushed() -> None:
    """The peer need not wait for more before it acknowledges: nothing more comes until it does."""
    bench = established()
    bench.send(TEXT)
    assert pushed(bench) == 9 * [False] + [True]
    bench.arrive(ACK, ack=1 + 3 * MSS)
    assert pushed(bench) == 5 * [False] + [True]


def test_a_burst_of_one_segment_is_not_pushed() -> None:
    """Its ACK may well wait for the next one's, which is on its way already."""
    bench = established(config=replace(CONFIG, initial_window=1))
    bench.send(TEXT)
    assert pushed(bench) == [False]


@pytest.mark.rfc("MUST-61")
def test_a_single_segment_that_is_the_last_one_queued_is_pushed() -> None:
    bench = established()
    bench.send(TEXT[:MSS])
    assert pushed(bench) == [True]


def test_a_segment_of_segments_is_a_burst() -> None:
    bench = established(config=replace(CONFIG, max_payload=3 * MSS, initial_window=3))
    bench.send(TEXT)
    assert pushed(bench) == [True]
