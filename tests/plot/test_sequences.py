"""Time-sequence talks: which segment is drawn as what, and where."""

from __future__ import annotations

import pytest

from tests.capture.segments import Talk
from tunstack.plot.sequences import TimeSequence
from tunstack.plot.series import Bars, Crosses, Line
from tunstack.tcp.segment import ACK, FIN, RST, SYN, Segment

ORIGINS = [0, 2**31 - 1, 2**32 - 1000]


def opened(origin: int = 0, wscale: int | None = 2, answer: int | None = 3) -> Talk:
    """The sender's SYN, numbered `origin`, and the peer's answer."""
    talk = Talk()
    talk.sent(0.0, Segment(origin, flags=SYN, wscale=wscale))
    talk.answered(0.1, Segment(7, (origin + 1) % 2**32, SYN | ACK, wnd=5000, wscale=answer))
    return talk


def data(origin: int, start: int, size: int, flags: int = ACK) -> Segment:
    return Segment((origin + start) % 2**32, 8, flags, payload=bytes(size))


def ack(origin: int, number: int, wnd: int = 1000, *sack: tuple[int, int]) -> Segment:
    edges = tuple(((origin + left) % 2**32, (origin + right) % 2**32) for left, right in sack)
    return Segment(8, (origin + number) % 2**32, ACK, wnd, sack=edges)


def shown(talk: Talk) -> dict[str, list[tuple[float, ...]]]:
    """What is drawn, by the names in the legend; what is empty is left out."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for each in TimeSequence(talk.connection, "client").panel().shown:
        match each:
            case Bars(bars=drawn) | Line(points=drawn) | Crosses(points=drawn):
                found[each.name] = [tuple(round(number, 6) for number in one) for one in drawn]
    return found


@pytest.mark.parametrize("origin", ORIGINS)
def test_numbers_count_from_the_syn_in_octets(origin: int) -> None:
    talk = opened(origin)
    talk.sent(0.2, data(origin, 1, 1500))
    talk.sent(0.3, data(origin, 1501, 500, ACK | FIN))
    assert shown(talk)["data"] == [(0.0, 0, 1), (0.2, 1, 1501), (0.3, 1501, 2002)]
    row = talk.connection
    assert (row.octets_to_server, row.retransmissions_to_server) == (2000, 0)


@pytest.mark.parametrize("origin", ORIGINS)
def test_what_is_sent_again_is_told_by_what_our_side_noted(origin: int) -> None:
    talk = opened(origin)
    talk.sent(0.2, data(origin, 1, 3000))
    for why in ("retransmission: fast", "retransmission: timeout", "", "out of window"):
        talk.sent(0.3, data(origin, 1, 1000), why)
    talk.sent(0.4, data(origin, 2001, 1000), "retransmission: tail loss probe")
    found = shown(talk)
    assert found["sent again: fast"] == found["sent again: timeout"] == [(0.3, 1, 1001)]
    assert found["sent again"] == [(0.3, 1, 1001)] * 2
    assert found["tail loss probe"] == [(0.4, 2001, 3001)]
    assert talk.connection.retransmissions_to_server == 5


def test_a_probe_that_carries_something_new_is_data() -> None:
    talk = opened()
    talk.sent(0.2, data(0, 1, 1000), "retransmission: tail loss probe")
    assert "tail loss probe" not in shown(talk)


@pytest.mark.parametrize("origin", ORIGINS)
def test_acknowledged_window_and_sack(origin: int) -> None:
    talk = opened(origin)
    talk.sent(0.2, data(origin, 1, 20_000))
    talk.answered(0.3, ack(origin, 1001, 1000, (3001, 4001), (5001, 6001)))
    found = shown(talk)
    assert found["acknowledged"] == [(0.1, 1), (0.3, 1001)]
    assert found["window"] == [(0.1, 5001), (0.3, 9001)]  # The peer's scale is 3.
    assert found["SACK"] == [(0.3, 3001, 4001), (0.3, 5001, 6001)]


@pytest.mark.parametrize(("ours", "theirs"), [(None, 3), (2, None)])
def test_windows_are_scaled_if_both_said_so(ours: int | None, theirs: int | None) -> None:
    talk = opened(0, ours, theirs)
    talk.sent(0.2, data(0, 1, 20_000))
    talk.answered(0.3, ack(0, 1, 1000))
    assert shown(talk)["window"][-1] == (0.3, 1001)


def test_a_window_far_beyond_does_not_flatten_the_rest() -> None:
    talk = opened()
    talk.sent(0.2, data(0, 1, 6000))
    talk.answered(0.3, ack(0, 6001, 65535))
    panel = TimeSequence(talk.connection, "client").panel()
    assert panel.top == pytest.approx(6001 * 1.1)
    never = Talk()
    never.sent(0.2, data(0, 1, 100))
    never.answered(0.3, ack(0, 101, 65535))
    assert "window" not in shown(never)


def test_probes_resets_and_losses_are_marked() -> None:
    talk = opened()
    talk.sent(0.2, data(0, 1, 1000), lost=True)
    talk.sent(0.3, Segment(0, 8, ACK))  # An old number, which must be answered.
    talk.sent(0.35, Segment(1001, 8, ACK))  # An ordinary ACK.
    talk.sent(0.4, Segment(1001, flags=RST))
    found = shown(talk)
    assert found["lost"] == [(0.2, 501)]
    assert found["probe"] == [(0.3, 0)]
    assert found["reset"] == [(0.4, 1001)]


def test_a_capture_that_begins_late_counts_the_first_octet_as_1_as_the_ladder_does() -> None:
    talk = Talk()
    talk.answered(0.1, ack(2**32 - 5, 0))
    talk.sent(0.2, data(2**32 - 5, 0, 1000))
    assert shown(talk)["data"] == [(0.1, 1, 1001)]
