"""Fast Open as a server: whose data is believed, and what may be done before the handshake ends."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.tcp.crowd import CONFIG, MSS, PORT, Crowd, Peer, state
from tests.tcp.inspection import Tcb
from tunstack.stack.limits import Limits
from tunstack.tcp.connection.state import State
from tunstack.tcp.listen.fast_open_cookies import PERIOD
from tunstack.tcp.listen.fast_open_queue import RESET_PENALTY
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN, Segment
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.stack.flow import Flow

REQUEST = b"question"
SEGMENT = MSS - 12

pytestmark = pytest.mark.rfc("7413:4.2.2")


class Bakery(Crowd):
    """A crowd around a listener that gives cookies, and believes those who have one."""

    def __init__(self, *, queue: int = 5, limits: Limits | None = None, **parameters: Any) -> None:
        config = replace(CONFIG, fast_open_queue=queue, **parameters)
        super().__init__(config, limits=limits)

    def cookie(self, address: bytes) -> bytes:
        """The one that whoever is at `address` is given; its connection comes to nothing."""
        customer = Customer(self, address, 999)
        answer = customer.syn(cookie=b"")
        assert answer is not None
        assert answer.fast_open
        customer.ack(RST)
        return answer.fast_open

    def customer(self) -> Customer:
        """Somebody new, with a cookie that is good."""
        stranger = self.peer()
        customer = Customer(self, stranger.address, stranger.sport)
        customer.cookie = self.cookie(stranger.address)
        return customer

    def served(self, data: bytes = REQUEST) -> tuple[Customer, Flow]:
        """A customer whose SYN had data, and our end of that connection, accepted at once."""
        customer = self.customer()
        customer.syn(data)
        return customer, self.accept()

    def fast(self) -> dict[str, int]:
        """What was counted of Fast Open."""
        prefix = "fast_open_"
        return {
            name.removeprefix(prefix): count
            for name, count in self.statistics.items()
            if name.startswith(prefix)
        }


class Customer(Peer):
    """A peer that knows about cookies."""

    def __init__(self, crowd: Crowd, address: bytes, sport: int) -> None:
        super().__init__(crowd, address, sport, PORT, {})
        self.cookie = b""
        self.window = 65535
        self.answers: list[Segment] = []

    def syn(self, data: bytes = b"", *, cookie: bytes | None = None, flags: int = 0) -> Segment:
        """It sends a SYN with its cookie, or another, and data; returns the SYN,ACK."""
        self.nxt = (self.isn + 1) & MASK
        what = self.cookie if cookie is None else cookie
        syn = Segment(self.isn, 0, SYN | flags, self.window, payload=data, **self.offer)
        syn.fast_open = what
        self.answers = self.arrive(syn)
        self.answer = self.answers[0]
        assert self.answer.flags == SYN | ACK
        self.expected = (self.answer.seq + 1) & MASK
        return self.answer

    @property
    def acknowledged(self) -> int:
        """How many octets of its data the SYN,ACK acknowledged."""
        assert self.answer is not None
        return (self.answer.ack - self.isn - 1) & MASK


# Cookies


@pytest.mark.rfc("7413:4.1.2", "7413:4.2.1")
def test_a_cookie_is_sent_on_request() -> None:
    bakery = Bakery()
    stranger = bakery.peer()
    assert len(bakery.cookie(stranger.address)) == 8
    assert len(bakery.listener) == 0
    assert bakery.fast() == {"cookies_given": 1}


def test_who_has_a_cookie_is_served_at_once() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    assert customer.acknowledged == len(REQUEST)
    assert customer.answer is not None
    assert customer.answer.fast_open is None
    assert flow.receive(100) == REQUEST
    assert state(flow) is State.SYN_RECEIVED
    assert bakery.fast() == {"cookies_given": 1, "passive": 1}
    assert bakery.stack.statistics()["half_open"] == 0


def test_a_cookie_without_data_is_as_good() -> None:
    """The server may be the first to speak."""
    bakery = Bakery()
    customer, flow = bakery.served(b"")
    assert customer.acknowledged == 0
    assert not flow.readable
    flow.send(b"220 ready", bakery.now)
    assert [out.segment.payload for out in bakery.act(flow)] == [b"220 ready"]


@pytest.mark.rfc("7413:4.1.2")
@pytest.mark.parametrize("cookie", [b"1234", b"12345678", b"1234567890abcdef"])
def test_a_bad_cookie_is_exchanged_for_a_good_one_and_its_data_left(cookie: bytes) -> None:
    bakery = Bakery()
    customer = bakery.customer()
    assert customer.syn(REQUEST, cookie=cookie).fast_open == customer.cookie
    assert customer.acknowledged == 0
    assert len(bakery.listener) == 0
    customer.send(REQUEST)
    assert bakery.accept().receive(100) == REQUEST
    assert bakery.fast() == {"cookies_given": 1, "passive_failed": 1}


@pytest.mark.rfc("7413:4.1.2")
def test_a_cookie_is_good_for_its_bearer_alone() -> None:
    bakery = Bakery()
    thief = bakery.customer()
    thief.cookie = bakery.customer().cookie
    thief.syn(REQUEST)
    assert thief.acknowledged == 0


@pytest.mark.rfc("7413:4.1.2")
def test_a_cookie_of_the_last_key_is_good_and_exchanged() -> None:
    bakery = Bakery()
    customer = bakery.customer()
    bakery.advance(PERIOD)
    new = customer.syn(REQUEST).fast_open
    assert customer.acknowledged == len(REQUEST)
    assert new is not None
    assert new == bakery.cookie(customer.address) != customer.cookie


@pytest.mark.rfc("7413:4.1.2")
def test_a_cookie_of_the_key_before_that_is_not() -> None:
    bakery = Bakery()
    customer = bakery.customer()
    bakery.advance(2 * PERIOD)
    customer.syn(REQUEST)
    assert customer.acknowledged == 0


# Without Fast Open


def test_a_listener_has_no_fast_open_by_default() -> None:
    bakery = Bakery()
    customer = bakery.customer()
    bakery.listener.config = CONFIG
    assert customer.syn(REQUEST).fast_open is None
    assert customer.acknowledged == 0
    assert bakery.fast() == {"cookies_given": 1}


def test_data_without_the_option_is_left() -> None:
    bakery = Bakery()
    peer = bakery.peer()
    [answer] = peer.arrive(Segment(peer.isn, flags=SYN, wnd=65535, payload=REQUEST, **peer.offer))
    assert answer.ack == (peer.isn + 1) & MASK
    assert answer.fast_open is None


@pytest.mark.rfc("4987:3.6")
def test_syn_cookies_know_of_no_other() -> None:
    """With as many half open as may be, data could not be told from a flood's."""
    bakery = Bakery(limits=Limits(half_open=1))
    customer = bakery.customer()
    bakery.peer().syn()
    assert customer.syn(REQUEST).fast_open is None
    assert customer.acknowledged == 0
    assert bakery.statistics["syncookies_sent"] == 1
    customer.send(REQUEST)
    assert bakery.accept().receive(100) == REQUEST


def test_when_too_many_wait_to_be_accepted_a_syn_is_dropped() -> None:
    bakery = Bakery(queue=100)
    for _ in range(6):
        bakery.customer().syn(REQUEST)
    late = bakery.peer()
    late.syn()
    assert late.answer is None
    assert bakery.statistics["tcp_backlog_full"] == 1


# How many


@pytest.mark.rfc("7413:4.2", "7413:5.1")
def test_so_many_are_served_before_their_handshake_ends() -> None:
    bakery = Bakery(queue=2)
    customers = [bakery.customer() for _ in range(4)]
    for customer in customers[:3]:
        customer.syn(REQUEST)
    assert [customer.acknowledged for customer in customers[:3]] == [8, 8, 0]
    third = customers[2].answer
    assert third is not None
    assert third.fast_open is None
    assert bakery.fast()["overflow"] == 1
    customers[0].ack(seq=(customers[0].nxt + 8) & MASK)
    customers[3].syn(REQUEST)
    assert customers[3].acknowledged == 8


@pytest.mark.rfc("7413:5.1")
def test_one_that_is_reset_counts_for_a_while() -> None:
    """Or the victims of a forger's SYNs, by their RSTs, would make room for more of them."""
    bakery = Bakery(queue=1)
    victim, other = bakery.customer(), bakery.customer()
    victim.syn(REQUEST)
    victim.ack(RST, seq=(victim.nxt + 8) & MASK)
    bakery.advance(RESET_PENALTY - 1)
    assert other.syn(REQUEST).ack == (other.isn + 1) & MASK
    other.ack(RST)
    bakery.advance(1)
    assert other.syn(REQUEST).ack == (other.isn + 9) & MASK


@pytest.mark.rfc("7413:4.2")
def test_one_that_is_closed_makes_room() -> None:
    bakery = Bakery(queue=1)
    _, flow = bakery.served()
    flow.abort()
    bakery.act(flow)
    bakery.served()


# Before the handshake ends


def test_it_may_answer_before_the_handshake_ends() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    assert flow.send(b"answer", bakery.now) == 6
    [out] = bakery.act(flow)
    assert (out.segment.flags, out.segment.payload) == (ACK | PSH, b"answer")
    assert out.segment.seq == customer.expected
    assert out.segment.ack == (customer.nxt + len(REQUEST)) & MASK
    customer.ack(seq=out.segment.ack, ack=(customer.expected + 6) & MASK)
    assert state(flow) is State.ESTABLISHED
    assert Tcb(flow).outstanding == 0


def test_an_answer_may_go_out_in_one_batch_with_the_syn_ack() -> None:
    bakery = Bakery()
    customer = bakery.customer()

    def serve() -> None:
        flow = bakery.accept()
        flow.send(flow.receive(100).upper(), bakery.now)

    bakery.listener.changed = serve
    customer.syn(REQUEST)
    assert [bytes(answer.payload) for answer in customer.answers] == [b"", b"QUESTION"]


def test_no_more_than_the_initial_window_goes_out() -> None:
    bakery = Bakery()
    _, flow = bakery.served()
    flow.send(bytes(100_000), bakery.now)
    sent = bakery.act(flow)
    assert [len(out.segment.payload) for out in sent] == [SEGMENT] * 10  # Beside the SYN,ACK.


def test_the_syn_is_no_part_of_what_is_on_its_way_when_it_is_acknowledged() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    flow.send(bytes(100_000), bakery.now)
    bakery.act(flow)
    customer.ack(seq=(customer.nxt + len(REQUEST)) & MASK)
    assert Tcb(flow).pipe == Tcb(flow).outstanding == 10 * SEGMENT


def test_no_more_than_the_window_of_the_syn_goes_out() -> None:
    bakery = Bakery()
    customer = bakery.customer()
    customer.window = 1000
    customer.syn(REQUEST)
    flow = bakery.accept()
    flow.send(bytes(100_000), bakery.now)
    [out] = bakery.act(flow)
    assert len(out.segment.payload) == 1000


def test_nothing_is_accepted_twice() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    customer.ack(seq=(customer.nxt + 8) & MASK)
    assert state(flow) is State.ESTABLISHED
    assert bakery.listener.accept() is None
    assert flow.receive(100) == REQUEST


def test_one_that_is_accepted_needs_no_room_among_those_that_wait() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    for peer in bakery.peers(6):
        peer.syn()
        peer.ack()
    assert bakery.listener.full
    customer.ack(seq=(customer.nxt + 8) & MASK)
    assert state(flow) is State.ESTABLISHED


def test_what_went_out_early_is_not_unsent() -> None:
    bakery = Bakery()
    _, flow = bakery.served()
    flow.send(b"answer", bakery.now)
    assert flow.info().notsent == 6
    bakery.act(flow)
    assert flow.info().notsent == 0


def test_more_data_may_end_the_handshake() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    customer.ack(ACK | PSH, b" and more", seq=(customer.nxt + 8) & MASK)
    assert flow.receive(100) == REQUEST + b" and more"


def test_the_syn_again_is_answered_again_and_its_data_not_given_twice() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    for _ in range(2):
        bakery.advance(0.1)
        answer = customer.syn(REQUEST)
        assert answer.ack == (customer.isn + 9) & MASK
    answers = customer.arrive(Segment(customer.isn, flags=SYN, wnd=65535, **customer.offer))
    assert [answer.ack for answer in answers] == [(customer.isn + 9) & MASK]
    assert flow.receive(100) == REQUEST
    assert bakery.listener.accept() is None


def test_the_syn_ack_goes_out_again_and_the_answer_after_the_handshake() -> None:
    """Who has not got the SYN,ACK had no use for the answer either."""
    bakery = Bakery()
    customer, flow = bakery.served()
    flow.send(b"answer", bakery.now)
    bakery.act(flow)
    sent = bakery.advance(2.9)
    assert [out.segment.flags for out in sent] == [SYN | ACK]
    assert sent[0].segment.fast_open is None
    assert sent[0].segment.ack == (customer.nxt + 8) & MASK
    customer.ack(seq=(customer.nxt + 8) & MASK, ts_ecr=sent[0].segment.ts_val)
    [again] = bakery.advance(5.0)[:1]
    assert again.segment.payload == b"answer"
    customer.ack(seq=(customer.nxt + 8) & MASK, ack=(customer.expected + 6) & MASK)
    assert Tcb(flow).outstanding == 0


def test_a_second_cookie_is_not_sent_again() -> None:
    bakery = Bakery()
    customer = bakery.customer()
    customer.syn(cookie=b"12345678")
    [again] = bakery.advance(1.5)
    assert again.segment.fast_open is None


def test_nobody_answers() -> None:
    bakery = Bakery()
    _, flow = bakery.served()
    bakery.advance(200.0)
    assert state(flow) is State.CLOSED
    assert flow.receive(100) == REQUEST
    with pytest.raises(OSError, check=lambda error: error.errno == errno.ETIMEDOUT):
        flow.receive(100)


def test_a_reset_is_reported_to_the_application() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    customer.ack(RST, seq=(customer.nxt + 8) & MASK)
    assert bakery.flow(customer) is None
    assert flow.receive(100) == REQUEST
    with pytest.raises(OSError, check=lambda error: error.errno == errno.ECONNRESET):
        flow.receive(100)


@pytest.mark.rfc("5961:4")
def test_a_syn_within_the_window_is_challenged() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    syn = Segment((customer.nxt + 100) & MASK, flags=SYN, wnd=65535, **customer.offer)
    [answer] = customer.arrive(syn)
    assert answer.flags == ACK
    assert answer.ack == (customer.nxt + 8) & MASK
    assert state(flow) is State.SYN_RECEIVED


def test_a_syn_with_a_fin_is_dropped_whatever_its_cookie() -> None:
    """As on Linux, which has no T/TCP either."""
    bakery = Bakery()
    customer = bakery.customer()
    syn = Segment(customer.isn, 0, SYN | FIN, 65535, payload=REQUEST, **customer.offer)
    syn.fast_open = customer.cookie
    assert customer.arrive(syn) == []
    assert len(bakery.stack.demux.connections) == len(bakery.listener) == 0
    customer.syn(REQUEST)  # Without it, it is as good as ever.
    assert bakery.accept().receive(100) == REQUEST
    customer.ack(FIN | ACK, seq=(customer.nxt + 8) & MASK)
    assert [info.state for info in bakery.stack.connections()] == ["CLOSE-WAIT"]


def test_a_close_waits_for_the_handshake() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    flow.receive(100)
    flow.send(b"answer", bakery.now)
    flow.close()
    [out] = bakery.act(flow)
    assert out.segment.payload == b"answer"
    customer.ack(seq=(customer.nxt + 8) & MASK, ack=(customer.expected + 6) & MASK)
    assert [out.segment.flags for out in bakery.latest] == [FIN | ACK]


def test_a_close_with_its_data_unread_resets() -> None:
    bakery = Bakery()
    _, flow = bakery.served()
    flow.close()
    assert [out.segment.flags for out in bakery.act(flow)] == [RST | ACK]


def test_closing_a_listener_resets_connections_not_accepted() -> None:
    bakery = Bakery()
    bakery.customer().syn(REQUEST)
    bakery.stack.unlisten(None, PORT, bakery.listener)
    assert [out.segment.flags for out in bakery.flush()] == [RST | ACK]
    assert not bakery.stack.demux.connections


def test_one_that_is_accepted_goes_on_without_its_listener() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    bakery.stack.unlisten(None, PORT, bakery.listener)
    customer.ack(seq=(customer.nxt + 8) & MASK)
    assert state(flow) is State.ESTABLISHED


@pytest.mark.rfc("6191:2")
def test_a_customer_that_comes_again_in_time_wait() -> None:
    bakery = Bakery()
    customer, flow = bakery.served()
    flow.receive(100)
    flow.close()
    customer.nxt = (customer.nxt + 8) & MASK
    customer.ack()
    customer.expected = (customer.expected + 1) & MASK
    customer.ack(FIN | ACK)
    assert state(flow) is State.TIME_WAIT
    bakery.advance(5.0)
    customer.isn = (customer.nxt + 1000) & MASK
    customer.offer["ts_val"] = 9000
    customer.syn(REQUEST)
    assert bakery.accept().receive(100) == REQUEST


def test_the_data_of_a_syn_may_be_more_than_the_buffer_takes() -> None:
    bakery = Bakery(receive_buffer=1000)
    customer, flow = bakery.served(bytes(1400))
    assert customer.acknowledged == 1000
    assert len(flow.receive(2000)) == 1000


@pytest.mark.rfc("7413:4.2")
def test_a_syn_whose_data_was_not_taken_may_come_twice() -> None:
    """Its data is in the window, it is not: section 3.10.7.4 speaks of a SYN that is."""
    bakery = Bakery()
    stranger = bakery.peer()
    customer = Customer(bakery, stranger.address, stranger.sport)
    first = customer.syn(REQUEST, cookie=b"no such")
    again = customer.syn(REQUEST, cookie=b"no such")
    assert (again.seq, again.ack) == (first.seq, first.ack)
    customer.ack(ACK)
    assert len(bakery.listener) == 1
