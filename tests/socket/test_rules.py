"""Packet rules on a host: what they select and do, how they count, and how they end."""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager
from errno import ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETDOWN, ENODEV
from typing import TYPE_CHECKING

import pytest
import trio

from tests.socket.network import (
    OURS,
    PORT,
    THEIRS,
    Valve,
    connected,
    fails,
    host_and_peer,
    host_pair,
    listening,
    read_to_end,
)
from tunstack import Host, ImpairedLink, Impairments, Observation, Packet, memory_pair
from tunstack.host.host import loop_of
from tunstack.path.rules.gate import COUNTERS
from tunstack.tcp.segment import ACK, FIN, PSH, SYN
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tunstack import Link, Socket
    from tunstack.path.rules.packet import Direction


async def test_without_rules_packets_do_not_pass_a_gate() -> None:
    async with host_pair() as (ours, _):
        assert not loop_of(ours).gated
        rule = ours.rules.drop(protocol="udp")
        assert loop_of(ours).gated
        rule.remove()
        assert not loop_of(ours).gated


async def test_a_dropped_syn_is_sent_again() -> None:
    async with host_pair() as (ours, theirs):
        began = trio.current_time()
        with ours.rules.drop(direction="in", flags="SYN,!ACK", nth=1) as rule:
            near, _ = await connected(theirs, ours)
        assert trio.current_time() - began == pytest.approx(1.0)
        assert rule.matched == 1
        assert rule.packets[0].flags == "SYN,ECE,CWR" or rule.packets[0].flags == "SYN"
        assert ours.statistics()["rules_dropped"] == 1
        near.close()


async def test_packets_do_not_pass_a_gate_whose_rules_can_match_no_more() -> None:
    async with host_pair() as (ours, theirs):
        rule = ours.rules.drop(direction="in", flags="SYN,!ACK", first=1)
        await connected(theirs, ours)
        assert not loop_of(ours).gated
        assert (rule.matched, len(ours.rules)) == (1, 1)


async def test_every_matching_packet_can_be_awaited() -> None:
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        rule = ours.rules.drop(direction="in", flags="SYN,!ACK", first=2)
        nursery.start_soon(connected, theirs, ours)
        await rule.wait(2)
        assert rule.matched == 2
        await rule.wait()  # It has come before.


async def test_a_delay_is_added_to_the_round_trip() -> None:
    async with host_pair() as (ours, theirs):
        ours.rules.delay(0.3, direction="out", flags="SYN,ACK")
        began = trio.current_time()
        await connected(theirs, ours)
        assert trio.current_time() - began == pytest.approx(0.3)
        assert ours.statistics()["rules_delayed"] == 1


async def test_a_delay_in_delays_what_comes_in() -> None:
    async with host_pair() as (ours, theirs):
        ours.rules.delay((0.2, 0.4), direction="in", flags="SYN,!ACK")
        began = trio.current_time()
        await connected(theirs, ours)
        assert 0.2 <= trio.current_time() - began <= 0.4


async def test_a_function_changes_packets() -> None:
    def louder(packet: Packet) -> Packet:
        assert packet.payload is not None
        return packet.replace(payload=packet.payload.upper())

    async with host_pair() as (ours, theirs):
        near, far = await connected(theirs, ours)
        rule = ours.rules.call(louder, direction="in", where=lambda packet: packet.payload)
        await near.send(b"hello")
        assert await far.recv(10) == b"HELLO"
        rule.remove()
        await near.send(b"hello")
        assert await far.recv(10) == b"hello"


async def test_rules_apply_in_the_order_in_which_they_were_added() -> None:
    seen: list[tuple[str, bytes]] = []

    def notes(name: str) -> object:
        def note(packet: Packet) -> Packet:
            seen.append((name, packet.payload or b""))
            return packet.replace(payload=(packet.payload or b"") + name.encode())

        return note

    async with host_pair() as (ours, theirs):
        sock = theirs.socket(type=trio.socket.SOCK_DGRAM)
        here = ours.socket(type=trio.socket.SOCK_DGRAM)
        await here.bind(("", 53))
        ours.rules.call(notes("a"), protocol="udp")  # type: ignore[arg-type]
        ours.rules.delay(0.1, protocol="udp")
        ours.rules.call(notes("b"), protocol="udp")  # type: ignore[arg-type]
        await sock.sendto(b"", (OURS, 53))
        assert await here.recv(10) == b"ab"
        assert seen == [("a", b""), ("b", b"a")]


async def test_a_taken_packet_is_gone() -> None:
    async with host_pair() as (ours, theirs):
        near, far = await connected(theirs, ours)
        ours.rules.call(lambda packet: None, direction="in", octets=(0, 5), first=1)
        await near.send(b"hello")
        assert await far.recv(10) == b"hello"
        assert ours.statistics()["rules_taken"] == 1
        assert theirs.statistics()["retransmission_tail_loss_probe"] == 1


async def test_an_injected_packet_goes_out_at_once() -> None:
    async with host_pair() as (ours, theirs):
        here = theirs.socket(type=trio.socket.SOCK_DGRAM)
        await here.bind(("", 7))
        packet = Packet.udp(
            source=OURS, destination=THEIRS, source_port=5, destination_port=7, payload=b"x"
        )
        ours.rules.inject(packet, "out")
        assert await here.recvfrom(10) == (b"x", (OURS, 5))
        assert not loop_of(ours).gated


async def test_an_injected_packet_comes_in() -> None:
    async with host_pair() as (ours, _):
        here = ours.socket(type=trio.socket.SOCK_DGRAM)
        await here.bind(("", 7))
        packet = Packet.udp(
            source=THEIRS, destination=OURS, source_port=5, destination_port=7, payload=b"x"
        )
        ours.rules.drop()  # No rule sees it.
        ours.rules.inject(packet, "in")
        assert await here.recvfrom(10) == (b"x", (THEIRS, 5))


async def test_a_rule_knows_the_connection_of_a_packet() -> None:
    states: list[str | None] = []
    offsets: list[int | None] = []

    def look(packet: Packet) -> Packet:
        states.append(None if packet.connection is None else packet.connection.state)
        offsets.append(packet.offset)
        return packet

    async with host_pair() as (ours, theirs):
        ours.rules.call(look, direction="in", protocol="tcp")
        near, far = await connected(theirs, ours)
        await near.send(b"12345")
        await far.recv(10)
        await near.send(b"678")
        await far.recv(10)
    assert states[:4] == [None, "SYN-RECEIVED", "ESTABLISHED", "ESTABLISHED"]
    assert offsets[:4] == [0, 0, 0, 5]


async def test_a_rule_sees_a_connection_as_the_packet_before_has_left_it() -> None:
    """Though both come in one batch."""
    states: list[str | None] = []

    def look(packet: Packet) -> Packet:
        states.append(packet.state)
        return packet

    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        host.rules.call(look, direction="in")
        peer.host_port = PORT
        peer.send(SYN)
        await peer.segment()
        peer.send(ACK)
        peer.send(ACK | PSH, b"hello")
        peer.send(ACK | FIN)
        sock, _ = await listener.accept()
        assert await read_to_end(sock) == b"hello"
    assert states[:4] == [None, "SYN-RECEIVED", "ESTABLISHED", "ESTABLISHED"]


async def test_a_failing_function_ends_the_block_with_its_exception() -> None:
    def fails(packet: Packet) -> bool:
        raise ZeroDivisionError

    async def serve(ours: Host) -> None:
        async with ours:
            ours.rules.drop(direction="in", where=fails)
            await trio.sleep_forever()

    left, right = memory_pair()
    ours = Host(left, [f"{OURS}/24"])
    async with Host(right, [f"{THEIRS}/24"]) as theirs, trio.open_nursery() as nursery:
        nursery.start_soon(send_a_datagram, theirs)
        with pytest.raises(ZeroDivisionError):
            await serve(ours)
    assert ours.statistics()["rule_failed"] == 1
    assert ours.statistics()["udp_received"] == 0


async def send_a_datagram(host: Host) -> None:
    await host.socket(type=trio.socket.SOCK_DGRAM).sendto(b"x", (OURS, 7))


async def test_who_waits_for_a_rule_hears_of_its_end() -> None:
    async with host_pair() as (ours, _), trio.open_nursery() as nursery:
        rule = ours.rules.drop(protocol="udp")

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await rule.wait()

        await trio.testing.wait_all_tasks_blocked()
        rule.remove()


async def test_the_reset_at_the_end_of_a_host_meets_its_rules() -> None:
    left, right = memory_pair()
    async with Host(right, [f"{THEIRS}/24"], seed=2) as theirs:
        async with Host(left, [f"{OURS}/24"], seed=1) as ours:
            near, _ = await connected(theirs, ours)
            rule = ours.rules.drop(direction="out", flags="RST")
        assert rule.matched == 1
        with trio.move_on_after(10) as scope:
            await near.recv(10)
        assert scope.cancelled_caught


async def test_counters_are_there_from_the_beginning() -> None:
    async with host_pair() as (ours, _):
        assert {ours.statistics()[name] for name in COUNTERS} == {0}


async def test_the_tap_sees_what_rules_do() -> None:
    seen: list[Observation] = []
    left, right = memory_pair()
    async with (
        Host(left, [f"{OURS}/24"], seed=1, tap=seen.append) as ours,
        Host(right, [f"{THEIRS}/24"], seed=2) as theirs,
    ):
        ours.rules.drop(direction="in", flags="SYN,!ACK", nth=1)
        await connected(theirs, ours)
    assert [each.verdict for each in seen][:2] == ["dropped by a rule", "accepted"]
    assert seen[0].direction == "in"


async def test_after_the_host_no_rule_can_be_added() -> None:
    async with host_pair() as (ours, _):
        pass
    with pytest.raises(OSError, match="Network is down"):
        ours.rules.drop()


# Every action, between two hosts


async def echoes(host: Host, data: bytes = b"hello") -> bool:
    """Whether a UDP datagram to port 7 of OURS is answered within a second."""
    sock = host.socket(type=trio.socket.SOCK_DGRAM)
    await sock.sendto(data, (OURS, 7))
    with trio.move_on_after(1):
        return (await sock.recv(2000)) == data
    return False


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Host, Host]]:
    """Two hosts, of which OURS echoes on UDP port 7."""

    async def echo(sock: trio.socket.SocketType) -> None:
        while True:
            data, sender = await sock.recvfrom(2000)
            await sock.sendto(data, sender)

    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        await nursery.start(ours.serve_udp, echo, 7)
        yield ours, theirs
        nursery.cancel_scope.cancel()


async def test_while_unplugged_nothing_passes() -> None:
    async with echoing() as (ours, theirs):
        assert await echoes(theirs)
        ours.unplug()
        ours.unplug()
        assert not await echoes(theirs)
        assert ours.statistics()["rules_unplugged"] == 1
        ours.plug()
        assert await echoes(theirs)
        assert not loop_of(ours).gated


async def test_a_connection_outlives_a_cable_that_is_plugged_in_again() -> None:
    async with host_pair() as (ours, theirs):
        near, far = await connected(theirs, ours)
        ours.unplug()
        await near.send(b"hello")
        with trio.move_on_after(3) as scope:
            await far.recv(10)
        assert scope.cancelled_caught
        ours.plug()
        assert await far.recv(10) == b"hello"


async def test_what_is_injected_while_unplugged_is_lost() -> None:
    async with echoing() as (ours, theirs):
        packet = Packet.udp(
            source=THEIRS, destination=OURS, source_port=5, destination_port=7, payload=b"x"
        )
        ours.unplug()
        ours.rules.inject(packet, "in")
        ours.rules.inject(packet, "out")
        await trio.sleep(1)
        assert ours.statistics()["rules_unplugged"] == 2
        assert ours.statistics()["udp_received"] == theirs.statistics()["udp_received"] == 0


async def test_a_path_is_impaired_for_those_who_are_selected() -> None:
    async with echoing() as (ours, theirs):
        rule = ours.impair("out:delay=400ms", local_port=7)
        began = trio.current_time()
        assert await echoes(theirs)
        assert trio.current_time() - began == pytest.approx(0.4)
        await connected(theirs, ours)  # Another port.
        assert trio.current_time() - began == pytest.approx(0.4)
        assert rule.matched == 2
        ours.impair("loss=100%", protocol="udp")
        assert not await echoes(theirs)
        ours.impair(None)
        assert await echoes(theirs)
        assert not ours.rules
    with pytest.raises(ValueError, match="it selects no packets"):
        ours.impair(None, local_port=7)  # type: ignore[call-overload]


async def test_a_held_reply_comes_when_it_is_released() -> None:
    async with echoing() as (ours, theirs), trio.open_nursery() as nursery:
        rule = ours.rules.hold(direction="out", protocol="udp")

        @nursery.start_soon
        async def ask() -> None:
            assert await echoes(theirs)

        await rule.wait()
        await trio.sleep(0.9)
        rule.release()


async def test_a_held_request_comes_when_it_is_released() -> None:
    async with echoing() as (ours, theirs), trio.open_nursery() as nursery:
        with ours.rules.hold(direction="in", protocol="udp") as rule:

            @nursery.start_soon
            async def ask() -> None:
                assert await echoes(theirs)

            await rule.wait()
            await trio.sleep(0.9)


async def test_a_stream_survives_what_rules_do_to_its_segments() -> None:
    data = bytes(range(256)) * 2000
    async with host_pair() as (ours, theirs):
        rules = ours.rules
        added = [
            rules.drop(direction="in", protocol="tcp", every=7),
            rules.duplicate(direction="in", protocol="tcp", every=5),
            rules.postpone(2, direction="in", protocol="tcp", every=11),
            rules.split(100, direction="in", every=3),
            rules.damage(-1, direction="in", where=lambda packet: packet.payload, every=13),
            rules.damage(direction="in", probability=0.02),
            rules.impair("delay=10ms,reorder=5%,jitter=5ms"),
        ]
        near, far = await connected(theirs, ours)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                await trio.SocketStream(near).send_all(data)
                near.close()

            assert await read_to_end(far) == data
        assert all(rule.matched for rule in added)
        assert ours.statistics()["internal_errors"] == 0


async def test_the_same_seed_gives_the_same_packets() -> None:
    async def run(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        left, right = memory_pair()
        async with (
            Host(left, [f"{OURS}/24"], seed=seed) as ours,
            Host(right, [f"{THEIRS}/24"], seed=2, tap=lambda each: seen.append(each.packet)) as it,
        ):
            ours.rules.impair("loss=20%,delay=10ms,jitter=10ms,duplicate=10%")
            ours.rules.drop(probability=0.1)
            sock = it.socket(type=trio.socket.SOCK_DGRAM)
            for number in range(50):
                await sock.sendto(bytes((number,)), (OURS, 9))
                await trio.sleep(0.001)
            await trio.sleep(1)
        return seen

    assert await run(1) == await run(1) != await run(3)


async def test_a_refused_connection_and_an_unreachable_one() -> None:
    async with host_pair() as (ours, theirs):
        listener = await listening(ours, PORT)
        sock = theirs.socket()
        with ours.rules.answer("reset", direction="in", local_port=PORT), fails(ECONNREFUSED):
            await sock.connect((OURS, PORT))
        with ours.rules.answer("host-unreachable", direction="in"), fails(EHOSTUNREACH):
            sock = theirs.socket()
            await sock.connect((OURS, PORT))
        with ours.rules.answer("reset", direction="out"), fails(ECONNREFUSED):
            sock = ours.socket()
            await sock.connect((THEIRS, PORT))
        assert ours.statistics()["rules_answered"] == 3
        listener.close()


async def test_a_rule_is_for_one_connection_of_many() -> None:
    async with host_pair() as (ours, theirs):
        first, far = await connected(theirs, ours)
        second, other = await connected(theirs, ours)
        (here, port), (there, their_port) = far.getsockname(), far.getpeername()
        rule = ours.rules.drop(
            local=here, local_port=port, remote=there, remote_port=their_port, direction="in"
        )
        await first.send(b"x")
        await second.send(b"y")
        assert await other.recv(10) == b"y"
        await rule.wait()
        rule.remove()
        assert await far.recv(10) == b"x"


@pytest.mark.parametrize("mtu", [1500, 9000])
async def test_rules_see_large_segments_as_a_wire_carries_them(mtu: int) -> None:
    data = bytes(1_000_000)
    left, right = memory_pair(mtu, offload=True)
    async with (
        Host(left, [f"{OURS}/24"], seed=1) as ours,
        Host(right, [f"{THEIRS}/24"], seed=2) as theirs,
    ):
        sent = ours.rules.call(lambda packet: packet, direction="out", protocol="tcp")
        came = ours.rules.call(lambda packet: packet, direction="in", protocol="tcp")
        lost = ours.rules.drop(octets=(0, 1), first=1)
        for server, client in ((ours, theirs), (theirs, ours)):
            near, far = await connected(client, server)
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def send(near: Socket = near) -> None:
                    await trio.SocketStream(near).send_all(data)
                    near.close()

                assert await read_to_end(far) == data
        for rule in (sent, came):
            assert rule.matched > len(data) / mtu
            assert max(len(packet.data) for packet in rule.packets) <= mtu
            assert all(valid(packet) for packet in rule.packets)
        assert lost.matched == 1


def valid(packet: Packet) -> bool:
    """Whether a segment's checksum is right."""
    decode_segment(decode_datagram(packet.data))
    return True


async def test_segments_of_other_connections_stay_large() -> None:
    data = bytes(1_000_000)
    left, right = memory_pair(offload=True)
    async with (
        Host(left, [f"{OURS}/24"], seed=1) as ours,
        Host(right, [f"{THEIRS}/24"], seed=2) as theirs,
    ):
        ours.rules.drop(local=OURS, remote=THEIRS, local_port=1, remote_port=1)
        near, far = await connected(theirs, ours)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                await trio.SocketStream(near).send_all(data)
                near.close()

            assert await read_to_end(far) == data
        assert ours.statistics()["packets_received"] < len(data) / 10_000


async def test_a_full_link_holds_up_what_rules_made() -> None:
    valves: list[Valve] = []

    def wrap(link: Link) -> Link:
        valves.append(Valve(link))
        return valves[0]

    async with host_pair(wrap=wrap) as (ours, theirs):
        here = theirs.socket(type=trio.socket.SOCK_DGRAM)
        await here.bind(("", 7))
        ours.rules.duplicate(3, protocol="udp")
        sock = ours.socket(type=trio.socket.SOCK_DGRAM)
        valves[0].full = True
        await sock.sendto(b"x", (THEIRS, 7))
        await sock.sendto(b"y", (THEIRS, 7))
        await trio.sleep(1)
        assert theirs.statistics()["udp_received"] == 0
        valves[0].empty()
        assert [await here.recv(10) for _ in range(8)] == [b"x"] * 4 + [b"y"] * 4


async def test_a_packet_that_the_link_refuses_is_counted() -> None:
    async with host_pair() as (ours, theirs):
        here = theirs.socket(type=trio.socket.SOCK_DGRAM)
        await here.bind(("", 7))
        sock = ours.socket(type=trio.socket.SOCK_DGRAM)
        ours.rules.change({"payload": bytes(5000)}, direction="out", first=1)
        await sock.sendto(b"x", (THEIRS, 7))
        await sock.sendto(b"y", (THEIRS, 7))
        assert await here.recv(10) == b"y"
        assert ours.statistics()["rules_refused"] == 1


async def test_a_device_that_is_gone_ends_the_rules() -> None:
    valves: list[Valve] = []

    def wrap(link: Link) -> Link:
        valves.append(Valve(link))
        return valves[0]

    async with host_pair(wrap=wrap) as (ours, _), trio.open_nursery() as nursery:
        rule = ours.rules.drop(protocol="udp")

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await rule.wait()

        await trio.testing.wait_all_tasks_blocked()
        valves[0].break_down(OSError(ENODEV, "No such device"))
        await trio.testing.wait_all_tasks_blocked()
        assert rule.removed
        with fails(ENETDOWN):
            ours.rules.drop()


async def test_what_is_delayed_on_its_way_out_is_sent_at_the_end_of_the_host() -> None:
    left, right = memory_pair()
    async with Host(right, [f"{THEIRS}/24"], seed=2) as theirs:
        async with Host(left, [f"{OURS}/24"], seed=1) as ours:
            ours.rules.delay(1000, protocol="udp")
            ours.rules.drop(protocol="udp", nth=2)  # Of what was delayed.
            held = ours.rules.hold(direction="out", protocol="udp", nth=2)
            sock = ours.socket(type=trio.socket.SOCK_DGRAM)
            for data in (b"1", b"2", b"3"):
                await sock.sendto(data, (THEIRS, 7))
        await trio.sleep(1)
        assert theirs.statistics()["no_udp_port"] == 1
        assert held.removed


async def test_packets_of_a_host_to_itself_meet_no_rule() -> None:
    async with host_pair() as (ours, _):
        rule = ours.rules.drop()
        near, far = await connected(ours, ours)
        await near.send(b"x")
        assert await far.recv(10) == b"x"
        assert rule.matched == 0


async def test_pings_meet_rules_as_well() -> None:
    async with host_pair() as (ours, theirs):
        sock = theirs.socket(type=trio.socket.SOCK_DGRAM, proto=trio.socket.IPPROTO_ICMP)
        rule = ours.rules.drop(direction="in", protocol="icmp", first=1)
        for sequence in (1, 2):
            await sock.sendto(struct.pack(">BBHHH", 8, 0, 0, 0, sequence) + b"ping", (OURS, 0))
        reply = await sock.recv(100)
        assert struct.unpack_from(">BBHHH", reply)[4] == 2
        assert rule.packets[0].icmp_type == 8


@pytest.mark.parametrize("direction", ["in", "out"])
async def test_a_function_may_use_the_sockets_of_its_host(direction: Direction) -> None:
    async with host_pair() as (ours, theirs):
        near, far = await connected(theirs, ours)
        here = theirs.socket(type=trio.socket.SOCK_DGRAM)
        await here.bind(("", 7))
        packet = Packet.udp(
            source=OURS, destination=THEIRS, source_port=5, destination_port=7, payload=b"x"
        )

        def send_more(segment: Packet) -> Packet:
            ours.rules.inject(packet, "out")
            loop_of(ours).stack.abort(other_flow)
            loop_of(ours).flush()
            return segment

        other, end = await connected(theirs, ours)
        (other_flow,) = [
            flow
            for flow in loop_of(ours).stack.demux.connections
            if flow.four_tuple.local_port == end.getsockname()[1]
        ]
        rule = ours.rules.call(send_more, direction=direction, protocol="tcp")
        await near.send(b"hello")
        assert await far.recv(10) == b"hello"
        await far.send(b"hello")
        assert await near.recv(10) == b"hello"
        assert await here.recv(10) == b"x"
        with fails(ECONNRESET):
            await other.recv(10)
        assert rule.matched


async def test_rules_are_before_an_impaired_path() -> None:
    def wrap(link: Link) -> Link:
        return ImpairedLink(link, Impairments(delay=0.1))

    async with host_pair(wrap=wrap) as (ours, theirs):
        ours.rules.delay(0.2, flags="SYN,ACK")
        began = trio.current_time()
        await connected(theirs, ours)
        assert trio.current_time() - began == pytest.approx(0.3)
        assert ours.statistics()["path_out_admitted"] == 1


async def test_a_rule_may_be_added_before_the_host_runs() -> None:
    left, right = memory_pair()
    ours = Host(left, [f"{OURS}/24"], seed=1)
    rule = ours.rules.delay(0.5, flags="SYN,ACK")
    async with ours, Host(right, [f"{THEIRS}/24"], seed=2) as theirs:
        began = trio.current_time()
        await connected(theirs, ours)
        assert trio.current_time() - began == pytest.approx(0.5)
        assert rule.matched == 1


async def test_waiting_for_more_than_a_rule_can_match_is_refused() -> None:
    async with host_pair() as (ours, _):
        with pytest.raises(ValueError, match="never matches 2 packets"):
            await ours.rules.drop(nth=3).wait(2)
        with pytest.raises(ValueError, match="never matches 4 packets"):
            await ours.rules.drop(first=3).wait(4)
        with pytest.raises(ValueError, match="never matches 0 packets"):
            await ours.rules.drop().wait(0)


async def test_a_connection_in_time_wait_is_known() -> None:
    states: list[str | None] = []

    def look(packet: Packet) -> Packet:
        states.append(packet.state)
        assert packet.connection is None or packet.connection.state == packet.state
        assert packet.offset is None
        return packet

    async with host_pair() as (ours, theirs):
        near, far = await connected(theirs, ours)
        port, there = far.getsockname()[1], near.getsockname()
        far.close()
        assert await near.recv(10) == b""
        near.close()
        await trio.sleep(1)
        assert [each.state for each in ours.connections()] == ["TIME-WAIT"]
        rule = ours.rules.call(look, state="TIME-WAIT")
        late = Packet.tcp(
            source=there[0], source_port=there[1], destination=OURS, destination_port=port
        )
        theirs.rules.inject(late, "out")
        await rule.wait(2)  # It is answered.
    assert {*states} == {"TIME-WAIT"}
