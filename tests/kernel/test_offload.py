"""Segmentation and checksums left to the device, and not: the same to everybody else."""

from __future__ import annotations

import errno
import os
import sys
from functools import partial
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.kernel.judge import KERNEL
from tests.kernel.sockets import FLOW_CONTROL, read_to_end, send_all
from tunstack.link.device import IFF_VNET_HDR, attach_device

if TYPE_CHECKING:
    from tests.kernel.judge import Judge
    from tunstack import Host, Namespace, Observation

pytestmark = pytest.mark.kernel

DATA = Random(4).randbytes(3_000_000)


async def through(ns: Namespace, host: Host, data: bytes = DATA) -> None:
    """Send `data` to the kernel and let it send it back, at the same time."""
    listener = ns.socket()
    await listener.bind((KERNEL, 0))
    listener.listen()
    stream = await host.open_tcp_stream(KERNEL, listener.getsockname()[1])
    peer, _ = await listener.accept()

    async def echo() -> None:
        received = await read_to_end(peer)
        await send_all(peer, received)
        peer.shutdown(trio.socket.SHUT_WR)

    with listener, peer:
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            await stream.send_all(data)
            await stream.send_eof()
            digest, size = sha256(), 0
            async for piece in stream:
                digest.update(piece)
                size += len(piece)
    assert (size, digest.digest()) == (len(data), sha256(data).digest())


@pytest.mark.parametrize("offload", [True, False])
async def test_a_transfer_both_ways_is_clean_either_way(
    ns: Namespace, judge: Judge, offload: bool
) -> None:
    async with judge.open_host(offload=offload) as host:
        await through(ns, host)
    await judge.acquit(but_for=FLOW_CONTROL)


async def test_packets_are_larger_than_the_mtu_with_it_and_never_without(ns: Namespace) -> None:
    largest: dict[bool, dict[str, int]] = {}
    for offload in (True, False):
        sizes = largest[offload] = {"in": 0, "out": 0}

        def tap(seen: Observation, sizes: dict[str, int] = sizes) -> None:
            sizes[seen.direction] = max(sizes[seen.direction], len(seen.packet))

        async with ns.open_host(offload=offload, tap=tap) as host:
            await through(ns, host)
    assert min(largest[True].values()) > 20_000
    assert set(largest[False].values()) == {1500}


async def test_the_kernel_is_told_the_mss_of_a_large_segment(ns: Namespace) -> None:
    """By gso_size; it takes that for the MSS of what it receives (TCP_INFO's tcpi_rcv_mss)."""
    async with ns.open_host(mtu=600) as host:
        listener = ns.socket()
        await listener.bind((KERNEL, 0))
        listener.listen()
        with listener:
            stream = await host.open_tcp_stream(KERNEL, listener.getsockname()[1])
            peer, _ = await listener.accept()
            async with stream:
                await stream.send_all(bytes(100_000))
                await stream.send_eof()
                await read_to_end(peer)
            with peer:
                info = peer.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_INFO, 64)
    assert int.from_bytes(info[20:24], sys.byteorder) == 600 - 52


@pytest.mark.parametrize("offload", [True, False])
async def test_a_large_segment_of_which_a_part_is_lost_is_repaired(
    ns: Namespace, offload: bool
) -> None:
    path = "loss=2%,reorder=1%,duplicate=1%,corrupt=1%"
    async with ns.open_host(offload=offload, impair=path, seed=7) as host:
        with trio.fail_after(60):
            await through(ns, host, DATA[:1_000_000])
        counts = host.statistics()
    assert counts["path_out_lost"] > 5
    assert counts["path_in_lost"] > 5
    assert counts["retransmission_fast"]
    # What was lost was sent again, and not all that had gone out together with it.
    again = sum(counts[f"retransmission_{why}"] for why in ("fast", "timeout", "tail_loss_probe"))
    assert again < 4 * (counts["path_out_lost"] + counts["path_out_corrupted"]) + 20


async def test_a_capture_shows_complete_checksums(ns: Namespace, judge: Judge) -> None:
    """Nobody has computed them, so whoever looks at the packets would call them wrong."""
    async with judge.open_host() as host:
        await through(ns, host, DATA[:200_000])
    await judge.acquit(but_for=FLOW_CONTROL)


class Device:
    """One that no ioctl on offload works on: a file that is no TUN device."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self._file = open(os.devnull, "rb")  # noqa: SIM115

    @property
    def closed(self) -> bool:
        return self._file.closed

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


def attach(flags: int, *, made: list[Device], knows: bool) -> Device:
    if flags & IFF_VNET_HDR and not knows:
        raise OSError(errno.EINVAL, "Invalid argument")
    made.append(Device(flags))
    return made[-1]


@pytest.mark.parametrize("knows", [True, False])
def test_a_kernel_that_cannot_offload_gives_a_plain_device(knows: bool) -> None:
    """Be it that it does not know the header, or that it does not take what we ask for."""
    made: list[Device] = []
    device, offload = attach_device(partial(attach, made=made, knows=knows), wants_offload=True)
    assert not offload
    assert device is made[-1]
    assert not device.flags & IFF_VNET_HDR
    assert [each.closed for each in made] == [True] * (len(made) - 1) + [False]
    device.close()


def test_an_error_of_the_kernel_is_reported() -> None:
    def refuse(flags: int) -> Any:
        raise OSError(errno.EPERM, "Operation not permitted")

    with pytest.raises(PermissionError):
        attach_device(refuse, wants_offload=True)
