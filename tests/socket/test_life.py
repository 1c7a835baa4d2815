"""A host from its beginning to its end, however that comes."""

from __future__ import annotations

import errno
import logging
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import (
    OURS,
    PORT,
    SMALL,
    THEIRS,
    Peer,
    Valve,
    connected,
    fails,
    fill,
    host_and_peer,
    host_pair,
    listening,
    read_to_end,
)
from tunstack import Host, Observation, memory_pair
from tunstack.host.host import loop_of
from tunstack.stack.flow import Flow
from tunstack.stack.stack import Stack
from tunstack.tcp.segment import ACK, FIN, RST

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.compiled import PatchMethod


async def test_the_exception_of_the_block_comes_through_as_it_is() -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with host_and_peer():
            raise error
    assert caught.value is error


async def test_an_exception_comes_through_a_cancellation() -> None:
    with pytest.raises(KeyError), trio.CancelScope() as scope:  # noqa: PT012
        async with host_and_peer():
            scope.cancel()
            raise KeyError


async def test_cancellation_ends_it() -> None:
    with trio.CancelScope() as scope:
        async with host_and_peer():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.parametrize("how", ["return", "raise", "cancel"])
async def test_what_is_open_is_reset_and_the_link_closed(how: str) -> None:
    link, far = memory_pair()
    peer = Peer(far)
    with trio.CancelScope() as scope:
        try:
            async with Host(link, [f"{OURS}/24"]) as host:
                listener = await listening(host)
                await peer.connect()
                server, _ = await listener.accept()
                if how == "raise":
                    raise KeyError
                if how == "cancel":
                    scope.cancel()
                    await trio.sleep_forever()
        except KeyError:
            assert how == "raise"
    (reset,) = peer.segments()
    assert reset.flags & RST
    assert reset.seq == peer.expected
    assert host.connections() == []
    with fails(errno.EBADF):
        link.receive()
    with fails(errno.ECONNABORTED):
        await server.recv(1)
    with fails(errno.EBADF):
        await listener.accept()


async def test_it_waits_for_teardowns_under_way() -> None:
    """What was sent and closed arrives, though the peer takes its time to say so."""
    async with trio.open_nursery() as nursery:
        async with host_and_peer() as (host, peer):
            listener = await listening(host)
            await peer.connect(mss=1460)
            server, _ = await listener.accept()
            await server.send(b"the last words")
            server.close()
            assert bytes((await peer.segment()).payload) == b"the last words"

            @nursery.start_soon
            async def acknowledge_late() -> None:
                await trio.sleep(0.1)
                peer.send()
                assert (await peer.segment()).flags & FIN
                await trio.sleep(0.1)
                peer.send()

        assert trio.current_time() == pytest.approx(0.25, abs=0.01)
    assert [segment.flags & RST for segment in peer.segments()] == [RST]


async def test_it_waits_briefly_for_the_fin_of_a_peer_that_acknowledged_ours() -> None:
    """A client that has just ended is no reason for a RST, though its FIN has yet to arrive."""
    async with trio.open_nursery() as nursery:
        async with host_and_peer() as (host, peer):
            listener = await listening(host)
            await peer.connect()
            server, _ = await listener.accept()
            server.close()
            assert (await peer.segment()).flags & FIN
            peer.send()

            @nursery.start_soon
            async def close_late() -> None:
                await trio.sleep(0.2)
                peer.send(FIN | ACK)

        assert trio.current_time() == pytest.approx(0.2, abs=0.01)
    assert [segment.flags for segment in peer.segments()] == [ACK]


async def test_it_does_not_wait_for_ever() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect()
        server, _ = await listener.accept()
        server.close()
    assert trio.current_time() == pytest.approx(1, abs=0.1)
    assert peer.segments()[-1].flags & RST


async def test_it_does_not_wait_when_an_exception_ends_it() -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with host_and_peer() as (host, peer):
            listener = await listening(host)
            await peer.connect()
            server, _ = await listener.accept()
            server.close()
            raise KeyError
    assert trio.current_time() == 0


async def test_a_fin_that_has_arrived_is_a_good_end() -> None:
    """Though the block ends before it is read."""
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect()
        server, _ = await listener.accept()
        server.close()
        assert (await peer.segment()).flags == FIN | ACK
        peer.send()
        await wait_all_tasks_blocked()
        peer.send(FIN | ACK)
    (ack,) = peer.segments()
    assert (ack.flags, ack.ack) == (ACK, peer.nxt)


async def test_after_its_end_nothing_can_be_done() -> None:
    async with host_and_peer() as (host, _):
        idle, waiting = host.socket(), await listening(host)
    with fails(errno.ENETDOWN):
        await idle.connect((THEIRS, PORT))
    with fails(errno.ENETDOWN):
        idle.listen()
    with fails(errno.ENETDOWN):
        await host.open_tcp_stream(THEIRS, PORT)
    assert waiting.fileno() == -1


async def test_an_address_is_needed_and_must_be_one() -> None:
    link, _ = memory_pair()
    with pytest.raises(ValueError, match="at least one address"):
        Host(link, [])
    with pytest.raises(ValueError, match="no such address"):
        Host(link, ["no such address"])
    async with Host(link, [IPv4Interface(f"{OURS}/24"), "198.51.100.9/32"]) as host:
        assert host.addresses == (IPv4Interface(f"{OURS}/24"), IPv4Interface("198.51.100.9/32"))


async def test_the_same_seed_gives_the_same_packets() -> None:
    async def opening(seed: int | None) -> list[bytes]:
        link, far = memory_pair()
        async with Host(link, [f"{OURS}/24"], seed=seed) as host:
            for _ in range(3):
                with trio.move_on_after(0.1):
                    await host.open_tcp_stream(THEIRS, PORT)
        return [bytes(packet) for packet in far.receive()]

    now = trio.current_time()
    first, again, other, unseeded = [await opening(seed) for seed in (7, 7, 8, None)]
    assert trio.current_time() > now
    ports = [[packet[20:22] for packet in packets] for packets in (first, again, other, unseeded)]
    assert ports[0] == ports[1]
    assert len({tuple(each) for each in ports}) == 3


# The link


async def test_a_full_link_delivers_later() -> None:
    link, far = memory_pair()
    valve = Valve(link)
    async with Host(valve, [f"{OURS}/24"]) as ours, Host(far, [f"{THEIRS}/24"]) as theirs:
        client, server = await connected(ours, theirs)
        valve.full = True
        for word in (b"one ", b"two ", b"three"):
            await client.send(word)
        client.shutdown(trio.socket.SHUT_WR)
        await trio.sleep(0.1)
        assert not server.is_readable()
        valve.empty()
        assert await read_to_end(server) == b"one two three"
        assert ours.statistics()["lost_to_full_link"] == 0
        assert client.tcp_info().retransmits == 0


async def test_packets_beyond_a_full_links_queue_are_dropped_and_retransmitted() -> None:
    link, far = memory_pair()
    valve = Valve(link)
    async with Host(valve, [f"{OURS}/24"]) as ours, Host(far, [f"{THEIRS}/24"]) as theirs:
        loop_of(ours).max_outgoing = 6
        client, server = await connected(ours, theirs)
        valve.full = True
        await client.send(bytes(10 * 1448))
        assert client.tcp_info().unacked == 10 * 1448
        assert ours.statistics()["lost_to_full_link"] == 4
        client.shutdown(trio.socket.SHUT_WR)
        valve.empty()
        assert await read_to_end(server) == bytes(10 * 1448)


@pytest.mark.parametrize("mtu", [576, 1500, 9000, 65535])
def test_the_queue_of_a_full_link_is_bounded_in_packets_and_octets(mtu: int) -> None:
    link, _ = memory_pair(mtu=mtu)
    queue = loop_of(Host(link, [f"{OURS}/24"])).max_outgoing
    assert 100 < queue <= 10_000
    assert queue * mtu <= 16 << 20


async def test_a_link_that_fails_is_enetdown_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    link, far = memory_pair()
    valve = Valve(link)
    async with Host(valve, [f"{OURS}/24"]) as ours, Host(far, [f"{THEIRS}/24"]) as theirs:
        reader, _ = await connected(ours, theirs)
        writer, _ = await connected(ours, theirs, buffer=SMALL)
        idle, _ = await connected(ours, theirs)
        await fill(writer)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def reading() -> None:
                with fails(errno.ENETDOWN):
                    await reader.recv(1)

            @nursery.start_soon
            async def writing() -> None:
                with fails(errno.ENETDOWN):
                    await writer.send(b"x")

            @nursery.start_soon
            async def connecting() -> None:
                with fails(errno.ENETDOWN):
                    await ours.open_tcp_stream("198.51.100.77", PORT)

            await wait_all_tasks_blocked()
            valve.break_down(OSError(errno.ENODEV, "the device memory0 was deleted"))
        with fails(errno.ENETDOWN):
            await idle.send(b"x")
        with fails(errno.ENETDOWN):
            await ours.open_tcp_stream(THEIRS, PORT)
        with fails(errno.ENETDOWN):
            await ours.open_tcp_listeners(PORT)
        assert ours.connections() == []
        for sock in (reader, writer, idle):
            sock.close()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tunstack", logging.ERROR)
    assert "memory0" in record.getMessage()
    assert "was deleted" in record.getMessage()


async def test_a_link_that_fails_to_send_is_noticed_as_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    link, far = memory_pair()
    valve = Valve(link)
    async with Host(valve, [f"{OURS}/24"], seed=1) as host:
        peer = Peer(far)
        listener = await listening(host)
        await peer.connect()
        server, _ = await listener.accept()
        valve.fail(OSError(errno.ENODEV, "the device was deleted"))
        await server.send(b"x")
        with fails(errno.ENETDOWN):
            await server.recv(1)
        assert len(caplog.records) == 1


async def test_who_serves_learns_that_the_link_failed() -> None:
    """A server must not wait for ever for clients that cannot come."""
    link, _ = memory_pair()
    valve = Valve(link)
    async with Host(valve, [f"{OURS}/24"], seed=1) as host:
        (listener,) = await host.open_tcp_listeners(PORT)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def accepting() -> None:
                with pytest.raises(trio.ClosedResourceError, match="device is gone"):
                    await listener.accept()

            @nursery.start_soon
            async def serving() -> None:
                with fails(errno.ENETDOWN):
                    await host.serve_tcp(trio.SocketStream.aclose, 81)

            await wait_all_tasks_blocked()
            valve.break_down(OSError(errno.ENODEV, "the device was deleted"))


async def test_an_answer_that_is_there_comes_before_the_timer_that_waits_for_it(
    mock_clock: MockClock,
) -> None:
    """While the application computed, the clock went on: that is no reason to send again."""
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        await peer.connect()
        server, _ = await listener.accept()
        for number in range(20):  # Which of two tasks trio lets run first is up to chance.
            await server.send(b"x")
            await peer.segment()
            peer.send()
            mock_clock.jump(1)
            await wait_all_tasks_blocked()
            assert peer.segments() == [], number


# Bugs of ours


async def test_an_exception_in_processing_a_packet_is_counted_and_logged_and_others_continue(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = Stack.handle_packet

    def wrong(stack: Stack, packet: bytes, now: float) -> None:
        if b"the bug" in packet:
            raise IndexError("our bug")
        right(stack, packet, now)

    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        other, its_server = await connected(ours, theirs)
        monkeypatch.setattr(Stack, "handle_packet", wrong)
        await client.send(b"the bug")
        await other.send(b"no bug")
        assert await its_server.recv(100) == b"no bug"
        assert not server.is_readable()
        monkeypatch.undo()
        assert theirs.statistics()["internal_errors"] == 1
        assert await server.recv(100) == b"the bug"  # Sent again, to a host that is mended.
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tunstack", logging.ERROR)
    assert b"the bug".hex() in record.getMessage()
    assert "our bug" in caplog.text


@pytest.mark.parametrize("method", ["transmit", "handle_timer"])
async def test_a_bug_in_one_connection_does_not_hold_up_another(
    monkeypatch: pytest.MonkeyPatch,
    patch_method: PatchMethod,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    """Though both have something to do at the same moment."""
    right = getattr(Flow, method)
    link, far = memory_pair()
    valve = Valve(link)
    async with Host(valve, [f"{OURS}/24"], seed=1) as ours, Host(far, [f"{THEIRS}/24"]) as theirs:
        (client, _), (other, its_server) = [await connected(ours, theirs) for _ in range(2)]
        sick = client.getsockname()[1]

        def wrong(flow: Flow, now: float) -> object:
            if flow.four_tuple.local_port == sick:
                raise IndexError("our bug")
            return right(flow, now)

        valve.loses = lambda _: True
        await client.send(b"x")
        await other.send(b"x")
        valve.loses = lambda _: False
        patch_method(Flow, method, wrong)
        began = trio.current_time()
        assert await its_server.recv(100) == b"x"
        assert trio.current_time() < began + 0.5
        await trio.sleep(10)
        assert ours.statistics()["internal_errors"] == len(caplog.records) == 1
        monkeypatch.undo()


# The tap


async def test_the_tap_sees_every_packet_and_what_was_made_of_it() -> None:
    seen: list[Observation] = []
    link, far = memory_pair()
    async with Host(link, [f"{OURS}/24"], tap=seen.append) as host:
        peer = Peer(far)
        listener = await listening(host)
        await peer.connect()
        await listener.accept()
        peer.send(ACK, b"x")
        peer.link.send([b"\x45nonsense"])
        await trio.sleep(0.05)
        peer.segments()
    told = [(each.direction, each.before, each.after, each.verdict) for each in seen]
    assert told == [
        ("in", "LISTEN", "SYN-RECEIVED", "accepted"),
        ("out", "SYN-RECEIVED", "SYN-RECEIVED", ""),
        ("in", "SYN-RECEIVED", "ESTABLISHED", "accepted"),
        ("in", "ESTABLISHED", "ESTABLISHED", "accepted"),
        ("in", None, None, "dropped: truncated"),
        ("out", "ESTABLISHED", "ESTABLISHED", ""),
        ("out", "ESTABLISHED", "CLOSED", ""),
    ]
    times = [each.time for each in seen]
    assert times == sorted(times)


async def test_so_is_one_in_processing_a_packet_that_another_process_has_received(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(stack: Stack, packet: bytes, now: float) -> None:
        raise IndexError("our bug")

    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        monkeypatch.setattr(Stack, "handle_forwarded", wrong)
        loop_of(theirs).handle_forwarded(b"the bug")
        await client.send(b"no bug")
        assert await server.recv(100) == b"no bug"
        assert theirs.statistics()["internal_errors"] == 1
    (record,) = caplog.records
    assert b"the bug".hex() in record.getMessage()
