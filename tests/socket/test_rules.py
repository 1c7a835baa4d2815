"""Packet rules on a host: what they select and do, how they count, and how they end."""

from __future__ import annotations

import pytest
import trio

from tests.socket.network import OURS, THEIRS, connected, host_pair
from tunstack import Host, Observation, Packet, memory_pair
from tunstack.path.rules.gate import COUNTERS


async def test_without_rules_packets_do_not_pass_a_gate() -> None:
    async with host_pair() as (ours, _):
        assert ours._link is ours.bare_link
        rule = ours.rules.drop(protocol="udp")
        assert ours._link is not ours.bare_link
        rule.remove()
        assert ours._link is ours.bare_link


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
        assert ours._link is ours.bare_link


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
    async with host_pair() as (ours, theirs):
        async with trio.open_nursery():
            pass
        near, _ = await connected(theirs, ours)
        rule = ours.rules.drop(direction="out", flags="RST")
        ours._reset_all()
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
