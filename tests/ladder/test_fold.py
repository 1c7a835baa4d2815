"""Long runs of data, folded."""

from __future__ import annotations

import pytest

from tests.ladder.exchange import Exchange
from tunstack.ladder import Ladder, plain_text, step_from_observation
from tunstack.tcp.segment import ACK, PSH


@pytest.fixture
def exchange() -> Exchange:
    exchange = Exchange()
    exchange.handshake()
    return exchange


def rows(exchange: Exchange, **options: bool) -> list[str]:
    """What is drawn after the handshake, one text for each packet or fold."""
    return [
        line[12:53].strip()
        for line in exchange.drawn(**options).splitlines()[6:]
        if not line.startswith(" " * 15)
    ]


def test_a_long_run_keeps_its_ends_and_sums_up_what_is_between(exchange: Exchange) -> None:
    exchange.fetch(segments=20, size=1448)
    assert rows(exchange) == [
        "── PSH,ACK seq 1 len 78 ack 1 win 64256 ▶",
        "◀─ PSH,ACK seq 1 len 1448 ack 79 ────────",
        "── ACK seq 79 ack 1449 win 64256 ───────▶",
        "… 18 segments, 26064 bytes ←, 18 ACKs →",
        "◀─ PSH,ACK seq 27513 len 1448 ack 79 ────",
        "── ACK seq 79 ack 28961 win 64256 ──────▶",
    ]


def test_full_shows_every_packet(exchange: Exchange) -> None:
    exchange.fetch(segments=20)
    assert len(rows(exchange, full=True)) == 41


@pytest.mark.parametrize(("segments", "count"), [(4, 9), (5, 6)])
def test_a_run_is_folded_when_that_saves_something(
    exchange: Exchange, segments: int, count: int
) -> None:
    exchange.fetch(segments)
    assert len(rows(exchange)) == count


def test_one_of_a_kind_is_in_the_singular(exchange: Exchange) -> None:
    for _ in range(9):
        exchange.send(PSH | ACK, 1, 1, payload=bytes(1))
    exchange.receive(ACK, 1, 10)
    exchange.receive(PSH | ACK, 1, 10, payload=bytes(1))
    exchange.send(ACK, 10, 2)
    exchange.send(ACK, 10, 2)
    assert "… 1 segment, 1 bytes →, 6 segments, 6 bytes ←, 1 ACK →" in exchange.drawn(width=120)


@pytest.mark.parametrize(
    "remarkable",
    [
        {"verdict": "retransmission: timeout"},
        {"wnd": 0},
        {"sack": ((1, 2),)},
        {"after": "CLOSE-WAIT"},
    ],
)
def test_what_is_remarkable_is_not_folded(
    exchange: Exchange, remarkable: dict[str, object]
) -> None:
    exchange.fetch(segments=20)
    exchange.receive(ACK, 79, 2001, **remarkable)
    exchange.fetch(segments=20)
    assert [row[0] for row in rows(exchange)].count("…") == 2
    assert len(rows(exchange)) == 6 + 1 + 6


def test_a_fold_comes_before_what_ended_it_and_times_go_up(exchange: Exchange) -> None:
    exchange.fetch(segments=20)
    exchange.teardown(78, 2000)
    times = [
        float(line.split()[0]) for line in exchange.drawn().splitlines() if line[7:8].isdigit()
    ]
    assert times == sorted(times)


def test_each_connection_has_its_own_run_when_two_talk_at_once() -> None:
    one, two = Exchange(1001), Exchange(1002)
    for exchange in (one, two):
        exchange.handshake()
        exchange.fetch(segments=30)
    ladder = Ladder(width=120)
    lines = []
    for pair in zip(one.observations, two.observations, strict=True):
        for seen in pair:
            lines += ladder.add(step_from_observation(seen))
    lines += ladder.flush()
    folds = [plain_text(line).strip() for line in lines if "…" in plain_text(line)]
    assert [" ".join(fold.split()[1:-1]) for fold in folds] == [
        "#1 … 28 segments, 2800 bytes ←, 28 ACKs →",
        "#2 … 28 segments, 2800 bytes ←, 28 ACKs →",
    ]


def test_flush_tells_what_happened_so_far(exchange: Exchange) -> None:
    ladder = Ladder()
    exchange.fetch(segments=20)
    half = len(exchange.observations) // 2
    for part in (exchange.observations[:half], exchange.observations[half:]):
        for seen in part:
            ladder.add(step_from_observation(seen))
        assert sum("…" in plain_text(line) for line in ladder.flush()) == 1
    assert ladder.flush() == []
