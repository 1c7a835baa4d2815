"""The ladder, drawn from hand-made packets: what is on the page, character by character."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent

import pytest

from tests.ladder.exchange import PAIRS, Exchange, ping
from tunstack.ladder import (
    ASCII,
    UNICODE,
    Ladder,
    plain_text,
    read_packet,
    step_from_observation,
    symbols_for,
)
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, URG


def expected(text: str) -> str:
    return dedent(text).strip("\n").replace("|", "")


@pytest.fixture
def exchange() -> Exchange:
    exchange = Exchange()
    exchange.handshake()
    return exchange


def test_a_whole_connection_in_80_columns(exchange: Exchange) -> None:
    exchange.fetch()
    exchange.teardown(78, 100)
    assert exchange.drawn(names=("kernel", "tunstack")) == expected(
        """
        |      ms #1 kernel 198.51.100.1:40312  198.51.100.2:80 tunstack
        |   0.000 #1 ── SYN seq 0 win 64240 ─────────────────▶ LISTEN → SYN-RECEIVED
        |               mss 1460, sackOK, ts, wscale 7
        |   1.000 #1 ◀─ SYN,ACK seq 0 ack 1 win 64240 ──────── SYN-RECEIVED
        |               mss 1460, sackOK, ts, wscale 5
        |   2.000 #1 ── ACK seq 1 ack 1 win 64256 ───────────▶ SYN-RECEIVED → ESTABLISHED
        |   3.000 #1 ── PSH,ACK seq 1 len 78 ack 1 win 64256 ▶ ESTABLISHED
        |   4.000 #1 ◀─ PSH,ACK seq 1 len 100 ack 79 ───────── ESTABLISHED
        |               win 16064
        |   5.000 #1 ── ACK seq 79 ack 101 win 64256 ────────▶ ESTABLISHED
        |   6.000 #1 ── FIN,ACK seq 79 ack 101 win 64256 ────▶ ESTABLISHED → CLOSE-WAIT
        |   7.000 #1 ◀─ FIN,ACK seq 101 ack 80 win 16064 ───── CLOSE-WAIT → LAST-ACK
        |   8.000 #1 ── ACK seq 80 ack 102 win 64256 ────────▶ LAST-ACK → CLOSED
        """
    )


@pytest.mark.rfc("7413:4.2.2")
def test_data_in_a_syn_and_cookies() -> None:
    exchange = Exchange()
    syn = {"mss": 1460, "wnd": 64240}
    exchange.receive(SYN, 0, after="SYN-RECEIVED", fast_open=b"", **syn)
    exchange.send(SYN | ACK, 0, 1, fast_open=b"biscuits", **syn)
    exchange.receive(SYN, 0, after="SYN-RECEIVED", payload=bytes(78), fast_open=b"12345678", **syn)
    assert exchange.drawn(names=("kernel", "tunstack")) == expected(
        """
        |      ms #1 kernel 198.51.100.1:40312  198.51.100.2:80 tunstack
        |   0.000 #1 ── SYN seq 0 win 64240 ─────────────────▶ LISTEN → SYN-RECEIVED
        |               mss 1460, cookie wanted
        |   1.000 #1 ◀─ SYN,ACK seq 0 ack 1 win 64240 ──────── SYN-RECEIVED
        |               mss 1460, cookie 6269736375697473
        |   2.000 #1 ── SYN seq 0 len 78 win 64240 ──────────▶ SYN-RECEIVED
        |               mss 1460, cookie 3132333435363738
        """
    )


@pytest.mark.parametrize("family", PAIRS)
def test_no_line_is_wider_than_the_terminal(family: str) -> None:
    exchange = Exchange(family=family)
    exchange.handshake()
    exchange.fetch(20)
    exchange.receive(ACK, 1, 1, sack=((1, 99999999), (1, 99999999), (1, 99999999), (1, 99999999)))
    exchange.teardown(78, 2000)
    assert max(map(len, exchange.drawn().splitlines())) <= 80


def test_what_says_nothing_new_does_not_wrap(exchange: Exchange) -> None:
    """A segment's `win`, and then its `ack`, if this side's last row to show one had the same."""
    for seq in (1, 60_000, 1_000_000):
        exchange.send(PSH | ACK, seq, 1, payload=bytes(1448))
    exchange.send(PSH | ACK, 10_000_000, 79, payload=bytes(14480))
    exchange.send(PSH | ACK, 10_014_480, 79, payload=bytes(14480), wnd=501)
    exchange.send(PSH | ACK, 10_028_960, 79, payload=bytes(14480), wnd=501)
    shown = exchange.drawn(full=True).splitlines()[6:]
    assert "\n".join(shown) == expected(
        """
        |   3.000 #1 ◀─ PSH,ACK seq 1 len 1448 win 16064 ───── ESTABLISHED
        |   4.000 #1 ◀─ PSH,ACK seq 60000 len 1448 ack 1 ───── ESTABLISHED
        |   5.000 #1 ◀─ PSH,ACK seq 1000000 len 1448 ack 1 ─── ESTABLISHED
        |   6.000 #1 ◀─ PSH,ACK seq 10000000 len 14480 ─────── ESTABLISHED
        |               ack 79
        |   7.000 #1 ◀─ PSH,ACK seq 10014480 len 14480 ─────── ESTABLISHED
        |               win 16032
        |   8.000 #1 ◀─ PSH,ACK seq 10028960 len 14480 ─────── ESTABLISHED
        """
    )


def test_what_one_side_said_is_new_from_the_other(exchange: Exchange) -> None:
    exchange.send(PSH | ACK, 1_000_000, 1, payload=bytes(60_000), wnd=64256 >> 5)
    lines = exchange.drawn(full=True).splitlines()
    assert "ACK seq 1 ack 1 win 64256 " in lines[-3]  # the kernel's
    assert lines[-1].strip() == "win 64256"


def test_a_wide_terminal_has_room_for_everything_on_the_arrow(exchange: Exchange) -> None:
    exchange.fetch()
    assert exchange.drawn(width=120).splitlines()[7] == (
        "   4.000 #1 ◀─ PSH,ACK seq 1 len 100 ack 79 win 16064 ────────────────── ESTABLISHED"
    )


def test_a_terminal_without_unicode_gets_ascii(exchange: Exchange) -> None:
    text = exchange.drawn(symbols=ASCII)
    assert text.isascii()
    assert text.splitlines()[1] == (
        "   0.000 #1 -- SYN seq 0 win 64240 -----------------> LISTEN -> SYN-RECEIVED"
    )


@pytest.mark.parametrize(
    ("encoding", "symbols"),
    [
        ("utf-8", UNICODE),
        ("UTF-16", UNICODE),
        ("ascii", ASCII),
        ("latin-1", ASCII),
        ("no such thing", ASCII),
        (None, ASCII),
    ],
)
def test_symbols_are_those_that_the_encoding_has(encoding: str | None, symbols: object) -> None:
    assert symbols_for(encoding) is symbols


def test_what_was_dropped_says_why(exchange: Exchange) -> None:
    exchange.receive(ACK, 1, 1, verdict="dropped: bad TCP checksum")
    assert exchange.drawn().splitlines()[-1] == "               ! dropped: bad TCP checksum"


def test_sack_blocks_are_relative_to_what_they_acknowledge(exchange: Exchange) -> None:
    first = exchange.isn["out"]
    exchange.receive(ACK, 1, 1, sack=((first + 101, first + 201), (first + 301, first + 401)))
    assert exchange.drawn().splitlines()[-1] == "               sack 101:201, 301:401"


def test_an_urgent_pointer_is_shown(exchange: Exchange) -> None:
    exchange.receive(ACK | URG, 1, 1, up=3, payload=b"abc")
    assert "URG seq 1 len 3 ack 1 win 64256 urg 3" in exchange.drawn(width=120)


def test_windows_are_not_scaled_when_one_side_cannot() -> None:
    exchange = Exchange()
    exchange.receive(SYN, 0, wscale=7)
    exchange.send(SYN | ACK, 0, 1)
    exchange.receive(ACK, 1, 1)
    assert exchange.drawn().count("win 502") == 3


def test_a_connection_joined_midway_begins_with_1_and_with_windows_as_they_are() -> None:
    exchange = Exchange()
    exchange.state = None
    exchange.receive(PSH | ACK, 5000, 7000, payload=bytes(10))
    exchange.send(ACK, 7000, 5010)
    assert exchange.drawn(states=False, names=("kernel", "tunstack")) == expected(
        """
        |      ms #1 kernel 198.51.100.1:40312                   198.51.100.2:80 tunstack
        |               (its beginning was not seen: windows are as on the wire)
        |   0.000 #1 ── PSH,ACK seq 1 len 10 ack 1 win 502 ─────────────────────▶
        |   1.000 #1 ◀─ ACK seq 1 ack 11 win 502 ────────────────────────────────
        """
    )


def test_a_refused_connection() -> None:
    exchange = Exchange()
    exchange.state = None
    exchange.receive(SYN, 0, verdict="refused: nobody listens")
    exchange.isn["out"] = 0
    exchange.send(RST | ACK, 0, 1, wnd=0)
    assert exchange.drawn() == expected(
        """
        |      ms #1 198.51.100.1:40312        198.51.100.2:80
        |   0.000 #1 ── SYN seq 0 win 502 ───────────────────▶
        |               ! refused: nobody listens
        |   1.000 #1 ◀─ RST,ACK seq 0 ack 1 win 0 ────────────
        """
    )


def test_our_own_connection_has_us_on_the_right_all_the_same() -> None:
    exchange = Exchange()
    exchange.state = None
    exchange.send(SYN, 0, after="SYN-SENT")
    exchange.receive(SYN | ACK, 0, 1, after="ESTABLISHED")
    assert exchange.drawn() == expected(
        """
        |      ms #1 198.51.100.1:40312        198.51.100.2:80
        |   0.000 #1 ◀─ SYN seq 0 win 502 ──────────────────── CLOSED → SYN-SENT
        |   1.000 #1 ── SYN,ACK seq 0 ack 1 win 502 ─────────▶ SYN-SENT → ESTABLISHED
        """
    )


def test_connections_differ_by_number_and_colour() -> None:
    one, two = Exchange(1001), Exchange(1002)
    ladder = Ladder()
    lines = []
    for exchange in (one, two):
        exchange.receive(SYN, 0)
        lines += ladder.add(step_from_observation(exchange.observations[0]))
    assert [plain_text(line).split()[1] for line in lines if len(line) > 2] == ["#1", "#2"]
    styles = [line[1].style for line in lines if len(line) > 2]
    assert len(set(styles)) == 2


def test_the_same_ports_again_with_another_number_are_another_connection(
    exchange: Exchange,
) -> None:
    exchange.teardown()
    exchange.isn["in"] += 5_000_000
    exchange.receive(SYN, 0, after="SYN-RECEIVED")
    headings = [line for line in exchange.drawn().splitlines() if "198.51.100.1" in line]
    assert [heading.split()[:2] for heading in headings] == [["ms", "#1"], ["ms", "#2"]]


def test_a_clock_that_begins_at_0_counts_from_there() -> None:
    """A virtual clock does."""
    exchange = Exchange()
    exchange.receive(SYN, 0)
    exchange.receive(SYN, 0)
    first, second = map(step_from_observation, exchange.observations)
    ladder = Ladder()
    ladder.add(replace(first, time=0.0))
    (line, *_) = ladder.add(replace(second, time=1.5))
    assert plain_text(line).startswith("1500.000 #1")


def test_a_repeated_syn_is_the_same_connection() -> None:
    exchange = Exchange()
    exchange.receive(SYN, 0)
    exchange.receive(SYN, 0)
    assert "#2" not in exchange.drawn()


def test_only_limits_the_ladder_to_a_port(exchange: Exchange) -> None:
    exchange.add("in", ping(reply=False))
    assert exchange.drawn(only=[81]) == ""
    assert exchange.drawn(only=[81, 80]).count("#1") == 4
    assert "ICMP" not in exchange.drawn(only=[80])


class TestWithoutComments:
    """Packets that no host of ours commented on."""

    @staticmethod
    def drawn(exchange: Exchange) -> str:
        ladder = Ladder(states=False)
        lines = []
        for seen in exchange.observations:
            lines += ladder.add(read_packet(seen.time, seen.packet))
        return "\n".join(plain_text(line).rstrip() for line in [*lines, *ladder.flush()])

    def test_whoever_opened_stands_on_the_left_and_there_are_no_states(self) -> None:
        exchange = Exchange()
        exchange.send(SYN, 0)
        exchange.receive(SYN | ACK, 0, 1)
        exchange.send(ACK, 1, 1)
        assert self.drawn(exchange) == expected(
            """
            |      ms #1 198.51.100.2:80                           198.51.100.1:40312
            |   0.000 #1 ── SYN seq 0 win 502 ──────────────────────────────────────▶
            |   1.000 #1 ◀─ SYN,ACK seq 0 ack 1 win 502 ─────────────────────────────
            |   2.000 #1 ── ACK seq 1 ack 1 win 502 ────────────────────────────────▶
            """
        )

    def test_whoever_answers_stands_on_the_right_though_seen_first(self) -> None:
        exchange = Exchange()
        exchange.send(SYN | ACK, 0, 1)
        assert "◀─ SYN,ACK" in self.drawn(exchange)

    def test_a_ping_goes_from_left_to_right_and_back(self) -> None:
        exchange = Exchange()
        exchange.add("in", ping(reply=False))
        exchange.add("out", ping(reply=True))
        assert [line[12] for line in self.drawn(exchange).splitlines()[1:]] == ["─", "◀"]


def test_the_state_of_a_connection_that_ends_in_reset_is_closed(exchange: Exchange) -> None:
    exchange.receive(RST, 1, after=None)
    exchange.send(FIN | ACK, 1, 1)
    last, after = exchange.drawn().splitlines()[-2:]
    assert last.endswith("▶ ESTABLISHED → CLOSED")
    assert after.endswith("─")
