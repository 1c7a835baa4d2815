"""Bridges: two stacks, and an impaired path between them."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import trio

import tunstack
from tunstack.deploy.bridge import LEFT, LEFT6, RIGHT, RIGHT6
from tunstack.host.host import loop_of
from tunstack.ladder import read_packet
from tunstack.path.pcapng import read_packets

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel

BAD = "loss=3%,delay=3ms,jitter=1ms,reorder=2%,duplicate=2%,corrupt=2%,rate=50mbit,limit=64kB"


def contents(size: int) -> bytes:
    return random.Random(size).randbytes(size)


ENDS = {"IPv4": (LEFT, RIGHT), "IPv6": (LEFT6, RIGHT6)}

each_family = pytest.mark.parametrize("family", ENDS)


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def listening(namespace: tunstack.Namespace, address: str) -> trio.SocketListener:
    """A kernel's listener."""
    sock = namespace.socket(family_of(address))
    await sock.bind((address, 0))
    sock.listen()
    return trio.SocketListener(sock)


async def connect(namespace: tunstack.Namespace, address: tuple[str, int]) -> trio.SocketStream:
    """A kernel's connection."""
    sock = namespace.socket(family_of(address[0]))
    await sock.connect(address)
    return trio.SocketStream(sock)


async def send_and_end(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


async def receive_all(stream: trio.SocketStream) -> bytes:
    return b"".join([bytes(chunk) async for chunk in stream])


async def exchange(one: trio.SocketStream, other: trio.SocketStream) -> tuple[bytes, bytes]:
    """Send something both ways at once; returns what each side received."""
    received: list[bytes] = [b"", b""]

    async def receive(number: int, stream: trio.SocketStream) -> None:
        received[number] = await receive_all(stream)

    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(send_and_end, one, contents(200_000))
        nursery.start_soon(send_and_end, other, contents(300_000))
        nursery.start_soon(receive, 0, one)
        nursery.start_soon(receive, 1, other)
    return received[0], received[1]


@each_family
async def test_two_kernels_exchange_data_across_a_bad_path_intact(family: str) -> None:
    _, right = ENDS[family]
    async with tunstack.open_bridge(BAD, seed=1) as bridge:
        listener = await listening(bridge.right, right)
        client = await connect(bridge.left, (right, listener.socket.getsockname()[1]))
        received = await exchange(client, await listener.accept())
        statistics = bridge.statistics()
    assert received == (contents(300_000), contents(200_000))
    for what in ("lost", "duplicated", "reordered", "corrupted"):
        assert statistics[f"out_{what}"] > 0
        assert statistics[f"in_{what}"] > 0
    assert statistics["out_delivered_bytes"] > 200_000


@pytest.mark.parametrize("end", ["left", "right"])
@each_family
async def test_a_host_of_ours_stands_in_place_of_either_kernel(
    end: Literal["left", "right"], family: str
) -> None:
    address = ENDS[family][end == "right"]
    async with tunstack.open_host_bridge(BAD, end=end, seed=1) as bridge:
        assert address in [str(each.ip) for each in bridge.host.addresses]
        (listener,) = await bridge.host.open_tcp_listeners(7, host=address)
        client = await connect(bridge.kernel, (address, 7))
        received = await exchange(client, await listener.accept())
        statistics = bridge.statistics()
    assert received == (contents(300_000), contents(200_000))
    ours = "out" if end == "left" else "in"
    # What came out of the host is what it was asked to send, and more.
    assert statistics[f"{ours}_delivered_bytes"] > 300_000


UDP_SEGMENT = 103
"""A socket option of UDP (linux/udp.h)."""

WHOLE = "delay=3ms,jitter=1ms,rate=100mbit,limit=200kB"


async def frames(kernel: tunstack.Namespace) -> tuple[int, int]:
    """How many frames the device of a kernel has received and transmitted."""
    answer = await kernel.run_process(["cat", "/proc/net/dev"], capture_stdout=True)
    (row,) = (line for line in answer.stdout.decode().splitlines() if " tun0:" in line)
    columns = row.partition(":")[2].split()
    return int(columns[1]), int(columns[9])


@each_family
async def test_two_kernels_exchange_large_segments_across_a_path_with_offload(
    family: str,
) -> None:
    _, right = ENDS[family]
    async with tunstack.open_bridge(WHOLE, seed=1, offload=True) as bridge:
        listener = await listening(bridge.right, right)
        client = await connect(bridge.left, (right, listener.socket.getsockname()[1]))
        received = await exchange(client, await listener.accept())
        incoming, outgoing = await frames(bridge.right)
        statistics = bridge.statistics()
    assert received == (contents(300_000), contents(200_000))
    # Each counts as the packets that a wire would carry.
    assert statistics["out_delivered"] > 200_000 // 1448 > incoming
    assert statistics["in_delivered"] > 300_000 // 1448 > outgoing
    assert statistics["in_delivered_bytes"] > 300_000 + 52 * (300_000 // 1448)


@pytest.mark.parametrize("end", ["left", "right"])
@each_family
async def test_a_host_of_ours_exchanges_large_segments_across_a_path_with_offload(
    end: Literal["left", "right"], family: str
) -> None:
    address = ENDS[family][end == "right"]
    async with tunstack.open_host_bridge(WHOLE, end=end, seed=1, offload=True) as bridge:
        (listener,) = await bridge.host.open_tcp_listeners(7, host=address)
        client = await connect(bridge.kernel, (address, 7))
        received = await exchange(client, await listener.accept())
        incoming, outgoing = await frames(bridge.kernel)
    assert received == (contents(300_000), contents(200_000))
    assert incoming < 200_000 // 1448
    assert outgoing < 300_000 // 1448


@each_family
async def test_a_capture_of_large_segments_has_the_packets_of_a_wire(
    tmp_path: Path, family: str
) -> None:
    _, right = ENDS[family]
    file = tmp_path / "x.pcapng"
    with file.open("wb") as capture:
        async with tunstack.open_bridge(WHOLE, offload=True, capture=capture) as bridge:
            listener = await listening(bridge.right, right)
            client = await connect(bridge.left, (right, listener.socket.getsockname()[1]))
            await exchange(client, await listener.accept())
            statistics = bridge.statistics()
    sizes = [len(packet.packet) for packet in read_packets(file)]
    assert max(sizes) == 1500
    assert len(sizes) >= statistics["out_admitted"] + statistics["in_admitted"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("loss=1%", "with offload a path has no loss"),
        ("in:reorder=1%", "with offload a path has no reorder"),
        ("out:duplicate=1%", "with offload a path has no duplicate"),
        ("corrupt=1%", "with offload a path has no corrupt"),
        ("rate=8mbit", "with offload limit must be in bytes"),
        ("rate=8mbit,limit=90", "with offload limit must be in bytes"),
    ],
)
async def test_what_befalls_packets_one_by_one_is_not_to_be_had_with_offload(
    wrong: str, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        async with tunstack.open_bridge(wrong, offload=True):
            pass
    with pytest.raises(ValueError, match=says):
        async with tunstack.open_host_bridge(wrong, offload=True):
            pass


@pytest.mark.parametrize("offload", [False, True])
@each_family
async def test_udp_segmentation_offload_crosses_a_bridge(
    offload: bool, family: str, tmp_path: Path
) -> None:
    """UDP with a gso_size: 20 datagrams in one packet where segmentation is offloaded."""
    _, right = ENDS[family]
    file = tmp_path / "x.pcapng"
    with file.open("wb") as capture:
        async with tunstack.open_bridge(offload=offload, capture=capture) as bridge:
            receiver = bridge.right.socket(family_of(right), socket.SOCK_DGRAM)
            await receiver.bind((right, 0))
            sender = bridge.left.socket(family_of(right), socket.SOCK_DGRAM)
            await sender.connect((right, receiver.getsockname()[1]))
            size = (1000).to_bytes(2, sys.byteorder)
            with receiver, sender:
                await sender.sendmsg([contents(19_900)], [(socket.SOL_UDP, UDP_SEGMENT, size)])
                with trio.fail_after(10):
                    received = [await receiver.recv(65536) for _ in range(20)]
            incoming, _ = await frames(bridge.right)
            statistics = bridge.statistics()
    assert b"".join(received) == contents(19_900)
    assert incoming == (1 if offload else 20)
    assert statistics["out_admitted"] == statistics["out_delivered"] == 20
    packets = [read_packet(each.time, each.packet) for each in read_packets(file)]
    assert [packet.text for packet in packets] == ["UDP len 1000"] * 19 + ["UDP len 900"]


@pytest.mark.parametrize(("mtu", "ipv6"), [(1279, True), (1280, False)])
async def test_a_bridge_without_ipv6(mtu: int, ipv6: bool) -> None:
    """As it is narrower than IPv6 allows, or is to have none."""
    async with tunstack.open_bridge(mtu=mtu, ipv6=ipv6) as bridge:
        with pytest.raises(OSError, match="unreachable"):
            await connect(bridge.left, (RIGHT6, 7))
    async with tunstack.open_host_bridge(mtu=mtu, ipv6=ipv6) as joined:
        assert [each.version for each in joined.host.addresses] == [4]


async def test_programs_meet_across_it(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    socat = require_tool("socat")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(contents(500_000))
    async with tunstack.open_bridge(BAD, seed=2) as bridge, trio.open_nursery() as nursery:
        server = [socat, "-u", "TCP-LISTEN:9000", f"CREATE:{target}"]
        process = await nursery.start(partial(bridge.right.run_process, server))
        client = [socat, "-u", f"FILE:{source}", f"TCP:{RIGHT}:9000,retry=50,interval=0.02"]
        await bridge.left.run_process(client)
        await process.wait()
    assert (
        hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(contents(500_000)).digest()
    )


async def test_each_direction_takes_its_own_time() -> None:
    """A ping is out and back again; what arrives is only ever late, so this is no measurement."""
    async with tunstack.open_bridge("out:delay=30ms,in:delay=50ms") as bridge:
        result = await bridge.left.run_process(
            ["ping", "-c", "1", "-W", "10", RIGHT], capture_stdout=True
        )
    milliseconds = float(result.stdout.decode().partition("time=")[2].split()[0])
    assert milliseconds >= 80


async def pings(seed: int, address: str = RIGHT) -> tuple[int, ...]:
    """What a path that loses half of all packets does to some pings."""
    async with tunstack.open_bridge("loss=50%", seed=seed) as bridge:
        command = ["ping", "-q", "-c", "40", "-i", "0.002", "-W", "0.1", address]
        await bridge.left.run_process(command, check=False, capture_stdout=True)
        statistics = bridge.statistics()
    return tuple(
        statistics[f"{way}_{what}"] for way in ("out", "in") for what in ("lost", "admitted")
    )


async def test_the_same_seed_makes_the_same_path() -> None:
    """Which takes kernels that send nothing of themselves."""
    first = await pings(1)
    assert first == await pings(1) == await pings(1, RIGHT6)
    assert first != await pings(2)
    assert first[1] == 40


async def test_the_capture_has_the_fate_of_each_packet(tmp_path: Path) -> None:
    file = tmp_path / "x.pcapng"
    with file.open("wb") as capture:
        async with tunstack.open_bridge(
            "out:loss=50%,out:delay=1ms", seed=1, capture=capture
        ) as bridge:
            command = ["ping", "-q", "-c", "20", "-i", "0.002", "-W", "0.1", RIGHT]
            await bridge.left.run_process(command, check=False, capture_stdout=True)
            statistics = bridge.statistics()
    comments = [packet.comment for packet in read_packets(file)]
    assert comments.count("out: lost") == statistics["out_lost"] > 0
    assert comments.count("out: arrives after 1.00 ms") == statistics["out_delivered"]
    assert comments.count("in: arrives after 0.00 ms") == statistics["in_delivered"]


async def test_packets_too_damaged_for_a_device_are_refused_and_nothing_else() -> None:
    async with tunstack.open_bridge("out:corrupt=100%", seed=1) as bridge:
        command = ["ping", "-q", "-s", "0", "-c", "100", "-i", "0.001", "-W", "0.1", RIGHT]
        await bridge.left.run_process(command, check=False, capture_stdout=True)
        statistics = bridge.statistics()
    assert statistics["out_corrupted"] == 100
    assert statistics["out_refused"] > 0  # the version in the first octet is neither 4 nor 6
    assert statistics["out_refused"] + statistics["out_delivered"] == 100


@pytest.mark.parametrize("wrong", ["loss=1", "delay=-1ms"])
async def test_invalid_arguments_are_reported_before_anything_is_created(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        async with tunstack.open_bridge(wrong):
            pass
    with pytest.raises(ValueError, match="must be"):
        async with tunstack.open_host_bridge(wrong):
            pass


async def test_the_mtu_is_that_of_the_whole_path() -> None:
    async with tunstack.open_host_bridge(mtu=600) as bridge:
        assert bridge.host.mtu == 600
        (listener,) = await bridge.host.open_tcp_listeners(7)
        async with await connect(bridge.kernel, (LEFT, 7)) as client:
            (connection,) = bridge.host.connections()
            assert connection.snd_mss == 600 - 40 - 12
            await client.send_all(b"x")
            async with await listener.accept() as stream:
                assert await stream.receive_some() == b"x"


def crossing_pids() -> list[int]:
    """The processes of this test that carry packets."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and is_crossing_of_ours(entry)
    ]


def is_crossing_of_ours(process: Path) -> bool:
    with suppress(OSError):
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        command = (process / "cmdline").read_bytes()
        return int(parent) == os.getpid() and b"\0path.crossing\0" in command
    return False


async def test_a_bridge_that_has_ended_is_reported() -> None:
    async with tunstack.open_host_bridge() as bridge:
        await bridge.host.open_tcp_listeners(7)
        (pid,) = crossing_pids()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(OSError, match="the bridge is gone"):
            bridge.statistics()
        with trio.fail_after(10), pytest.raises(OSError, match="Network is down"):
            await watch(bridge.host)
    with pytest.raises(trio.ClosedResourceError):
        bridge.statistics()


async def watch(host: tunstack.Host) -> None:
    while True:
        loop_of(host).check_link()
        await trio.sleep(0.001)


async def test_at_the_end_no_process_is_left() -> None:
    async with tunstack.open_bridge():
        assert len(crossing_pids()) == 1
    assert not crossing_pids()


async def test_a_host_may_have_a_bad_path_of_its_own() -> None:
    options: dict[str, Any] = {"impair": BAD, "seed": 4}
    async with tunstack.open_namespace() as ns, ns.open_host(**options) as host:
        (listener,) = await host.open_tcp_listeners(7, host=RIGHT)
        client = await connect(ns, (RIGHT, 7))
        received = await exchange(client, await listener.accept())
        statistics = host.statistics()
    assert received == (contents(300_000), contents(200_000))
    assert statistics["path_out_lost"] > 0
    assert statistics["path_in_corrupted"] > 0
