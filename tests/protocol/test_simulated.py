"""Protocols in the simulator: without trio, and the same octets for the same seed."""

from __future__ import annotations

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.families import each_family
from tests.protocol.protocols import Echo, Feeder, Recorded, pattern
from tunstack.ip.family import IPV4
from tunstack.path.impair import Impairments
from tunstack.simulator import Application, ProtocolApplications, Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack import Protocol, Transport
    from tunstack.ip.family import Family
    from tunstack.tcp.segment import Segment

PORT = 7
LOSSY = Impairments(loss=0.03, delay=0.01, jitter=0.005, reorder=0.05, duplicate=0.02)


class Pair:
    """A client's protocol and a server's, on the nodes of a simulation."""

    def __init__(
        self,
        server: Callable[[], Protocol],
        client: Callable[[], Protocol],
        *,
        seed: int = 1,
        impairments: Impairments | None = None,
        family: Family = IPV4,
    ) -> None:
        self.sent: list[tuple[str, Segment]] = []
        self.simulator = Simulator(
            seed=seed,
            impairments=impairments or Impairments(delay=0.01),
            family=family,
            script=self._note,
        )
        self.near = ProtocolApplications(self.simulator, self.simulator.client)
        self.far = ProtocolApplications(self.simulator, self.simulator.server)
        self.server = self.far.serve(server, PORT)
        self.opening = self.near.connect(client, PORT)

    def _note(self, side: str, packet: bytes, now: float) -> float:
        self.sent.append((side, decode_segment(decode_datagram(packet))[2]))
        return 0.0

    def flags(self, side: str) -> list[int]:
        return [segment.flags for who, segment in self.sent if who == side]

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        self.simulator.run(until)

    @property
    def transport(self) -> Transport:
        assert self.opening.transport is not None
        return self.opening.transport


def _same(protocol: Recorded) -> Recorded:
    return protocol


def exchanged(seed: int, family: Family) -> tuple[str, float]:
    """Three connections by a bad path, each of which has its octets echoed; the digest and time."""
    echoes: list[Echo] = []
    feeders = [Feeder(200_000, piece) for piece in (700, 30_000, 150_000)]

    def serve() -> Echo:
        echoes.append(Echo())
        return echoes[-1]

    pair = Pair(serve, lambda: feeders[0], seed=seed, impairments=LOSSY, family=family)
    for feeder in feeders[1:]:
        pair.near.connect(partial(_same, feeder), PORT)
    pair.run()
    for feeder in feeders:
        assert feeder.received == pattern(200_000)
        assert feeder.lost == [None]
    assert [echo.lost for echo in echoes] == [[None]] * 3
    assert not len(pair.server)
    return pair.simulator.digest, pair.simulator.now


@each_family
def test_the_same_seed_gives_the_same_octets(family: Family) -> None:
    assert exchanged(1, family) == exchanged(1, family) != exchanged(2, family)


def test_the_order_of_calls_is_asyncios() -> None:
    server, client = Echo(), Feeder(1_000_000)
    pair = Pair(lambda: server, lambda: client)
    pair.run()
    assert server.received == client.received == pattern(1_000_000)
    for protocol in (server, client):
        assert protocol.calls[0] == "made"
        assert protocol.calls[-2:] == ["eof", "lost"]
        assert protocol.calls.count("lost") == 1
    turns = [call for call in client.calls if call in ("pause", "resume")]
    assert len(turns) > 4
    assert turns == ["pause", "resume"] * (len(turns) // 2)
    assert client.lost == server.lost == [None]


class Answering(Recorded):
    """Answers in three pieces, and closes."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        for piece in (b"one ", b"two ", b"three"):
            self.transport.write(piece)
        self.transport.close()


class Asking(Recorded):
    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        transport.write(b"?")


def test_an_answer_and_its_fin_are_one_segment() -> None:
    """Three packets of the server: SYN,ACK, the answer, and the ACK of the client's FIN."""
    client = Asking()
    pair = Pair(Answering, lambda: client)
    pair.run()
    assert client.received == b"one two three"
    assert client.calls == ["made", "data", "eof", "lost"]
    assert pair.flags("server") == [SYN | ACK, ACK | PSH | FIN, ACK]
    assert pair.flags("client") == [SYN, ACK, ACK | PSH, ACK | FIN] or pair.flags("client") == [
        SYN,
        ACK,
        ACK | PSH,
        ACK,
        ACK | FIN,
    ]


def test_half_closed_it_goes_on_sending_until_it_closes() -> None:
    server, client = Recorded(), Asking()
    server.keeps_open = True
    pair = Pair(lambda: server, lambda: client)
    client.keeps_open = True
    pair.run(lambda: bool(server.received))
    pair.transport.write_eof()
    pair.run(lambda: "eof" in server.calls)
    server.transport.write(b"still here")
    pair.run(lambda: bool(client.received))
    assert client.received == b"still here"
    assert not client.lost + server.lost
    server.transport.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        server.transport.write(b"more")
    pair.run(lambda: "eof" in client.calls)
    for protocol in (client, server):
        protocol.transport.close()
    pair.run()
    assert client.calls == ["made", "data", "eof", "lost"]
    assert not [flags for _, segment in pair.sent if (flags := segment.flags) & RST]


def test_a_close_delivers_what_was_written() -> None:
    client = Recorded()
    pair = Pair(lambda: Burst(), lambda: client, impairments=LOSSY)
    pair.run()
    assert client.received == pattern(3_000_000)
    assert client.lost == [None]


class Burst(Recorded):
    """Writes far more than the stack takes, does not mind the marks, and closes at once."""

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        transport.write(pattern(3_000_000))
        assert self.calls == ["made", "pause"]
        assert transport.get_write_buffer_size() > 1 << 16
        transport.close()
        transport.write(b"too late")


def test_an_abort_resets_and_drops_what_was_written() -> None:
    server, client = Recorded(), Recorded()
    pair = Pair(lambda: server, lambda: client)
    pair.run(lambda: client.calls == ["made"])
    pair.transport.write(bytes(1_000_000))
    pair.transport.abort()
    assert pair.transport.get_write_buffer_size() == 0
    pair.run()
    assert client.lost == [None]
    (error,) = server.lost
    assert isinstance(error, ConnectionResetError)
    assert server.calls[-1] == "lost"
    pair.transport.write(b"dropped")
    pair.transport.close()
    pair.transport.write_eof()
    pair.run()
    assert client.calls.count("lost") == 1


class Unreading(Recorded):
    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        transport.pause_reading()


def test_while_reading_is_paused_the_window_closes_and_nothing_is_lost() -> None:
    server, client = Unreading(), Feeder(1_000_000)
    pair = Pair(lambda: server, lambda: client)
    pair.run(lambda: pair.simulator.now > 2)
    assert not server.received
    assert not server.transport.is_reading()
    info = server.transport.tcp_info()
    assert info is not None
    assert 0 < info.unread < 1_000_000
    server.transport.resume_reading()
    pair.run()
    assert server.received == pattern(1_000_000)
    assert server.calls == ["made", "data", "eof", "lost"]


def test_a_reset_while_reading_is_paused_is_told_at_once() -> None:
    server, client = Unreading(), Asking()
    pair = Pair(lambda: server, lambda: client)
    pair.simulator.at(1.0, lambda: pair.transport.abort())
    pair.run()
    assert isinstance(server.lost[0], ConnectionResetError)
    assert not server.received


def test_no_call_has_more_than_max_size() -> None:
    sizes = []

    class Small(Recorded):
        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            transport.max_size = 1000

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            sizes.append(len(data))

    server = Small()
    pair = Pair(lambda: server, lambda: Feeder(50_000))
    pair.run()
    assert server.received == pattern(50_000)
    assert max(sizes) == 1000


@pytest.mark.parametrize("callback", ["connection_made", "data_received", "eof_received", "timer"])
def test_what_a_callback_raises_resets_its_own_connection(
    callback: str, caplog: pytest.LogCaptureFixture
) -> None:
    bug = ValueError("a bug")

    class Broken(Echo):
        def _bug(self, *_: object) -> bool:
            raise bug

        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            if callback == "timer":
                transport.call_later(0.05, self._bug)
            elif callback == "connection_made":
                self._bug()
            else:
                setattr(self, callback, self._bug)

    broken, other = Broken(), Echo()
    servers: list[Recorded] = [broken, other]
    clients = [Feeder(100), Feeder(300_000)]
    clients[0].keeps_open = callback == "timer"
    broken.keeps_open = callback == "timer"
    pair = Pair(lambda: servers.pop(0), lambda: clients[0])
    pair.near.connect(lambda: clients[1], PORT)
    pair.run()
    assert broken.lost == [bug]
    assert isinstance(clients[0].lost[0], ConnectionResetError)
    assert clients[1].received == pattern(300_000)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tunstack", logging.ERROR)
    assert record.getMessage() == "the protocol of a connection on port 7 failed"
    assert "a bug" in caplog.text


def test_what_connection_lost_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Recorded):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise ValueError("at the end")

    server = Broken()
    pair = Pair(lambda: server, lambda: Feeder(10))
    pair.run()
    assert server.lost == [None]
    assert "at the end" in caplog.text


def test_a_factory_that_raises_refuses_its_connection_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    echo = Echo()
    made: list[Protocol] = [echo]

    def make() -> Protocol:
        if len(made) > 1 or echo.calls:
            raise ValueError("no more of them")
        return echo

    first, second = Feeder(1000), Feeder(1000)
    pair = Pair(make, lambda: first)
    pair.run(lambda: bool(echo.calls))
    pair.near.connect(lambda: second, PORT)
    pair.run()
    assert first.received == pattern(1000)
    assert isinstance(second.lost[0], ConnectionResetError)
    assert "no protocol for a connection on port 7" in caplog.text


def test_a_connection_that_is_refused_makes_no_protocol() -> None:
    made: list[Recorded] = []

    def make() -> Recorded:
        made.append(Recorded())
        return made[-1]

    pair = Pair(Echo, Recorded)
    opening = pair.near.connect(make, PORT + 1)
    pair.run(lambda: opening.error is not None)
    assert opening.error is not None
    assert opening.error.errno == errno.ECONNREFUSED
    assert not made


def test_timers_are_called_in_order_unless_cancelled_and_end_with_the_connection() -> None:
    called: list[object] = []
    client = Recorded()
    pair = Pair(Echo, lambda: client)
    pair.run(lambda: client.calls == ["made"])
    transport, begun = client.transport, pair.simulator.now

    def call(what: object) -> None:
        called.append((what, round(pair.simulator.now - begun, 6)))
        if what == "second":
            transport.write(b"by a timer")
        if what == "third":
            transport.close()

    for what, delay in (("third", 0.3), ("first", 0.1), ("second", 0.2), ("never", 0.4)):
        transport.call_later(delay, call, what)
    cancelled = transport.call_later(0.15, call, "cancelled")
    cancelled.cancel()
    pair.run()
    assert called == [("first", 0.1), ("second", 0.2), ("third", 0.3)]
    assert client.received == b"by a timer"
    assert (cancelled.cancelled(), round(cancelled.when() - begun, 6)) == (True, 0.15)
    transport.call_later(0, call, "after the end")
    pair.run()
    assert len(called) == 3


def test_cancelled_timers_are_forgotten() -> None:
    client = Recorded()
    pair = Pair(Echo, lambda: client)
    pair.run(lambda: client.calls == ["made"])
    for _ in range(1000):
        client.transport.call_later(3600, pytest.fail).cancel()
    assert len(pair.near.runner.timers) < 100


def test_a_callback_writes_to_other_connections() -> None:
    members: list[Recorded] = []

    class Chat(Recorded):
        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            members.append(self)

        def data_received(self, data: bytes) -> None:
            for member in members:
                member.transport.write(data)

    clients = [Recorded() for _ in range(3)]
    pair = Pair(Chat, lambda: clients[0])
    for client in clients[1:]:
        pair.near.connect(partial(_same, client), PORT)
    pair.run(lambda: len(members) == 3)
    clients[0].transport.write(b"to all")
    pair.run()
    assert [client.received for client in clients] == [b"to all"] * 3


def test_write_buffer_limits() -> None:
    client = Recorded()
    pair = Pair(Echo, lambda: client)
    pair.run(lambda: client.calls == ["made"])
    transport = client.transport
    assert transport.get_write_buffer_limits() == (1 << 14, 1 << 16)
    transport.set_write_buffer_limits(low=1000)
    assert transport.get_write_buffer_limits() == (1000, 4000)
    transport.set_write_buffer_limits(100)
    assert transport.get_write_buffer_limits() == (25, 100)
    for high, low in ((1, 2), (5, -1)):
        with pytest.raises(ValueError, match="high"):
            transport.set_write_buffer_limits(high, low)
    transport.set_write_buffer_limits(0)
    transport.write(b"taken at once")
    assert client.calls == ["made", "pause"]  # The simulator acts later.
    pair.run(lambda: len(client.received) == 13)
    assert client.calls == ["made", "pause", "resume", "data"]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_all_kinds_of_octets_are_written_as_they_were(kind: Callable[[bytes], bytes]) -> None:
    client = Recorded()
    pair = Pair(Echo, lambda: client)
    pair.run(lambda: client.calls == ["made"])
    data = kind(b"0123456789" * 1000)
    client.transport.writelines([data, b"", data])
    if isinstance(data, bytearray):
        data[:] = bytes(len(data))
    pair.run()
    assert client.received == b"0123456789" * 2000
    with pytest.raises(TypeError):
        client.transport.write("a text")  # type: ignore[arg-type]


@each_family
def test_what_is_known_of_a_connection(family: Family) -> None:
    server, client = Recorded(), Recorded()
    pair = Pair(lambda: server, lambda: client, family=family)
    pair.run(lambda: bool(server.calls and client.calls))
    for ours, theirs in ((server, client), (client, server)):
        name = ours.transport.get_extra_info("sockname")
        assert name == theirs.transport.get_extra_info("peername")
        assert len(name) == (2 if family is IPV4 else 4)
    assert server.transport.get_extra_info("sockname")[1] == PORT
    assert client.transport.get_extra_info("tcp_info").state == "ESTABLISHED"
    assert client.transport.get_extra_info("socket", "none") == "none"
    assert client.transport.can_write_eof()
    client.transport.close()
    pair.run()
    assert client.transport.tcp_info() is None
    assert client.transport.is_closing()
    assert client.transport.get_extra_info("peername")[1] == PORT


def test_another_protocol_may_take_over() -> None:
    later, client = Recorded(), Feeder(100_000)

    class First(Recorded):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            later.calls.append("set")
            self.transport.set_protocol(later)

    server = First()
    pair = Pair(lambda: server, lambda: client)
    pair.run()
    assert bytes(server.received + later.received) == pattern(100_000)
    assert server.calls == ["made", "data"]
    assert later.calls == ["set", "data", "eof", "lost"]


def test_data_in_a_syn_is_answered_before_the_handshake_has_ended() -> None:
    """TCP Fast Open (RFC 7413): the second exchange takes one round trip."""
    config, delay, servers = Config(fast_open_queue=5), 0.1, list[Echo]()

    def serve() -> Echo:
        servers.append(Echo())
        return servers[-1]

    simulator = Simulator(seed=1, impairments=Impairments(delay=delay), config=config)
    ProtocolApplications(simulator, simulator.server).serve(serve, PORT)
    for trips in (4, 2):
        began = simulator.now
        client = Application(simulator.client)
        remote = simulator.server.address
        client.attach(simulator.client.stack.connect(remote, PORT, began, early=True))
        client.send(b"word")
        simulator.run(lambda client=client: len(client.received) == 4)  # type: ignore[misc]
        assert simulator.now - began == pytest.approx(trips * delay)
        client.shutdown()
        simulator.run(lambda client=client: client.done)  # type: ignore[misc]
    assert [server.lost for server in servers] == [[None], [None]]
