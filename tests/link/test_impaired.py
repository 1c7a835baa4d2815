"""Any link, with a bad path behind it."""

from __future__ import annotations

import errno
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from tests.wire.packets import PAIRS
from tunstack.host.host import Host
from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.ip.family import family_of
from tunstack.link.pair import CAPACITY, MemoryLink, memory_pair
from tunstack.path.impair import Impairer, Impairments
from tunstack.path.impaired import ImpairedLink
from tunstack.tcp.segment import ACK, Segment
from tunstack.wire import (
    Discard,
    decode_datagram,
    decode_segment,
    decode_udp,
    encode_datagram,
    encode_segment,
    encode_udp,
)
from tunstack.wire.virtio import (
    GSO_UDP_L4,
    HEADER,
    NEEDS_CHECKSUM,
    NO_OFFLOAD,
    SIZE,
    UDP_CHECKSUM,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.link.base import Buffer


def impaired(
    outgoing: Impairments | None = None, incoming: Impairments | None = None, seed: int = 1
) -> tuple[ImpairedLink, MemoryLink]:
    """An impaired link, and the far end of what is beneath it."""
    near, far = memory_pair()
    return ImpairedLink(near, outgoing, incoming, random.Random(seed)), far


async def arrivals(link: MemoryLink | ImpairedLink, count: int) -> list[tuple[float, bytes]]:
    """The next packets to arrive on a link, and when."""
    arrived: list[tuple[float, bytes]] = []
    while len(arrived) < count:
        await link.wait_readable()
        now = trio.current_time()
        arrived += [(now, bytes(packet)) for packet in link.receive()]
    return arrived


async def test_without_impairments_all_passes_at_once_both_ways() -> None:
    link, far = impaired()
    assert link.send([b"to", memoryview(b"gether")])
    assert far.receive() == [b"together"]
    far.send([b"back"])
    await link.wait_readable()
    assert link.receive() == [b"back"]
    assert link.receive() == []


async def test_it_has_the_name_and_the_mtu_of_what_is_beneath() -> None:
    near, _ = memory_pair(mtu=576)
    link = ImpairedLink(near)
    assert (link.name, link.mtu) == (near.name, 576)


async def test_what_is_sent_arrives_after_the_delay(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    link, far = impaired(outgoing=Impairments(delay=2.0))
    nursery.start_soon(link.wait_readable)
    await wait_all_tasks_blocked()
    link.send([b"one"])
    await trio.sleep(0.5)
    link.send([b"two"])
    assert await arrivals(far, 2) == [(2.0, b"one"), (2.5, b"two")]
    nursery.cancel_scope.cancel()


async def test_what_is_received_arrives_after_the_delay(autojump_clock: MockClock) -> None:
    link, far = impaired(incoming=Impairments(delay=2.0))
    far.send([b"one"])
    assert await arrivals(link, 1) == [(2.0, b"one")]


async def test_each_direction_has_its_own_impairments(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    link, far = impaired(Impairments(delay=3.0), Impairments(delay=1.0))
    link.send([b"out"])
    far.send([b"in"])
    assert await arrivals(link, 1) == [(1.0, b"in")]
    nursery.start_soon(link.wait_readable)
    assert await arrivals(far, 1) == [(3.0, b"out")]
    nursery.cancel_scope.cancel()


async def test_the_rate_spaces_packets_out(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    link, far = impaired(outgoing=Impairments(rate=8000.0))
    for _ in range(3):
        link.send([bytes(1000)])
    nursery.start_soon(link.wait_readable)
    assert [when for when, _ in await arrivals(far, 3)] == [1.0, 2.0, 3.0]
    nursery.cancel_scope.cancel()


async def test_a_packet_that_is_due_earlier_wakes_who_waits(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    link, far = impaired(outgoing=Impairments(delay=1.0), incoming=Impairments(delay=9.0))
    far.send([b"late"])
    nursery.start_soon(link.wait_readable)
    await wait_all_tasks_blocked()
    link.send([b"early"])
    assert await arrivals(far, 1) == [(1.0, b"early")]
    nursery.cancel_scope.cancel()


async def test_what_is_due_together_takes_one_wake_up(autojump_clock: MockClock) -> None:
    link, far = impaired(incoming=Impairments(delay=1.0))
    for number in range(10):
        far.send([bytes([number])])
    await link.wait_readable()
    assert trio.current_time() == 1.0
    assert link.receive(limit=4) == [bytes([number]) for number in range(4)]
    assert len(link.receive()) == 6


async def test_it_sleeps_until_something_is_due(autojump_clock: MockClock) -> None:
    """A wake-up in between would ask the link beneath once more."""
    near, far = memory_pair()
    asked = 0
    receive = near.receive

    def counting(limit: int = 256) -> list[Buffer]:
        nonlocal asked
        asked += 1
        return receive(limit)

    near.receive = counting  # type: ignore[method-assign]
    link = ImpairedLink(near, incoming=Impairments(delay=1000.0))
    far.send([b"packet"])
    await link.wait_readable()
    assert trio.current_time() == 1000.0
    assert asked <= 3


async def test_loss_and_duplication_are_counted(autojump_clock: MockClock) -> None:
    link, far = impaired(Impairments(loss=0.3), Impairments(duplicate=0.4, reorder=0.2))
    for _ in range(500):
        link.send([b"out"])
        far.send([b"in"])
    assert len(far.receive(1000)) == 500 - link.counts["out_lost"]
    assert 100 < link.counts["out_lost"] < 200
    assert link.counts["in_admitted"] == 0  # nobody has looked
    received = link.receive(1000)
    await trio.sleep(1)
    received += link.receive(1000)
    assert len(received) == 500 + link.counts["in_duplicated"]
    assert 150 < link.counts["in_duplicated"] < 250
    assert 80 < link.counts["in_reordered"] < 200
    assert link.counts["out_duplicated"] == link.counts["in_lost"] == 0


async def test_the_buffers_of_others_are_left_alone() -> None:
    link, far = impaired(outgoing=Impairments(corrupt=1.0), incoming=Impairments(corrupt=1.0))
    ours = bytearray(40)
    link.send([ours])
    (arrived,) = far.receive()
    assert ours == bytes(40) != arrived
    ours[:] = b"x" * 40  # and what arrived is no view of it
    assert int.from_bytes(arrived).bit_count() == 1


async def test_the_same_seed_makes_the_same_path() -> None:
    def fates(seed: int) -> list[int]:
        link, far = impaired(Impairments(loss=0.5), Impairments(loss=0.5), seed)
        fates = []
        for _ in range(64):
            link.send([b"x"])
            far.send([b"y"])
            fates += [len(far.receive()), len(link.receive())]
        return fates

    assert fates(1) == fates(1) != fates(2)


async def test_the_two_directions_do_not_share_their_fate() -> None:
    link, far = impaired(Impairments(loss=0.5), Impairments(loss=0.5))
    fates = []
    for _ in range(64):
        link.send([b"x"])
        far.send([b"y"])
        fates.append((len(far.receive()), len(link.receive())))
    assert len(set(fates)) == 4


async def test_what_the_link_beneath_has_no_room_for_is_offered_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    link, far = impaired()
    for _ in range(CAPACITY + 10):
        assert link.send([b"x"])
    nursery.start_soon(link.wait_readable)
    await trio.sleep(1)
    assert len(far.receive(2 * CAPACITY)) == CAPACITY
    assert len(await arrivals(far, 10)) == 10
    nursery.cancel_scope.cancel()


class BrokenLink:
    """A link whose calls raise what they are told to, and else do nothing."""

    name = "broken0"
    mtu = 1500
    offload = False

    def __init__(self, *, sending: int = 0, receiving: int = 0) -> None:
        self.sending, self.receiving = sending, receiving
        self.closed = 0

    def send(self, packet: Sequence[Buffer]) -> bool:
        if self.sending:
            raise OSError(self.sending, "broken")
        return True

    def receive(self, limit: int = 256) -> list[Buffer]:
        if self.receiving:
            raise OSError(self.receiving, "broken")
        return []

    async def wait_readable(self) -> None:
        await trio.sleep_forever()

    async def wait_writable(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed += 1


async def test_a_deleted_device_is_reported() -> None:
    link = ImpairedLink(BrokenLink(receiving=errno.ENODEV))
    await link.wait_readable()
    with pytest.raises(OSError, match="broken") as caught:
        link.receive()
    assert caught.value.errno == errno.ENODEV
    with pytest.raises(OSError, match="broken"):
        link.send([b"x"])


async def test_what_had_arrived_before_the_device_went_can_be_received() -> None:
    near, far = memory_pair()
    link = ImpairedLink(near)
    far.send([b"last words"])
    await link.wait_readable()
    near.close()
    assert link.receive() == [b"last words"]
    with pytest.raises(OSError, match="closed"):
        link.receive()


async def test_a_packet_too_damaged_for_the_device_is_lost_and_nothing_else() -> None:
    beneath = BrokenLink(sending=errno.EINVAL)
    link = ImpairedLink(beneath)
    assert link.send([b"?"])
    beneath.sending = 0
    assert link.send([b"E"])
    assert link.receive() == []


async def test_closing_delivers_what_is_on_its_way_out_and_closes_the_link() -> None:
    link, far = impaired(outgoing=Impairments(delay=100.0))
    link.send([b"one"])
    link.send([b"two"])
    link.close()
    link.close()
    assert far.receive() == [b"one", b"two"]
    assert far.send([b"into the void"])


async def test_closing_wakes_who_waits_with_closed_resource_error() -> None:
    link, _ = impaired(incoming=Impairments(delay=1.0))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def blocked() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await link.wait_readable()

        await wait_all_tasks_blocked()
        link.close()
    for wait in (link.wait_readable, link.wait_writable):
        with pytest.raises(trio.ClosedResourceError):
            await wait()


async def test_a_closed_link_refuses_with_ebadf() -> None:
    link, _ = impaired()
    link.close()
    for call in (link.receive, lambda: link.send([b"x"])):
        with pytest.raises(OSError, match="closed") as caught:
            call()
        assert caught.value.errno == errno.EBADF


async def test_waiting_is_a_checkpoint_when_it_need_not_wait() -> None:
    link, far = impaired()
    far.send([b"x"])
    with assert_checkpoints():
        await link.wait_readable()
    with assert_checkpoints():
        await link.wait_writable()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "ends",
    [("198.51.100.1/24", "198.51.100.2/24"), ("2001:db8::1/64", "2001:db8::2/64")],
    ids=["IPv4", "IPv6"],
)
async def test_two_hosts_over_a_very_bad_path_lose_nothing(
    autojump_clock: MockClock, ends: tuple[str, str], seed: int
) -> None:
    bad = Impairments.parse(
        "loss=5%,delay=20ms,jitter=5ms,reorder=2%,duplicate=2%,corrupt=2%,rate=10mbit,limit=40"
    )
    near, far = memory_pair()
    link = ImpairedLink(near, bad, bad, random.Random(seed))
    data = random.Random(seed).randbytes(200_000)
    async with (
        Host(link, [ends[0]], seed=seed) as client,
        Host(far, [ends[1]], seed=seed) as server,
        trio.open_nursery() as nursery,
    ):

        async def echo(stream: trio.SocketStream) -> None:
            async for chunk in stream:
                await stream.send_all(chunk)

        await nursery.start(server.serve_tcp, echo, 7)
        address = ends[1].partition("/")[0]
        async with await client.open_tcp_stream(address, 7) as stream:
            nursery.start_soon(send, stream, data)
            received = b"".join([bytes(chunk) async for chunk in stream])
        nursery.cancel_scope.cancel()
        statistics = client.statistics()
    assert received == data
    for what in ("out_lost", "in_lost", "out_corrupted", "in_duplicated", "out_reordered"):
        assert statistics[f"path_{what}"] > 0
    assert server.statistics()["bad_tcp_checksum"] > 0


async def send(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


async def test_a_host_on_a_good_path_counts_nothing_of_it() -> None:
    near, _ = memory_pair()
    async with Host(near, ["198.51.100.1/24"]) as host:
        assert not any(name.startswith(("path_in_", "path_out_")) for name in host.statistics())


async def test_by_the_real_clock_nothing_comes_earlier_than_trio_can_tell() -> None:
    """A path that delivers what is due within a millisecond delivers nothing else."""
    near, far = memory_pair()
    link = ImpairedLink(near, Impairments(delay=0.02), rng=random.Random(1))
    begin = trio.current_time()
    assert link.send([b"packet"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.wait_readable)
        await far.wait_readable()
        assert trio.current_time() - begin >= 0.019
        nursery.cancel_scope.cancel()
    link.close()


def large_frames(family: str) -> dict[str, bytes]:
    """A TCP segment and a datagram that stand for five packets each, marked CE."""
    src, dst = PAIRS[family]
    data = bytes(range(250)) * 20
    segment = Segment(1, 5, ACK, payload=data, gso_size=1000, ecn=3)
    header = encode_udp(src, dst, 53, 4000, data, partial=True)
    datagram = Datagram(src, dst, UDP, header + data, tos=3, dont_fragment=True)
    start = family_of(src).header
    return {
        "TCP": b"".join(encode_segment(src, dst, 80, 40000, segment, offload=True)),
        "UDP": HEADER.pack(NEEDS_CHECKSUM, GSO_UDP_L4, start + 8, 1000, start, UDP_CHECKSUM)
        + b"".join(encode_datagram(datagram)),
    }


@pytest.mark.parametrize("family", PAIRS)
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("way", ["out", "in"])
async def test_large_packets_are_segmented_with_checksums_and_ecn(
    family: str, protocol: str, way: str
) -> None:
    """Of which some are lost, and the others arrive whole."""
    frame = large_frames(family)[protocol]
    near, far = memory_pair(offload=True)
    half = Impairments(loss=0.5)
    link = ImpairedLink(near, half, half, random.Random(1))
    for _ in range(40):
        (link if way == "out" else far).send([frame])
    arrived = [bytes(each) for each in (far if way == "out" else link).receive()]
    decode = decode_segment if protocol == "TCP" else decode_udp
    assert link.counts[f"{way}_admitted"] == 200
    assert 60 < len(arrived) == 200 - link.counts[f"{way}_lost"] < 140
    for each in arrived:
        assert each[:SIZE] == NO_OFFLOAD
        datagram = decode_datagram(each[SIZE:])
        assert datagram.tos == 3
        decode(datagram)  # Which verifies the checksum.
    link.close()


@pytest.mark.parametrize("family", PAIRS)
def test_corruption_is_detected_wherever_a_checksum_covers_it(family: str) -> None:
    """IPv6 has none for its header: hop limit, traffic class and flow label arrive as they are."""
    segment = Segment(1, 5, ACK, payload=b"some data")
    packet = b"".join(encode_segment(*PAIRS[family], 80, 40000, segment))
    path = Impairer(Impairments(corrupt=1.0), random.Random(1))
    unnoticed = set()
    for _ in range(20_000):
        damaged = path.corrupt(packet)
        with suppress(Discard):
            datagram = decode_datagram(damaged)
            if datagram.protocol != TCP:
                continue  # Nobody takes it for a segment.
            _, _, arrived = decode_segment(datagram)
            arrived.ecn = 0
            assert arrived == segment
            difference = int.from_bytes(packet, "big") ^ int.from_bytes(damaged, "big")
            unnoticed.add(8 * len(packet) - difference.bit_length())
    bits = {"IPv4": set(), "IPv6": {*range(4, 32), *range(56, 64)}}
    assert unnoticed == bits[family]
