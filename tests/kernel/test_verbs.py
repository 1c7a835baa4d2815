"""What a test does to a connection, as a client of the kernel's sees it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.kernel.sockets import connected, exactly, read_to_end, send_all

if TYPE_CHECKING:
    from tunstack import Host, Namespace, Socket

pytestmark = [pytest.mark.kernel, pytest.mark.both_families]

DATA: Final = random.Random(1).randbytes(1 << 20)


async def counter(ns: Namespace, name: str) -> int:
    """One of the namespace's counters, as nstat(8) has it."""
    shown = await ns.run_process(["nstat", "-asz", name], capture_stdout=True)
    return int(shown.stdout.split()[-2])


async def probed(ns: Namespace, times: int) -> None:
    """Wait until the kernel has probed a closed window."""
    with trio.fail_after(10):
        while await counter(ns, "TcpExtTCPWinProbe") < times:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def client_of(ns: Namespace) -> str:
    """What ss(8) says of the kernel's connection."""
    shown = await ns.run_process(["ss", "-Htnio", "state", "established"], capture_stdout=True)
    return shown.stdout.decode()


class Reader:
    """Reads all that comes to a socket."""

    def __init__(self, sock: Socket) -> None:
        self.data = bytearray()
        self._sock = sock

    async def __call__(self) -> None:
        while piece := await self._sock.recv(1 << 16):
            self.data += piece

    async def has(self, size: int) -> None:
        """Wait until it has read so many octets."""
        with trio.fail_after(10):
            while len(self.data) < size:  # noqa: ASYNC110
                await trio.sleep(0.005)


@pytest.mark.parametrize("after", [0, 100_000])
async def test_a_client_whose_peer_freezes_probes_its_window_and_goes_on_after_the_thaw(
    ns: Namespace, host: Host, after: int
) -> None:
    async with (
        connected(ns, host, "server") as (near, far),
        trio.open_nursery() as nursery,
    ):
        offered = max(near.tcp_info().rcv_wnd, after)
        near.freeze(after)
        reader = Reader(near)
        nursery.start_soon(reader)
        nursery.start_soon(send_all, far, DATA)
        await probed(ns, 2)
        assert offered <= len(reader.data) <= offered + 256
        assert "timer:(persist" in await client_of(ns)
        near.thaw()
        await reader.has(len(DATA))
        assert reader.data == DATA
        assert near.tcp_info().out_of_order == 0


async def test_a_window_that_shrinks_blocks_a_client_at_once(ns: Namespace, host: Host) -> None:
    async with (
        connected(ns, host, "server") as (near, far),
        trio.open_nursery() as nursery,
    ):
        near.freeze(shrink=True)
        reader = Reader(near)
        nursery.start_soon(reader)
        nursery.start_soon(send_all, far, DATA)
        await probed(ns, 1)
        assert not reader.data
        near.thaw()
        await reader.has(len(DATA))
        assert reader.data == DATA


async def test_a_window_taken_back_in_mid_stream_loses_nothing(ns: Namespace, host: Host) -> None:
    """What the client has sent beyond it is dropped, and retransmitted when it opens."""
    async with (
        connected(ns, host, "server") as (near, far),
        trio.open_nursery() as nursery,
    ):
        reader = Reader(near)
        nursery.start_soon(reader)
        nursery.start_soon(send_all, far, DATA)
        for size in (1, 100_000, 500_000):
            await reader.has(size)
            near.freeze(1000, shrink=True)
            await trio.sleep(0.02)
            near.thaw()
        await reader.has(len(DATA))
        assert reader.data == DATA


async def test_other_connections_go_on_while_one_is_frozen(ns: Namespace, host: Host) -> None:
    async with (
        connected(ns, host, "server") as (frozen, _),
        connected(ns, host, "server") as (near, far),
        trio.open_nursery() as nursery,
    ):
        frozen.freeze(shrink=True)
        nursery.start_soon(send_all, far, DATA)
        assert await read_to_end(near) == DATA
        await near.send(b"and back")
        assert await exactly(far, 8) == b"and back"
