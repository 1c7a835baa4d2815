"""Ping sockets, sans-IO: what they send, which replies and errors are theirs."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.ip.node import BOTH, V4, V6, Ends, Node
from tests.socket.network import fails
from tunstack.ip.family import family_of
from tunstack.ip.icmp import IcmpMessage
from tunstack.stack.echo import Pinger
from tunstack.wire import decode_icmp

if TYPE_CHECKING:
    from tunstack.ip.datagram import Datagram

both = pytest.mark.parametrize("ends", BOTH, ids=["IPv4", "IPv6"])


class Sockets:
    """A node, and ping sockets on it."""

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
        self.node = Node()
        self.echoes = self.node.stack.echoes
        self.woken: list[Pinger] = []

    def open(self, identifier: int = 0, ends: Ends | None = None) -> Pinger:
        pinger = Pinger(family_of((ends or self.ends).ours), lambda: self.woken.append(pinger))
        self.echoes.bind(pinger, None, identifier)
        return pinger

    def request(self, sequence: int = 1, payload: bytes = b"data") -> bytes:
        return bytes((self.ends.request, 0)) + bytes(4) + sequence.to_bytes(2, "big") + payload

    def send(self, pinger: Pinger, sequence: int = 1, payload: bytes = b"data") -> list[Datagram]:
        data = self.request(sequence, payload)
        assert self.echoes.send(pinger, data, self.ends.peer, self.node.now) == len(data)
        return self.node.sent()

    def reply(self, identifier: int, sequence: int = 1, payload: bytes = b"data") -> None:
        rest = identifier << 16 | sequence
        message = IcmpMessage(self.ends.reply, 0, rest, payload)
        assert self.node.icmp(self.ends, message, ttl=9) == []

    def unreachable(self, about: Datagram, *, hard: bool = True) -> None:
        kind, code = {(V4, True): (3, 3), (V4, False): (3, 1), (V6, True): (1, 4)}.get(
            (self.ends, hard), (1, 3)
        )
        assert self.node.icmp(self.ends, IcmpMessage(kind, code, quoted=about)) == []


@both
def test_a_request_has_the_socket_s_identifier(ends: Ends) -> None:
    sockets = Sockets(ends)
    [request] = sockets.send(sockets.open(0x1234), 7)
    message = decode_icmp(request)
    assert (request.src, request.dst) == (ends.ours, ends.peer)
    assert (request.ttl, request.dont_fragment) == (64, True)
    assert message == IcmpMessage(ends.request, 0, 0x12340007, b"data")


@both
def test_ttl_and_service_are_the_socket_s(ends: Ends) -> None:
    sockets = Sockets(ends)
    pinger = sockets.open()
    pinger.ttl, pinger.tos = 3, 0xB8
    [request] = sockets.send(pinger)
    assert (request.ttl, request.tos) == (3, 0xB8)


@pytest.mark.rfc("1122:3.2.2.6-3", "4443:4.2-3")
@both
def test_a_reply_goes_to_the_socket_with_its_identifier(ends: Ends) -> None:
    sockets = Sockets(ends)
    one, other = sockets.open(1), sockets.open(2)
    sockets.reply(2, 9)
    assert sockets.woken == [other]
    assert not one.readable
    reply = sockets.echoes.receive(other)
    assert reply is not None
    assert (reply.source, reply.ttl) == (ends.peer, 9)
    assert (reply.data[0], reply.data[4:]) == (ends.reply, b"\0\2\0\11data")
    assert sockets.echoes.receive(other) is None


@both
def test_the_latest_socket_of_an_identifier_receives(ends: Ends) -> None:
    """As on Linux, where ping sockets share identifiers unless SO_REUSEADDR is off."""
    sockets = Sockets(ends)
    first, second = sockets.open(1), sockets.open(1)
    sockets.reply(1)
    assert (first.readable, second.readable) == (False, True)
    sockets.echoes.close(second)
    sockets.reply(1)
    assert first.readable


def test_sockets_of_the_other_family_or_address_receive_nothing() -> None:
    sockets = Sockets(V4)
    ipv6 = sockets.open(1, V6)
    elsewhere = Pinger(family_of(V4.ours), lambda: None)
    sockets.echoes.bind(elsewhere, V4.ours, 1)
    elsewhere.local = V4.other
    sockets.reply(1)
    assert (ipv6.readable, elsewhere.readable) == (False, False)
    assert sockets.node.statistics["icmp_unmatched"] == 1


def test_an_identifier_can_be_kept_for_oneself() -> None:
    sockets = Sockets(V4)
    pinger = sockets.open(1)
    pinger.reuse = False
    with fails(errno.EADDRINUSE):
        sockets.open(1)
    with fails(errno.EADDRINUSE):
        sockets.open(1, V6)
    sockets.echoes.close(pinger)
    sockets.open(1)


@both
def test_what_cannot_be_bound_is_refused(ends: Ends) -> None:
    sockets = Sockets(ends)
    with fails(errno.EINVAL):
        sockets.echoes.bind(sockets.open(), None, 0)
    with fails(errno.EADDRNOTAVAIL):
        sockets.echoes.bind(Pinger(family_of(ends.ours), lambda: None), ends.other, 0)


def test_identifiers_are_unused_ones_until_none_is() -> None:
    sockets = Sockets(V4)
    unused = {*range(1, 65536, 128), 65535}
    for identifier in set(range(1, 65536)) - unused:
        sockets.open(identifier)
    assert {sockets.open().identifier for _ in unused} == unused
    with fails(errno.EADDRINUSE):
        sockets.open()


@both
@pytest.mark.parametrize(
    "data",
    [b"", bytes(7), bytes(8), b"\x0d" + bytes(7), b"\x08\1" + bytes(6), b"\x80\1" + bytes(6)],
)
def test_what_is_no_echo_request_is_refused(ends: Ends, data: bytes) -> None:
    sockets = Sockets(ends)
    with fails(errno.EINVAL):
        sockets.echoes.send(sockets.open(), data, ends.peer, 0.0)


@both
def test_a_request_needs_an_address_and_has_a_longest_size(ends: Ends) -> None:
    sockets = Sockets(ends)
    pinger, longest = sockets.open(), 65507 if ends is V4 else 65527
    with fails(errno.EDESTADDRREQ):
        sockets.echoes.send(pinger, sockets.request(), None, 0.0)
    for more in (1, 100):
        with fails(errno.EMSGSIZE):
            sockets.send(pinger, 1, bytes(longest + more))
    assert sum(len(part.payload) for part in sockets.send(pinger, 1, bytes(longest))) == longest + 8


def test_a_broadcast_address_is_refused() -> None:
    sockets = Sockets(V4)
    for address in (b"\xc6\x33\x64\xff", b"\xff\xff\xff\xff"):
        with fails(errno.EACCES):
            sockets.echoes.send(sockets.open(), sockets.request(), address, 0.0)


@both
@pytest.mark.parametrize("mtu", [1500, 1300])
def test_a_large_request_is_fragmented_by_the_path_mtu(ends: Ends, mtu: int) -> None:
    sockets = Sockets(ends)
    sockets.node.stack.paths.mtus.lower(ends.peer, mtu, sockets.node.now)
    pinger = sockets.open()
    fits = mtu - ends.header - 8
    [whole] = sockets.send(pinger, 1, bytes(fits))
    assert whole.dont_fragment
    first, last = sockets.send(pinger, 2, bytes(fits + 1))
    assert (first.more_fragments, last.more_fragments) == (True, False)
    assert ends.header + len(first.payload) <= mtu


@both
def test_an_answer_of_our_own_address_comes_back(ends: Ends) -> None:
    sockets = Sockets(ends)
    pinger = sockets.open()
    sockets.echoes.send(pinger, sockets.request(), ends.ours, 0.0)
    while sockets.node.stack.deadline() == float("-inf"):
        sockets.node.stack.handle_timers(sockets.node.now)
    assert sockets.node.sent() == []
    reply = sockets.echoes.receive(pinger)
    assert reply is not None
    assert (reply.data[0], reply.source) == (ends.reply, ends.ours)


# Errors


@both
@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("wants_errors", [False, True])
def test_errors_are_told_to_whom_linux_tells_them(
    ends: Ends, connected: bool, hard: bool, wants_errors: bool
) -> None:
    sockets = Sockets(ends)
    pinger = sockets.open()
    pinger.wants_errors = wants_errors
    if connected:
        sockets.echoes.connect(pinger, ends.peer, 0)
    sockets.unreachable(sockets.send(pinger)[0], hard=hard)
    told = wants_errors or (connected and hard)
    assert (sockets.woken == [pinger]) is told
    if told:
        with fails(errno.ECONNREFUSED if hard else errno.EHOSTUNREACH):
            sockets.echoes.receive(pinger)
    assert sockets.echoes.receive(pinger) is None  # Once.


@both
def test_an_error_is_told_by_the_next_request_too_once(ends: Ends) -> None:
    sockets = Sockets(ends)
    pinger = sockets.open()
    sockets.echoes.connect(pinger, ends.peer, 0)
    sockets.unreachable(sockets.send(pinger)[0])
    with fails(errno.ECONNREFUSED):
        sockets.send(pinger)
    assert len(sockets.send(pinger)) == 1


@pytest.mark.rfc("5927:4")
@both
@pytest.mark.parametrize("what", ["sequence", "identifier", "destination", "type"])
def test_an_error_about_what_was_not_sent_is_not_believed(ends: Ends, what: str) -> None:
    sockets = Sockets(ends)
    pinger = sockets.open(0x1234)
    pinger.wants_errors = True
    [sent] = sockets.send(pinger)
    payload = bytearray(sent.payload)
    if what == "destination":
        sent.dst = ends.other
    else:
        payload[{"sequence": 7, "identifier": 5, "type": 0}[what]] ^= 8
    sent.payload = bytes(payload)
    sockets.unreachable(sent)
    assert not pinger.readable
    assert sockets.node.statistics["icmp_unmatched"] == 1


@pytest.mark.rfc("5927:4")
@both
def test_of_each_request_one_error_is_believed(ends: Ends) -> None:
    sockets = Sockets(ends)
    pinger = sockets.open()
    pinger.wants_errors = True
    [sent] = sockets.send(pinger)
    sockets.unreachable(sent)
    with fails(errno.ECONNREFUSED):
        sockets.echoes.receive(pinger)
    sockets.unreachable(sent)
    assert not pinger.readable


@both
def test_a_packet_that_is_too_big_lowers_the_path_mtu(ends: Ends) -> None:
    sockets = Sockets(ends)
    pinger = sockets.open()
    [sent] = sockets.send(pinger, 1, bytes(1400))
    kind, code = (3, 4) if ends is V4 else (2, 0)
    sockets.node.icmp(ends, IcmpMessage(kind, code, 1300, quoted=sent))
    assert sockets.node.stack.paths.mtus.get(ends.peer) == 1300
    assert len(sockets.send(pinger, 2, bytes(1400))) == 2


# Bounds


@both
def test_replies_are_bounded_by_the_receive_buffer(ends: Ends) -> None:
    sockets = Sockets(ends)
    pinger = sockets.open(1)
    pinger.receive_buffer = 4096
    for sequence in range(100):
        sockets.reply(1, sequence, bytes(100))
    assert 5 < len(pinger.replies) < 40
    assert sockets.node.statistics["echo_overflow"] == 100 - len(pinger.replies)
    held = sockets.node.stack.memory.budget.used
    assert held >= 108 * len(pinger.replies)
    sockets.echoes.close(pinger)
    assert sockets.node.stack.memory.budget.used == 0
    assert held <= 4096


def test_a_closed_socket_receives_nothing() -> None:
    sockets = Sockets(V4)
    pinger = sockets.open(1)
    sockets.echoes.close(pinger)
    sockets.reply(1)
    assert not pinger.readable
