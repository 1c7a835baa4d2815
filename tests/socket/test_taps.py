"""Taps that come and go, and those of one connection."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.compiled import is_compiled
from tests.socket.network import OURS, THEIRS, connected, host_pair
from tunstack import Host, memory_pair
from tunstack.stack.stack import Stack
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from types import FrameType

    from tunstack import Observation, Socket

MISTAKE = ValueError("a mistake")


def ends(sock: Socket) -> tuple[tuple[str, int], tuple[str, int]]:
    """The local and the remote address and port of a connection."""
    local, remote = sock.getsockname(), sock.getpeername()
    return (local[0], local[1]), (remote[0], remote[1])


def ports(seen: Observation) -> frozenset[int]:
    sport, dport, _ = decode_segment(decode_datagram(seen.packet))
    return frozenset((sport, dport))


async def exchange(near: Socket, far: Socket) -> None:
    """A request and its answer."""
    for one, other in ((near, far), (far, near)):
        await one.send(b"data")
        assert await other.recv(100) == b"data"
    await trio.sleep(1)  # For the delayed ACK.


async def test_a_tap_sees_packets_as_long_as_its_block_lasts() -> None:
    seen: list[Observation] = []
    async with host_pair() as (ours, theirs):
        near, far = await connected(ours, theirs)
        await exchange(near, far)
        with ours.tapped(seen.append):
            await exchange(near, far)
        count = len(seen)
        await exchange(near, far)
    assert [each.direction for each in seen] == ["out", "in", "out"]
    assert len(seen) == count


async def test_of_a_connection_that_is_tapped_its_past_is_no_news() -> None:
    seen: list[Observation] = []
    async with host_pair() as (ours, theirs):
        near, far = await connected(ours, theirs)
        with ours.tapped(seen.append), ours.tapped(seen.append, ends(near)):
            await exchange(near, far)
        assert {(each.before, each.after) for each in seen} == {("ESTABLISHED", "ESTABLISHED")}


@pytest.mark.parametrize("addresses", [(OURS, THEIRS), ("2001:db8::2", "2001:db8::1")])
async def test_the_tap_of_a_connection_sees_all_of_its_segments_and_no_other(
    addresses: tuple[str, str],
) -> None:
    seen: list[Observation] = []
    left, right = memory_pair()
    length = "64" if ":" in addresses[0] else "24"
    async with (
        Host(left, [f"{addresses[0]}/{length}"], seed=1) as ours,
        Host(right, [f"{addresses[1]}/{length}"], seed=2) as theirs,
    ):
        streams = [await opened(ours, theirs) for _ in range(3)]
        near, far = streams[1]
        chosen = ends(near)
        with ours.tapped(seen.append, chosen):
            for each in streams:
                await exchange(*each)
            for end in (near, far):
                end.close()
                await trio.sleep(1)
        told = [(each.direction, each.before, each.after) for each in seen]
    assert {ports(each) for each in seen} == {frozenset(port for _, port in chosen)}
    assert told == [
        *[(way, "ESTABLISHED", "ESTABLISHED") for way in ("out", "in", "out")],
        ("out", "ESTABLISHED", "FIN-WAIT-1"),
        ("in", "FIN-WAIT-1", "FIN-WAIT-2"),
        ("in", "FIN-WAIT-2", "TIME-WAIT"),
        ("out", "TIME-WAIT", "TIME-WAIT"),
    ]
    assert seen[1].windows is not None


async def opened(client: Host, server: Host) -> tuple[Socket, Socket]:
    """Both ends of a connection of the hosts' family."""
    (listener,) = await server.open_tcp_listeners(0)
    stream = await client.open_tcp_stream(str(server.addresses[0].ip), port_of(listener.socket))
    accepted = await listener.accept()
    await listener.aclose()
    near, far = stream.socket, accepted.socket
    return near, far


def port_of(sock: Any) -> int:
    port: int = sock.getsockname()[1]
    return port


async def test_several_taps_see_each_what_it_asked_for() -> None:
    everything: list[Observation] = []
    first: list[Observation] = []
    second: list[Observation] = []
    async with host_pair() as (ours, theirs):
        pairs = [await connected(ours, theirs) for _ in range(2)]
        with (
            ours.tapped(first.append, ends(pairs[0][0])),
            ours.tapped(second.append, ends(pairs[1][0])),
        ):
            await exchange(*pairs[0])
            with ours.tapped(everything.append):
                await exchange(*pairs[0])
                await exchange(*pairs[1])
            await exchange(*pairs[1])
    assert (len(first), len(second), len(everything)) == (6, 6, 6)
    assert everything == first[3:] + second[:3]


async def test_a_tap_is_called_beside_that_of_the_host() -> None:
    of_the_host: list[Observation] = []
    seen: list[Observation] = []
    left, right = memory_pair()
    async with (
        Host(left, [f"{OURS}/24"], seed=1, tap=of_the_host.append) as ours,
        Host(right, [f"{THEIRS}/24"], seed=2) as theirs,
    ):
        near, far = await connected(ours, theirs)
        before = len(of_the_host)
        with ours.tapped(seen.append, ends(near)):
            await exchange(near, far)
        assert of_the_host[before:] == seen
        await exchange(near, far)
        assert len(of_the_host) == before + 2 * len(seen)


async def test_what_a_rule_does_to_a_chosen_connection_is_seen() -> None:
    seen: list[Observation] = []
    async with host_pair() as (ours, theirs):
        near, far = await connected(ours, theirs)
        other = await connected(ours, theirs)
        for sock in (other[0], near):
            ours.rules.drop(direction="out", local_port=sock.getsockname()[1], first=1)
        with ours.tapped(seen.append, ends(near)):
            await exchange(*other)
            await exchange(near, far)
    verdicts = [each.verdict for each in seen]
    assert verdicts.count("dropped by a rule") == 1


async def test_a_tap_that_raises_ends_the_block_and_the_others_go_on() -> None:
    calls: list[Observation] = []
    others: list[Observation] = []

    def tap(seen: Observation) -> None:
        calls.append(seen)
        raise MISTAKE

    left, right = memory_pair()
    async with Host(right, [f"{THEIRS}/24"], seed=2) as theirs:
        with pytest.raises(ValueError, match="a mistake"):  # noqa: PT012
            async with Host(left, [f"{OURS}/24"], seed=1) as ours:
                near, _ = await connected(ours, theirs)
                with ours.tapped(tap), ours.tapped(others.append):
                    near.close()
                    await trio.sleep_forever()
    assert len(calls) == 1
    assert others[0] is calls[0]


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ((("nowhere", 1), (THEIRS, 2)), "nowhere"),
        (((OURS, 1), ("2001:db8::1", 2)), "two families"),
        (((OURS, 1), (THEIRS, 65536)), "65536 is no port"),
    ],
)
async def test_what_is_no_connection_cannot_be_tapped(connection: Any, message: str) -> None:
    left, _ = memory_pair()
    async with Host(left, [f"{OURS}/24"]) as host:
        with pytest.raises(ValueError, match=message), host.tapped(print, connection):
            pass


@pytest.mark.skipif(is_compiled(Stack), reason="compiled functions are not profiled")
async def test_beside_a_chosen_connection_the_others_stay_on_the_fast_path() -> None:
    called: set[str] = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add(frame.f_code.co_name)

    async with host_pair() as (ours, theirs):
        chosen, other = [await connected(ours, theirs) for _ in range(2)]
        await exchange(*other)
        with ours.tapped(lambda _: None, ends(chosen[0])):
            sys.setprofile(profile)
            try:
                await exchange(*other)
            finally:
                sys.setprofile(None)
    assert "observes" in called
    assert not called & {"observe_in", "emit", "read_name", "encode_segment"}
