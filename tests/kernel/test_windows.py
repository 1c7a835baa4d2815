"""Slow readers on either side: windows that close, stay closed, and open again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

from tests.kernel.sockets import ROLES, SMALL, connected, read_to_end, send_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kernel.judge import Judge
    from tests.kernel.sockets import Role
    from tunstack import Namespace

pytestmark = [pytest.mark.kernel, pytest.mark.both_modes, pytest.mark.both_families]


DATA = random.Random(1).randbytes(1 << 20)
BUFFER = 1 << 15

CLOSED_WINDOWS = (
    "TCP Zero Window segment",
    "TCP window specified by the receiver is now completely full",
    "TCP keep-alive segment",  # What Wireshark takes a window probe for.
    "TcpExt.TCPWinProbe",
    "TcpExt.TCPACKSkippedSeq",  # The kernel answers a probe every half second, no more.
)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - nobody sets an event when the kernel acts
            await trio.sleep(0.01)


@pytest.mark.parametrize("role", ROLES)
async def test_we_probe_the_kernels_closed_window(ns: Namespace, judge: Judge, role: Role) -> None:
    async with (
        judge.open_host(rto_min=0) as host,
        connected(ns, host, role, kernels=BUFFER) as (near, far),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send_all, near, DATA)
        await until(lambda: host.statistics()["window_probe"] > 0)
        info = near.tcp_info()
        assert info.unacked == 0 < info.notsent
        assert info.snd_wnd < info.snd_mss
        nursery.start_soon(send_all, far, b"The other direction is open.")
        assert await read_to_end(near) == b"The other direction is open."
        assert await read_to_end(far) == DATA
        assert near.tcp_info().retransmits == 0
    await judge.acquit(but_for=CLOSED_WINDOWS)


@pytest.mark.parametrize("role", ROLES)
async def test_the_kernel_probes_our_closed_window(ns: Namespace, judge: Judge, role: Role) -> None:
    async with (
        judge.open_host(rto_min=0) as host,
        connected(ns, host, role, ours=BUFFER) as (near, far),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send_all, far, DATA)
        await until(lambda: near.tcp_info().unread >= BUFFER)
        duplicates = host.statistics()["tcp_duplicate"]
        await until(lambda: host.statistics()["tcp_duplicate"] > duplicates)  # A probe.
        assert near.tcp_info().unread < BUFFER + 128  # As exactly as the scaled field can say it.
        nursery.start_soon(send_all, near, b"The other direction is open.")
        assert await read_to_end(far) == b"The other direction is open."
        assert await read_to_end(near) == DATA
    await judge.acquit(but_for=CLOSED_WINDOWS)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("reader", ["ours", "the kernel's"])
async def test_a_reader_of_small_pieces_makes_no_small_segments(
    ns: Namespace, judge: Judge, role: Role, reader: str
) -> None:
    """Neither side falls for the silly window syndrome (RFC 9293 section 3.8.6.2)."""
    sizes = {"ours": SMALL} if reader == "ours" else {"kernels": SMALL}
    data = DATA[:100_000]
    async with (
        judge.open_host() as host,
        connected(ns, host, role, **sizes) as (near, far),
        trio.open_nursery() as nursery,
    ):
        slow, fast = (near, far) if reader == "ours" else (far, near)
        nursery.start_soon(send_all, fast, data)
        received = b""
        while piece := await slow.recv(300):
            received += piece
            await trio.lowlevel.checkpoint()
        assert received == data
        statistics = host.statistics()
        sent = statistics["packets_received" if reader == "ours" else "packets_sent"]
        assert sent < 2 * len(data) / 1000
    await judge.acquit(but_for=CLOSED_WINDOWS)
