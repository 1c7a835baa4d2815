"""Urgent data: where it ends, who hears of it, and how it is read (RFC 9293 3.8.5, RFC 6093)."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any, Final

import pytest

from tests.tcp.harness import (
    CONFIG,
    MSS,
    NO_OPTIONS,
    Bench,
    Numbers,
    close_wait,
    established,
    fin_wait_1,
    fin_wait_2,
    syn_sent,
)
from tests.tcp.inspection import Tcb
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, URG

S = State
OUT_OF_LINE: Final = replace(CONFIG, urgent_inline=False)


def out_of_line(**setup: Any) -> Bench:
    """A connection on which the urgent octet is taken out of the stream."""
    return established(config=OUT_OF_LINE, **setup)


def signals(bench: Bench) -> int:
    return bench.urgent_signals


def remaining(bench: Bench) -> int:
    return bench.urgent_remaining


def urgent_octet(bench: Bench) -> bytes:
    """What ``recv(1, MSG_OOB)`` returns; it must not have to wait."""
    assert not bench.connection.urgent_is_on_its_way
    return bench.take_urgent()


def expect_no_urgent_octet(bench: Bench) -> None:
    assert not bench.connection.urgent_is_on_its_way
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EINVAL):
        bench.take_urgent()


# Sending


@pytest.mark.rfc("MUST-30")
@pytest.mark.rfc("MUST-62")
@pytest.mark.rfc("6093:3.1")
def test_the_pointer_names_the_octet_that_follows_the_urgent_data(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.send(b"stop", urgent=True)
    bench.expect(ACK | PSH | URG, seq=1, up=4, payload=b"stop")
    bench.send(b"and go")
    bench.expect(ACK | PSH, seq=5, payload=b"and go")


@pytest.mark.rfc("MUST-30")
def test_all_that_is_sent_before_its_end_points_at_it(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(ACK, wnd=MSS)
    bench.send(bytes(2500))
    bench.expect(ACK, seq=1, size=MSS)
    bench.send(b"!", urgent=True)
    bench.expect(ACK | URG, seq=1001, up=1501)  # Which the closed window does not hold up.
    bench.arrive(ACK, wnd=10_000)
    bench.expect(ACK | URG, seq=1001, up=1501, size=MSS)
    bench.expect(ACK | PSH | URG, seq=2001, up=501, size=501)
    bench.arrive(ACK)
    bench.send(b"not urgent")
    bench.expect(ACK | PSH, seq=2502, payload=b"not urgent")


@pytest.mark.rfc("MUST-31")
def test_it_may_be_longer_than_the_pointer_can_say(numbers: Numbers) -> None:
    """The pointer is as far as it can be, and gets there with what follows."""
    bench = established(config=replace(CONFIG, initial_window=1000), **numbers)
    size = 100_000
    bench.arrive(ACK, wnd=65_535)
    bench.send(bytes(size), urgent=True)
    sent = 0
    while sent < size:
        for _, segment in bench.drain():
            assert segment.flags & URG
            assert segment.seq == 1 + sent
            assert segment.up == min(size - sent, 65_535)
            sent += len(segment.payload)
        bench.arrive(ACK)


@pytest.mark.rfc("MUST-30")
def test_what_is_sent_again_points_at_the_same_octet(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.send(b"stop", urgent=True)
    bench.expect(ACK | PSH | URG, up=4, payload=b"stop")
    bench.arrive(ACK, ack=3)
    bench.advance(0.2)
    bench.expect(ACK | PSH | URG, seq=3, up=2, payload=b"op")


@pytest.mark.rfc("MUST-30")
def test_urgent_data_is_announced_into_a_closed_window(numbers: Numbers) -> None:
    """And the probes repeat it: an ACK may be lost."""
    bench = established(**numbers)
    bench.arrive(ACK, wnd=0)
    bench.send(b"wait, ")
    bench.send(b"stop", urgent=True)
    bench.expect(ACK | URG, at=0.0, seq=1, up=10)
    bench.advance(0.2)
    bench.expect(ACK | URG, at=0.2, seq=0, up=11, note="window probe")
    bench.arrive(ACK, wnd=100)
    bench.expect(ACK | PSH | URG, seq=1, up=10, payload=b"wait, stop")


def test_urgent_data_does_not_wait_for_company() -> None:
    """Neither for an ACK (Nagle) nor for a full segment (cork), as on Linux."""
    bench = established(config=replace(CONFIG, cork=True))
    bench.send(b"x", urgent=True)
    bench.expect(ACK | PSH | URG, up=1, payload=b"x")
    bench.send(b"y", urgent=True)
    bench.expect(ACK | PSH | URG, up=1, payload=b"y")


def test_a_link_that_cuts_large_segments_gets_none() -> None:
    bench = established(config=replace(CONFIG, max_payload=65536))
    bench.send(bytes(2 * MSS + 1), urgent=True)
    for up in (2001, 1001, 1):
        segment = bench.expect(ACK | URG | (PSH if up == 1 else 0), up=up, size=min(up, MSS))
        assert segment.seq == 1 + 2001 - up


def test_once_it_has_arrived_all_is_as_before() -> None:
    """Small segments wait for company again, and large ones are cut by the link."""
    bench = established(config=replace(CONFIG, max_payload=65536))
    bench.send(b"x", urgent=True)
    bench.expect(ACK | PSH | URG, up=1, payload=b"x")
    bench.arrive(ACK)
    bench.send(b"y")
    bench.expect(ACK | PSH, payload=b"y")
    bench.send(b"z")
    bench.expect_nothing()
    bench.arrive(ACK)
    bench.expect(ACK | PSH, payload=b"z")
    bench.send(bytes(3 * MSS))
    bench.expect(ACK | PSH, size=3 * MSS)


def test_the_end_is_not_urgent() -> None:
    bench = established()
    bench.send(b"x", urgent=True)
    bench.expect(ACK | PSH | URG, up=1, payload=b"x")
    bench.shutdown()
    bench.expect(FIN | ACK, seq=2)


# Hearing of it


@pytest.mark.rfc("MUST-32")
@pytest.mark.rfc("MUST-33")
def test_the_application_hears_of_it_and_how_much_there_is(numbers: Numbers) -> None:
    bench = established(**numbers)
    assert (signals(bench), remaining(bench)) == (0, 0)
    bench.arrive(ACK | PSH | URG, up=5, payload=b"abc")
    assert (signals(bench), remaining(bench)) == (1, 5)
    assert bench.receive() == b"abc"
    assert remaining(bench) == 2
    bench.arrive(ACK | PSH | URG, up=2, payload=b"defg")  # The same number as before.
    bench.drain()
    assert (signals(bench), remaining(bench)) == (1, 2)
    assert bench.receive() == b"d"
    assert bench.receive() == b"efg"
    assert (signals(bench), remaining(bench)) == (1, 0)


@pytest.mark.rfc("MUST-32")
def test_whenever_it_moves_on(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(ACK | URG, up=3)
    bench.arrive(ACK | URG, up=2)  # Not back.
    bench.arrive(ACK | URG, up=7)
    assert (signals(bench), remaining(bench)) == (2, 7)


@pytest.mark.rfc("MUST-32")
def test_an_urgent_pointer_to_data_already_read_is_ignored(numbers: Numbers) -> None:
    """A pointer of 0, or one that comes late."""
    bench = established(**numbers)
    bench.arrive(ACK | PSH, payload=b"abcdef")
    assert bench.receive() == b"abcdef"
    bench.arrive(ACK | URG, up=0)
    bench.arrive(ACK | PSH | URG, seq=1, up=6, payload=b"abcdef")
    bench.drain()
    assert (signals(bench), remaining(bench)) == (0, 0)


@pytest.mark.rfc("MUST-66")
@pytest.mark.parametrize("payload", [b"", b"!"])
def test_urgent_pointer_is_processed_with_a_closed_window(payload: bytes, numbers: Numbers) -> None:
    bench = established(config=replace(CONFIG, receive_buffer=1000), peer=NO_OPTIONS, **numbers)
    bench.arrive(ACK | PSH, payload=bytes(1000))
    bench.drain()
    assert bench.rcv_wnd == 0
    bench.arrive(ACK | URG, up=1, payload=payload)
    bench.drain()
    assert (signals(bench), remaining(bench)) == (1, 1001)
    assert bench.unread == 1000


@pytest.mark.rfc("MUST-30")
@pytest.mark.parametrize("make", [fin_wait_1, fin_wait_2])
def test_as_long_as_the_peers_half_is_open(make: Any) -> None:
    bench = make()
    bench.arrive(ACK | URG, up=1)
    assert signals(bench) == 1


def test_after_its_end_the_peer_has_nothing_urgent() -> None:
    bench = close_wait()
    bench.arrive(ACK | URG, up=1)
    assert signals(bench) == 0


def test_an_answer_to_a_syn_may_announce_it() -> None:
    bench = syn_sent(peer=NO_OPTIONS)
    bench.arrive(SYN | ACK | URG, seq=0, up=3, mss=1000)
    bench.expect(ACK)
    assert (signals(bench), remaining(bench)) == (1, 2)


def test_the_bit_alone_counts(numbers: Numbers) -> None:
    bench = established(**numbers)
    bench.arrive(ACK, up=3)
    assert signals(bench) == 0


# Reading it in line


@pytest.mark.rfc("6093:5")
def test_in_line_every_octet_is_read_and_the_mark_is_where_reading_pauses(
    numbers: Numbers,
) -> None:
    bench = established(**numbers)
    bench.arrive(ACK | PSH | URG, up=4, payload=b"stop and go")
    assert not bench.at_mark
    assert bench.receive() == b"sto"
    assert bench.at_mark
    assert bench.receive() == b"p and go"
    assert not bench.at_mark
    expect_no_urgent_octet(bench)


def test_two_ends_of_urgent_data_are_one_the_later() -> None:
    bench = established()
    bench.arrive(ACK | PSH | URG, up=2, payload=b"ab")
    bench.arrive(ACK | PSH | URG, up=2, payload=b"cd")
    assert bench.receive() == b"abc"
    assert bench.receive() == b"d"


def test_a_read_of_nothing_does_not_pass_the_mark() -> None:
    bench = established()
    bench.arrive(ACK | PSH | URG, up=1, payload=b"x")
    assert bench.receive(0) == b""
    assert bench.at_mark
    assert bench.receive() == b"x"


# Reading it out of line


def test_out_of_line_the_last_octet_is_read_apart(numbers: Numbers) -> None:
    bench = out_of_line(**numbers)
    bench.arrive(ACK | PSH | URG, up=4, payload=b"stop and go")
    assert urgent_octet(bench) == b"p"
    expect_no_urgent_octet(bench)  # Once.
    assert bench.receive() == b"sto"
    assert bench.at_mark
    assert bench.receive(4) == b" and"
    assert not bench.at_mark
    assert bench.receive() == b" go"
    assert remaining(bench) == 0


def test_it_is_not_lost_for_who_asks_late(numbers: Numbers) -> None:
    bench = out_of_line(**numbers)
    bench.arrive(ACK | PSH | URG, up=4, payload=b"stop and go")
    assert [bench.receive(), bench.receive()] == [b"sto", b" and go"]
    assert urgent_octet(bench) == b"p"
    expect_no_urgent_octet(bench)


def test_it_may_be_announced_before_it_comes(numbers: Numbers) -> None:
    bench = out_of_line(**numbers)
    bench.arrive(ACK | URG, up=3)
    assert bench.connection.urgent_is_on_its_way
    bench.arrive(ACK | PSH, payload=b"ab")
    assert bench.connection.urgent_is_on_its_way
    bench.arrive(ACK | PSH, payload=b"c")
    assert urgent_octet(bench) == b"c"


def test_who_waits_for_data_is_not_woken_for_it_alone() -> None:
    bench = out_of_line()
    bench.arrive(ACK | PSH | URG, up=1, payload=b"!")
    assert not bench.connection.readable
    assert bench.receive() == b""
    assert urgent_octet(bench) == b"!"
    assert not bench.connection.readable
    bench.arrive(ACK | PSH, payload=b"data")
    assert bench.connection.readable
    assert bench.receive() == b"data"


@pytest.mark.parametrize("asks", [False, True])
def test_behind_it_may_be_the_end(asks: bool) -> None:
    """Who has read up to that has read all there is, and may close without a reset."""
    bench = out_of_line()
    bench.arrive(FIN | ACK | URG, up=1, payload=b"!")
    bench.expect(ACK)
    assert bench.connection.readable
    assert bench.receive() == b""
    if asks:
        assert urgent_octet(bench) == b"!"
    bench.close()
    bench.expect(FIN | ACK)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_one_that_never_comes_is_not_waited_for(how: str) -> None:
    bench = out_of_line()
    bench.arrive(ACK | URG, up=9)
    bench.arrive(FIN | ACK if how == "end" else RST)
    bench.drain()
    assert urgent_octet(bench) == b""


def test_of_two_the_first_is_data_after_all() -> None:
    """As with every socket since BSD: there is room for one."""
    bench = out_of_line()
    bench.arrive(ACK | PSH | URG, up=2, payload=b"ab")
    bench.arrive(ACK | PSH | URG, up=2, payload=b"cd")
    assert urgent_octet(bench) == b"d"
    assert bench.receive() == b"abc"


def test_but_not_if_it_was_taken_and_is_next() -> None:
    bench = out_of_line()
    bench.arrive(ACK | PSH | URG, up=1, payload=b"!")
    assert urgent_octet(bench) == b"!"
    bench.arrive(ACK | PSH | URG, up=3, payload=b"ab?")
    assert bench.receive() == b"ab"
    assert urgent_octet(bench) == b"?"


def test_what_is_behind_one_that_was_taken_is_data_when_the_next_is_announced() -> None:
    """That takes away the one octet, of what had come in one segment, or in several."""
    bench = out_of_line()
    bench.arrive(ACK | PSH | URG, up=1, payload=b"!more")
    bench.arrive(ACK | PSH, payload=b" data")
    bench.drain()
    assert urgent_octet(bench) == b"!"
    bench.arrive(ACK | PSH | URG, up=3, payload=b"ab?cd")
    bench.drain()
    assert bench.receive() == b"more dataab"
    assert urgent_octet(bench) == b"?"
    assert bench.receive() == b"cd"


def test_one_that_was_taken_is_data_again_while_there_is_some_before_it() -> None:
    """As on Linux, where only the next octet can go; none of the others does."""
    bench = out_of_line()
    bench.arrive(ACK | PSH | URG, up=2, payload=b"x!more")
    assert urgent_octet(bench) == b"!"
    bench.arrive(ACK | PSH | URG, up=3, payload=b"ab?")
    bench.drain()
    assert bench.receive() == b"x!moreab"


def test_one_that_was_not_taken_is_read_with_what_is_behind_it() -> None:
    bench = out_of_line()
    bench.arrive(ACK | PSH | URG, up=1, payload=b"!more")
    bench.arrive(ACK | PSH | URG, up=1, payload=b"?")
    bench.drain()
    assert bench.receive() == b"!more"
    assert urgent_octet(bench) == b"?"


@pytest.mark.parametrize("taken", [True, False])
def test_closing_without_it_is_closing_with_data_unread(taken: bool) -> None:
    """SHLD-3; but nothing is unread once it was taken."""
    bench = out_of_line()
    bench.arrive(ACK | PSH | URG, up=1, payload=b"!")
    if taken:
        urgent_octet(bench)
    bench.close()
    bench.expect(FIN | ACK if taken else RST, ack=2 if taken else 0)


def test_it_can_be_put_back_in_line() -> None:
    bench = out_of_line()
    bench.arrive(ACK | PSH | URG, up=2, payload=b"ab")
    bench.reconfigure(CONFIG)
    bench.drain()
    expect_no_urgent_octet(bench)
    assert bench.receive() == b"a"
    assert bench.receive() == b"b"


def test_who_waits_for_nothing_any_more_does_not_wait_for_it() -> None:
    bench = out_of_line()
    bench.arrive(ACK | URG, up=3)
    bench.connection.shutdown_receive()
    assert urgent_octet(bench) == b""
    bench.arrive(ACK | PSH, payload=b"abcdef")
    bench.advance(1.0)
    bench.drain()
    assert [bench.receive(), bench.receive(), bench.receive()] == [b"ab", b"def", b""]
    assert remaining(bench) == 0


def test_in_line_nothing_is_lost_on_a_bad_path() -> None:
    path = Impairments(loss=0.1, delay=0.01, reorder=0.1)
    simulator = Simulator(seed=5, impairments=path)
    client, server = simulator.connect()
    simulator.run(lambda: client.flow is not None and client.flow.state is S.ESTABLISHED)
    flow = client.flow
    assert flow is not None
    for number in range(50):
        assert flow.send(bytes([number]) * 1000, simulator.now, urgent=number % 3 == 0) == 1000
    client.shutdown()
    server.shutdown()
    simulator.run(lambda: client.done and server.done)
    assert server.received == b"".join(bytes([number]) * 1000 for number in range(50))
    assert server.flow is not None
    assert Tcb(server.flow).urgent_signals >= 1
    assert Tcb(server.flow).urgent_remaining == 0
