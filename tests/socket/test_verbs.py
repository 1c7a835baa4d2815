"""The verbs of a connection, between two hosts, as the other one sees them."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio

from tests.kernel.ends import IPV4, IPV6
from tests.socket.network import fails, fill
from tunstack import Host, Packet, TcpListener, TcpStream, memory_pair
from tunstack.host.host import loop_of
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kernel.ends import Ends
    from tunstack import Observation
    from tunstack.tcp.segment import Segment

pytestmark = pytest.mark.parametrize("ends", [IPV4, IPV6], ids=["IPv4", "IPv6"])

PORT = 80


class Wire:
    """What comes to a host, as its tap."""

    def __init__(self) -> None:
        self.verdicts: list[str] = []
        self.segments: list[Segment] = []

    def __call__(self, seen: Observation) -> None:
        if seen.direction == "in":
            self.verdicts.append(seen.verdict)
            if not seen.verdict.startswith("dropped"):
                self.segments.append(decode_segment(decode_datagram(seen.packet))[2])

    def taken(self) -> list[Segment]:
        """What has come since the last call."""
        segments, self.segments = self.segments, []
        return segments


class Connected(NamedTuple):
    """A connection: `near`, whose verbs are tried, and `far`, with all that comes to it."""

    host: Host
    near: TcpStream
    far: TcpStream
    wire: Wire
    theirs: Host
    listener: TcpListener


@asynccontextmanager
async def connected(ends: Ends) -> AsyncIterator[Connected]:
    left, right = memory_pair()
    wire = Wire()
    async with (
        Host(left, [ends.address], seed=1) as ours,
        Host(right, [f"{ends.kernel}/{ends.prefix}"], seed=2, tap=wire) as theirs,
    ):
        listeners = await ours.open_tcp_listeners(PORT)
        far = await theirs.open_tcp_stream(ends.ours, PORT)
        near = await listeners[0].accept()
        await trio.sleep(1)
        wire.taken()
        yield Connected(ours, near, far, wire, theirs, listeners[0])


async def exactly(stream: TcpStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive_some(size - len(data))
    return data


# freeze, thaw


async def test_a_frozen_window_takes_what_was_offered_and_opens_again(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, wire, *_):
        near.freeze()
        offered = far.socket.tcp_info().snd_wnd
        unit = 1 << near.socket.tcp_info().rcv_wscale
        sent = await fill(far.socket)
        taken = near.socket.tcp_info().unread
        assert offered <= taken <= offered + unit
        await exactly(near, taken)
        await trio.sleep(10)
        assert near.socket.tcp_info().unread == far.socket.tcp_info().snd_wnd == 0
        edges = [each.ack + each.wnd * unit for each in wire.taken()]
        assert all(edge > max(edges[:i]) - unit for i, edge in enumerate(edges) if i)
        near.thaw()
        await exactly(near, sent - taken)


async def test_a_window_closes_after_so_many_octets(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, *_):
        near.freeze(5000, shrink=True)
        await trio.sleep(1)
        assert 5000 <= far.socket.tcp_info().snd_wnd <= 5128
        await fill(far.socket)
        assert 5000 <= near.socket.tcp_info().unread <= 5256
        await near.send_all(b"the other half goes on")
        assert await far.receive_some() == b"the other half goes on"


async def test_a_connection_whose_window_is_frozen_ends_as_any(ends: Ends) -> None:
    """Its TIME-WAIT as well, without a socket."""
    async with connected(ends) as (host, near, far, *_):
        near.freeze(1000, shrink=True)
        await near.send_eof()
        await far.send_eof()
        assert await near.receive_some() == b""
        await near.aclose()
        await trio.sleep(1)
        assert [info.state for info in host.connections()] == ["TIME-WAIT"]
        assert host.statistics()["internal_errors"] == 0


async def test_a_frozen_window_is_probed_for_ever_and_no_error(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, wire, *_):
        near.freeze(shrink=True)
        await fill(far.socket)
        wire.taken()
        await trio.sleep(3600)
        answers = wire.taken()
        assert len(answers) > 10
        assert {each.wnd for each in answers} == {0}
        assert far.socket.tcp_info().state == "ESTABLISHED"


# vanish


async def test_who_vanishes_answers_nothing_and_its_peer_times_out(ends: Ends) -> None:
    async with connected(ends) as (host, near, far, wire, *_):
        near.vanish()
        await far.send_all(b"are you there?")
        with pytest.raises(trio.BrokenResourceError, match="timed out"):
            await far.receive_some()
        assert near.socket.tcp_info().bytes_received == 0
        assert wire.taken() == []
        assert host.statistics()["rules_dropped"] > 5


async def test_closing_what_has_vanished_sends_nothing_and_frees_it_at_once(ends: Ends) -> None:
    async with connected(ends) as (host, near, far, wire, *_):
        near.vanish()
        await near.send_all(b"lost")
        await near.send_eof()
        await near.aclose()
        assert host.connections() == []
        await far.send_all(b"are you there?")
        await trio.sleep(100)
        assert wire.taken() == []
        assert host.statistics()["packets_received"] == 2  # The handshake's.


@pytest.mark.parametrize("ending", ["closed", "aborted", "open"])
async def test_what_has_vanished_is_silent_at_the_end_of_its_host(ends: Ends, ending: str) -> None:
    left, right = memory_pair()
    wire = Wire()
    async with Host(right, [f"{ends.kernel}/{ends.prefix}"], seed=2, tap=wire) as theirs:
        async with Host(left, [ends.address], seed=1) as ours:
            listeners = await ours.open_tcp_listeners(PORT)
            far = await theirs.open_tcp_stream(ends.ours, PORT)
            near = await listeners[0].accept()
            near.vanish("out")
            wire.taken()
            await near.send_all(b"lost")
            if ending == "closed":
                await near.aclose()
            elif ending == "aborted":
                near.abort()
            before = trio.current_time()
        assert trio.current_time() == before
        await far.send_all(b"are you there?")
        await trio.sleep(10)
        assert wire.taken() == []
        assert far.socket.tcp_info().state == "ESTABLISHED"


async def test_what_was_sent_before_still_goes_out(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, *_):
        await near.send_all(b"last words")
        near.vanish()
        assert await far.receive_some() == b"last words"


async def test_who_is_deaf_goes_on_sending(ends: Ends) -> None:
    """Its peer's ACKs are lost: it retransmits, and the peer hears it again and again."""
    async with connected(ends) as (_, near, far, wire, *_):
        near.vanish("in")
        await near.send_all(b"hello")
        assert await far.receive_some() == b"hello"
        await trio.sleep(10)
        assert [bytes(each.payload) for each in wire.taken()].count(b"hello") > 2
        assert near.socket.tcp_info().unacked == 5
        await near.aclose()
        assert await far.receive_some() == b""


async def test_who_is_mute_goes_on_hearing(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, wire, *_):
        near.vanish("out")
        await far.send_all(b"hello")
        assert await near.receive_some() == b"hello"
        await near.send_all(b"lost")
        await trio.sleep(10)
        assert wire.taken() == []
        assert far.socket.tcp_info().unacked == 5


async def test_only_that_connection_vanishes(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, _, theirs, listener):
        other = await theirs.open_tcp_stream(ends.ours, PORT)
        server = await listener.accept()
        near.vanish()
        await far.send_all(b"lost")
        await other.send_all(b"request")
        assert await server.receive_some() == b"request"
        await server.send_all(b"response")
        assert await other.receive_some() == b"response"


async def test_a_connection_of_the_ports_of_one_that_has_vanished_is_another(ends: Ends) -> None:
    """As of a client that gives up, and binds the same port again."""
    async with connected(ends) as (host, near, far, _, theirs, listener):
        address = far.socket.getsockname()
        near.vanish()
        far.abort()
        await near.aclose()
        with theirs.socket(ends.family) as sock:
            await sock.bind(address)
            await sock.connect((ends.ours, PORT))
            again = await listener.accept()
            await again.send_all(b"welcome")
            assert await sock.recv(10) == b"welcome"
        assert len(host.rules) == 0


@pytest.mark.parametrize("verb", ["vanish", "stop_acknowledging", "freeze"])
async def test_no_verb_leaves_rules_of_connections_that_are_gone(ends: Ends, verb: str) -> None:
    async with connected(ends) as (host, _, _, _, theirs, listener):
        for _ in range(10):
            far = await theirs.open_tcp_stream(ends.ours, PORT)
            near = await listener.accept()
            getattr(near, verb)()
            near.abort()
            far.abort()
        assert len(host.rules) <= 3


# stop_acknowledging, resume_acknowledging


async def test_who_stops_acknowledging_reads_on_and_its_peer_retransmits(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, wire, *_):
        near.stop_acknowledging()
        near.stop_acknowledging()
        await far.send_all(b"hello")
        assert await near.receive_some() == b"hello"
        await trio.sleep(10)
        info = far.socket.tcp_info()
        assert (info.unacked, info.bytes_acked) == (5, 0)
        assert info.retransmits > 2
        assert wire.taken() == []
        near.resume_acknowledging()
        await trio.sleep(0.1)
        assert far.socket.tcp_info().unacked == 0
        near.resume_acknowledging()
        assert len(wire.taken()) == 1


async def test_data_carries_the_old_acknowledgment_number_meanwhile(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, wire, *_):
        await far.send_all(b"1st")
        assert await near.receive_some() == b"1st"
        await trio.sleep(1)
        (ack,) = wire.taken()
        near.stop_acknowledging()
        await far.send_all(b"2nd")
        assert await near.receive_some() == b"2nd"
        await near.send_all(b"an answer")
        assert await far.receive_some() == b"an answer"
        await near.send_eof()
        assert await far.receive_some() == b""
        await trio.sleep(1)
        segments = wire.taken()
        assert {each.ack for each in segments} == {ack.ack}
        assert {each.sack for each in segments} == {()}
        assert [bytes(each.payload) for each in segments] == [b"an answer", b""]
        near.resume_acknowledging()
        await trio.sleep(1)
        assert far.socket.tcp_info().bytes_acked == 6


async def test_no_sack_block_acknowledges_meanwhile_either(ends: Ends) -> None:
    async with connected(ends) as (host, near, far, wire, *_):
        near.stop_acknowledging()
        with host.rules.drop(direction="in", octets=(0, 1)):
            await far.send_all(b"1st")
            await far.send_all(b"2nd")
            await trio.sleep(0.1)
            assert near.socket.tcp_info().out_of_order == 3
            await near.send_all(b"data")
            await trio.sleep(0.1)
            (segment,) = wire.taken()
            assert (segment.payload, segment.sack) == (b"data", ())
            near.resume_acknowledging()
            await trio.sleep(0.01)
            assert len(wire.taken()[0].sack) == 1
        assert await exactly(near, 6) == b"1st2nd"


async def test_a_reset_goes_out_meanwhile(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, *_):
        near.stop_acknowledging()
        near.abort()
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await far.receive_some()


async def test_the_next_connection_of_the_same_ports_acknowledges(ends: Ends) -> None:
    async with connected(ends) as (host, near, far, _, theirs, listener):
        name = far.socket.getsockname()
        near.stop_acknowledging()
        near.abort()
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await far.receive_some()
        await far.aclose()
        assert len(host.rules) == 1
        again = theirs.socket(ends.family)
        await again.bind(name)
        await again.connect((ends.ours, PORT))
        assert len(host.rules) == 0
        server = await listener.accept()
        await again.send(b"hello")
        assert await server.receive_some() == b"hello"
        await again.wait_acknowledged()


# send_segment


async def test_a_crafted_segment_changes_nothing_of_its_connection(ends: Ends) -> None:
    async with connected(ends) as (host, near, far, wire, *_):
        before = near.socket.tcp_info()
        near.send_segment(flags="PSH,ACK", payload=b"crafted", window=77)
        assert near.socket.tcp_info() == before
        assert await far.receive_some() == b"crafted"
        (segment,) = wire.taken()
        assert (segment.wnd, bytes(segment.payload)) == (77, b"crafted")
        assert segment.ts_val is not None
        assert host.statistics()["rules_injected"] == 1
        await near.send_all(b"original")
        assert await far.receive_some() == b"l"


async def test_every_field_is_sent_as_it_is_given(ends: Ends) -> None:
    packets: list[bytes] = []
    async with connected(ends) as (_, near, _, _, theirs, _):
        loop_of(theirs).stack.set_tap(lambda seen: packets.append(seen.packet))
        near.send_segment(
            seq=-1,
            ack=-2,
            flags="FIN,PSH",
            payload=b"data",
            window=3,
            urgent=4,
            options=b"\x01\x01\x01",
            ttl=5,
        )
        await trio.sleep(0.1)
        packet = Packet(packets[0], "in")
        assert packet.seq is not None
        assert packet.ack is not None
        assert packet.flags == "FIN,PSH,URG"
        assert (packet.window, packet.urgent, packet.options) == (3, 4, b"\x01\x01\x01\x00")
        assert (packet.payload, packet.ttl) == (b"data", 5)
        near.send_segment(flags="", window=0, checksum=0xBAD)
        near.send_segment(window=0)
        await trio.sleep(0.1)
        wrong, plain = [
            Packet(each, "in") for each in packets[-3:] if Packet(each, "in").window == 0
        ]
        assert (wrong.flags, wrong.checksum) == ("", 0xBAD)
        assert plain.seq == packet.seq + 1
        assert plain.ack == packet.ack + 2


async def test_a_crafted_segment_passes_the_rules_of_other_verbs(ends: Ends) -> None:
    async with connected(ends) as (_, near, _, wire, *_):
        near.stop_acknowledging()
        near.vanish()
        near.send_segment(ack=5)
        await trio.sleep(0.1)
        assert len(wire.taken()) == 1


async def test_crafted_segments_and_verdicts_are_in_captures(ends: Ends) -> None:
    seen: list[tuple[str, str]] = []
    async with connected(ends) as (host, near, *_):
        loop_of(host).stack.set_tap(lambda each: seen.append((each.direction, each.verdict)))
        near.send_segment(seq=-1)
        await trio.sleep(0.1)
        near.vanish("out")
        await near.send_all(b"lost")
        await trio.sleep(0.1)
    assert ("out", "injected") in seen
    assert ("out", "dropped by a rule") in seen


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"payload": bytes(1460)}, "MTU of 1500"),
        ({"flags": "SYM"}, "no flag 'SYM'"),
        ({"ttl": 256}, "ttl"),
        ({"window": 65536}, "window"),
        ({"urgent": -1}, "urgent"),
        ({"checksum": 65536}, "checksum"),
        ({"options": bytes(41)}, "40 octets"),
    ],
)
async def test_what_fits_in_no_field_is_refused(
    ends: Ends, fields: dict[str, Any], message: str
) -> None:
    async with connected(ends) as (host, near, *_):
        with pytest.raises(ValueError, match=message):
            near.send_segment(**fields)
        assert host.statistics()["rules_injected"] == 0


async def test_no_verb_of_the_wire_for_a_connection_of_a_host_to_itself(ends: Ends) -> None:
    async with connected(ends) as (host, _, _, _, _, listener):
        near = await host.open_tcp_stream(ends.ours, PORT)
        await listener.accept()
        for verb in (near.vanish, near.stop_acknowledging, near.send_segment):
            with fails(errno.EOPNOTSUPP):
                verb()
        near.freeze()
        near.thaw()


async def test_there_is_no_fourth_direction_to_vanish_in(ends: Ends) -> None:
    async with connected(ends) as (host, near, *_):
        with pytest.raises(ValueError, match='"both", "in" or "out", not \'up\''):
            near.vanish("up")  # type: ignore[arg-type]
        assert len(host.rules) == 0


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"seq": -5, "payload": b"OTHER"}, "duplicate"),
        ({"seq": 1 << 20, "payload": b"far"}, "out of window"),
        ({"ack": 1000}, "unacceptable ACK"),
        ({"seq": -1}, "duplicate"),
        ({"payload": b"!", "urgent": 1}, "accepted"),
        ({"payload": b"x", "checksum": 0xBAD}, "dropped: bad TCP checksum"),
        ({"flags": "RST", "seq": 1}, "reset challenged"),
        ({"flags": ""}, "no ACK bit"),
    ],
)
async def test_what_the_peer_makes_of_crafted_segments(
    ends: Ends, fields: dict[str, Any], verdict: str
) -> None:
    async with connected(ends) as (_, near, far, wire, *_):
        await near.send_all(b"12345")
        assert await far.receive_some() == b"12345"
        await trio.sleep(1)
        wire.taken()
        wire.verdicts.clear()
        near.send_segment(**fields)
        await trio.sleep(0.1)
        assert wire.verdicts[0] == verdict


# All of them

VERBS = ["vanish", "stop_acknowledging", "resume_acknowledging", "freeze", "thaw", "send_segment"]


@pytest.mark.parametrize("verb", VERBS)
async def test_verbs_are_for_open_sockets(ends: Ends, verb: str) -> None:
    async with connected(ends) as (host, near, *_):
        with host.socket(ends.family) as unconnected, fails(errno.ENOTCONN):
            getattr(unconnected, verb)()
        await near.aclose()
        with fails(errno.EBADF):
            getattr(near, verb)()
