"""`Host.serve_protocol` and `Host.connect_protocol`, between two hosts in memory."""

from __future__ import annotations

import errno
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.protocol.protocols import Echo, Feeder, Recorded, pattern
from tests.socket.network import OURS, PORT, THEIRS, Valve, fails, host_pair, read_to_end
from tunstack import Host, Limits, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from tunstack import Packet, SynVerdict, TcpListener, Transport

Hosts = tuple["Host", "Host"]
ANOTHER = "198.51.100.77"


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    async with host_pair() as hosts:
        yield hosts


async def test_a_protocol_at_each_end(hosts: Hosts) -> None:
    ours, theirs = hosts
    server, client = Echo(), Feeder(1_000_000)
    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, lambda: server, PORT)
        transport, protocol = await ours.connect_protocol(lambda: client, THEIRS, PORT)
        assert protocol is client
        assert transport is client.transport
        assert transport.get_extra_info("peername") == (THEIRS, PORT)
        while not client.lost:  # noqa: ASYNC110
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert client.received == server.received == pattern(1_000_000)
    assert client.lost == server.lost == [None]
    assert "retransmission_timeout" not in {k for k, v in ours.statistics().items() if v}


async def test_a_stream_talks_to_a_protocol_and_no_task_is_added(hosts: Hosts) -> None:
    ours, theirs = hosts
    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, Echo, PORT)
        before = trio.lowlevel.current_statistics().tasks_living
        streams = [await ours.open_tcp_stream(THEIRS, PORT) for _ in range(10)]
        for stream in streams:
            await stream.send_all(b"word")
            assert await stream.receive_some() == b"word"
        assert trio.lowlevel.current_statistics().tasks_living == before
        for stream in streams:
            await stream.send_eof()
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()


async def test_what_a_task_writes_is_sent_at_once(hosts: Hosts) -> None:
    ours, theirs = hosts
    client = Recorded()
    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, Echo, PORT)
        transport, _ = await ours.connect_protocol(lambda: client, THEIRS, PORT)
        sent = ours.statistics()["packets_sent"]
        transport.write(b"by a task")
        assert ours.statistics()["packets_sent"] == sent + 1
        await wait_all_tasks_blocked()
        assert client.received == b"by a task"
        transport.close()
        assert client.lost == [None]
        nursery.cancel_scope.cancel()


async def test_a_protocol_that_raises_resets_its_own_connection_and_no_other(
    hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = hosts

    class Moody(Echo):
        def data_received(self, data: bytes) -> None:
            if data == b"raise":
                raise ValueError("the application has a bug")
            super().data_received(data)

    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, Moody, PORT)
        doomed, other = [await ours.open_tcp_stream(THEIRS, PORT) for _ in range(2)]
        await doomed.send_all(b"raise")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await doomed.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        await other.send_all(b"after")
        assert await other.receive_some() == b"after"
        assert len(theirs.connections()) == 1
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tunstack", logging.ERROR)
    assert "has a bug" in caplog.text


async def test_cancelled_it_closes_its_port_and_its_connections(hosts: Hosts) -> None:
    """One has all it was sent, and end of file; one that had not taken all is reset."""
    ours, theirs = hosts
    servers: list[Recorded] = []

    def make() -> Recorded:
        servers.append(Recorded())
        return servers[-1]

    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, make, PORT)
        complete, cut = [await ours.open_tcp_stream(THEIRS, PORT) for _ in range(2)]
        await wait_all_tasks_blocked()
        servers[0].transport.write(b"the last word")
        servers[1].transport.write(bytes(10_000_000))
        assert servers[1].transport.get_write_buffer_size()
        nursery.cancel_scope.cancel()
    assert [server.lost for server in servers] == [[None], [None]]
    assert await complete.receive_some() == b"the last word"
    assert await complete.receive_some() == b""
    with fails(errno.ECONNRESET):
        await read_to_end(cut.socket)
    with fails(errno.ECONNREFUSED):
        await ours.open_tcp_stream(THEIRS, PORT)


@pytest.mark.parametrize("end", ["read", "abort", "reset"])
async def test_the_write_buffer_is_counted_with_the_hosts_memory(hosts: Hosts, end: str) -> None:
    ours, theirs = hosts
    server = Recorded()
    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, lambda: server, PORT)
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        await wait_all_tasks_blocked()
        before = theirs.statistics()["memory_held"]
        server.transport.write(bytes(1_000_000))
        waiting = server.transport.get_write_buffer_size()
        assert waiting > 500_000
        assert theirs.statistics()["memory_held"] >= before + waiting
        if end == "read":
            left = 1_000_000
            while left:
                left -= len(await stream.receive_some())
            await wait_all_tasks_blocked()
            assert theirs.statistics()["memory_held"] == before
            server.transport.close()
        elif end == "abort":
            server.transport.abort()
        else:
            stream.abort()
            await wait_all_tasks_blocked()
        await stream.aclose()
        await wait_all_tasks_blocked()
        assert theirs.statistics()["memory_held"] < before  # There may be a TIME-WAIT.
        nursery.cancel_scope.cancel()


async def test_of_a_full_host_the_connection_with_the_largest_write_buffer_is_evicted() -> None:
    """For the sake of another peer, as with what the stack itself holds."""
    left, right = memory_pair()
    servers: list[Recorded] = []

    def make() -> Recorded:
        servers.append(Recorded())
        return servers[-1]

    async with (
        Host(left, [f"{OURS}/24", f"{ANOTHER}/24"], seed=1) as ours,
        Host(right, [f"{THEIRS}/24"], seed=2, limits=Limits(memory=1 << 20)) as theirs,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(theirs.serve_protocol, make, PORT)
        streams = [await ours.open_tcp_stream(THEIRS, PORT) for _ in range(3)]
        await wait_all_tasks_blocked()
        servers[1].transport.write(bytes(2 << 20))
        streams.append(await ours.open_tcp_stream(THEIRS, PORT, local_address=ANOTHER))
        await wait_all_tasks_blocked()
        assert [len(server.lost) for server in servers] == [0, 1, 0, 0]
        assert theirs.statistics()["connections_evicted"] == 1
        servers[3].transport.write(b"to the newest")
        assert await streams[3].receive_some() == b"to the newest"
        nursery.cancel_scope.cancel()


async def test_it_tells_where_it_listens(hosts: Hosts) -> None:
    ours, theirs = hosts
    async with trio.open_nursery() as nursery:
        serve = partial(theirs.serve_protocol, Echo, 0, host=THEIRS, backlog=1, congestion="reno")
        listeners: list[TcpListener] = await nursery.start(serve)
        address, port = listeners[0].socket.getsockname()
        assert address == THEIRS
        stream = await ours.open_tcp_stream(address, port)
        await stream.send_all(b"word")
        assert await stream.receive_some() == b"word"
        assert [info.congestion for info in theirs.connections()] == ["reno"]
        nursery.cancel_scope.cancel()


async def test_a_listener_that_is_closed_ends_it(hosts: Hosts) -> None:
    _, theirs = hosts

    async def serve(task_status: trio.TaskStatus[list[TcpListener]]) -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            await theirs.serve_protocol(Echo, PORT, task_status=task_status)
        assert caught.group_contains(trio.ClosedResourceError)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve)
        await listener.aclose()


async def test_a_port_in_use_and_what_is_no_factory_are_errors(hosts: Hosts) -> None:
    ours, _ = hosts
    await ours.open_tcp_listeners(PORT)
    with fails(errno.EADDRINUSE):
        await ours.serve_protocol(Echo, PORT)
    with fails(errno.EADDRNOTAVAIL):
        await ours.serve_protocol(Echo, 81, host=THEIRS)
    with pytest.raises(TypeError, match="makes a protocol"):
        await ours.serve_protocol(Echo(), 81)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="makes a protocol"):
        await ours.connect_protocol(Echo(), THEIRS, 81)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await ours.serve_protocol(Echo, 81, on_syn=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="congestion"):
        await ours.serve_protocol(Echo, 81, congestion="none such")
    await ours.open_tcp_listeners(81, host=OURS)  # Nothing is left of the attempts.


async def test_a_refused_connection_makes_no_protocol(hosts: Hosts) -> None:
    ours, _ = hosts
    with fails(errno.ECONNREFUSED):
        await ours.connect_protocol(pytest.fail, THEIRS, PORT)


async def test_a_factory_that_raises_resets_the_connection_that_was_made(hosts: Hosts) -> None:
    ours, theirs = hosts
    server = Recorded()

    def broken() -> Recorded:
        raise ValueError("no protocol")

    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, lambda: server, PORT)
        with pytest.raises(ValueError, match="no protocol"):
            await ours.connect_protocol(broken, THEIRS, PORT)
        await wait_all_tasks_blocked()
        assert isinstance(server.lost[0], ConnectionResetError)
        nursery.cancel_scope.cancel()


async def test_its_port_misbehaves_while_it_is_served(hosts: Hosts) -> None:
    """By options of its listeners, and by rules for its connections until their end."""
    ours, theirs = hosts
    serve = partial(theirs.serve_protocol, Echo, PORT, behaviour="refuse")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        with fails(errno.ECONNREFUSED):
            await ours.open_tcp_stream(THEIRS, PORT)
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(theirs.serve_protocol, Echo, PORT))
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        await stream.send_all(b"in order again")
        assert await stream.receive_some() == b"in order again"
        nursery.cancel_scope.cancel()


async def test_a_behaviour_of_a_handlers_stream_is_an_error(hosts: Hosts) -> None:
    _, theirs = hosts
    with pytest.raises(ValueError, match=r"trickle acts on the stream of a handler.*serve_tcp"):
        await theirs.serve_protocol(Echo, PORT, behaviour="loss=5%,trickle=1/10ms")
    with pytest.raises(ValueError, match="nonsuch"):
        await theirs.serve_protocol(Echo, PORT, behaviour="nonsuch")
    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, Echo, PORT)  # The port is free.
        nursery.cancel_scope.cancel()


async def test_a_syn_is_asked_about(hosts: Hosts) -> None:
    ours, theirs = hosts
    asked: list[int | None] = []

    async def decide(syn: Packet) -> SynVerdict:
        asked.append(syn.destination_port)
        return "accept" if len(asked) > 1 else "refuse"

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(theirs.serve_protocol, Echo, PORT, on_syn=decide))
        with fails(errno.ECONNREFUSED):
            await ours.open_tcp_stream(THEIRS, PORT)
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        await stream.send_all(b"word")
        assert await stream.receive_some() == b"word"
        assert asked == [PORT, PORT]
        nursery.cancel_scope.cancel()


async def test_at_the_end_of_the_host_its_connections_are_lost() -> None:
    near, far = Recorded(), Recorded()
    left, right = memory_pair()
    async with (
        Host(right, [f"{THEIRS}/24"], seed=2) as theirs,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(theirs.serve_protocol, lambda: far, PORT)
        async with Host(left, [f"{OURS}/24"], seed=1) as ours:
            transport, _ = await ours.connect_protocol(lambda: near, THEIRS, PORT)
            transport.call_later(3600, pytest.fail)
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert isinstance(far.lost[0], ConnectionResetError)
        nursery.cancel_scope.cancel()
    assert isinstance(near.lost[0], OSError)
    assert near.lost[0].errno == errno.ECONNABORTED
    assert near.calls[-1] == "lost"
    transport.write(b"to nobody")
    transport.abort()
    assert near.calls.count("lost") == 1


async def test_a_device_that_is_gone_is_told(autojump_clock: MockClock) -> None:
    left, right = memory_pair()
    valve = Valve(left)
    client = Recorded()
    async with (
        Host(valve, [f"{OURS}/24"], seed=1) as ours,
        Host(right, [f"{THEIRS}/24"], seed=2) as theirs,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(theirs.serve_protocol, Echo, PORT)
        await ours.connect_protocol(lambda: client, THEIRS, PORT)

        async def serve(task_status: trio.TaskStatus[list[TcpListener]]) -> None:
            with fails(errno.ENETDOWN):
                await ours.serve_protocol(Echo, PORT, task_status=task_status)

        await nursery.start(serve)
        valve.break_down(OSError(errno.ENODEV, "gone"))
        await wait_all_tasks_blocked()
        (error,) = client.lost
        assert isinstance(error, OSError)
        assert error.errno == errno.ENETDOWN
        with fails(errno.ENETDOWN):
            await ours.connect_protocol(Recorded, THEIRS, PORT)
        nursery.cancel_scope.cancel()


async def test_timers_follow_the_hosts_clock(hosts: Hosts, autojump_clock: MockClock) -> None:
    ours, theirs = hosts
    called: list[tuple[str, float]] = []
    client = Recorded()
    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, Echo, PORT)
        transport, _ = await ours.connect_protocol(lambda: client, THEIRS, PORT)
        begun = trio.current_time()

        def call(what: str) -> None:
            called.append((what, trio.current_time() - begun))
            transport.write(what.encode())

        transport.call_later(20, call, "late")
        transport.call_later(10, call, "early")
        transport.call_later(5, call, "never").cancel()
        await trio.sleep(30)
        transport.call_later(10, call, "again")
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert [what for what, _ in called] == ["early", "late", "again"]
    assert [round(at) for _, at in called] == [10, 20, 40]
    assert client.received == b"earlylateagain"


async def test_the_first_callback_that_blocks_is_named_in_the_log(
    hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = hosts

    class Sleepy(Echo):
        def data_received(self, data: bytes) -> None:
            if data == b"sleep":
                time.sleep(0.11)
            super().data_received(data)

    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, Sleepy, PORT)
        stream = await ours.open_tcp_stream(THEIRS, PORT)
        for word in (b"awake", b"sleep", b"sleep"):
            await stream.send_all(word)
            assert await stream.receive_some() == word
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "Sleepy took 0.1" in record.getMessage()


async def test_a_task_that_waits_may_be_woken_by_a_callback(hosts: Hosts) -> None:
    ours, theirs = hosts
    arrived = trio.Event()

    class Waking(Recorded):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            arrived.set()

        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            transport.write(b"ask")

    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, Echo, PORT)
        _, client = await ours.connect_protocol(Waking, THEIRS, PORT)
        await arrived.wait()
        assert client.received == b"ask"
        nursery.cancel_scope.cancel()


async def test_bulk_and_streams_beside_protocols(hosts: Hosts) -> None:
    ours, theirs = hosts
    feeders = [Feeder(500_000, piece) for piece in (1000, 60_000, 500_000)]

    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.serve_protocol, Echo, PORT)
        await nursery.start(theirs.serve_tcp, echo, PORT + 1)
        for feeder in feeders:
            await ours.connect_protocol(partial(_same, feeder), THEIRS, PORT)
        stream = await ours.open_tcp_stream(THEIRS, PORT + 1)
        for _ in range(100):
            await stream.send_all(b"word")
            assert await stream.receive_some() == b"word"
        while not all(feeder.lost for feeder in feeders):  # noqa: ASYNC110
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert all(feeder.received == pattern(500_000) for feeder in feeders)


def _same(protocol: Feeder) -> Feeder:
    return protocol
