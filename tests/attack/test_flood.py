"""A SYN flood while people go on using a web server, and what cookies keep of a connection.

``make flood`` measures the same with a hundred thousand SYNs.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import pytest
import trio

import tunstack
from tests.attack.flood import flood
from tunstack.apps import APPS

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.kernel, pytest.mark.rfc("4987:3.6")]

MIB: Final = 1 << 20
ALWAYS: Final = tunstack.Limits(syncookies="always")
TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE = 1, 2, 4


async def test_no_request_fails_in_a_flood_and_memory_stays_flat(
    require_tool: Callable[[str], str],
) -> None:
    figures = await flood(5000, 200, rate=5000, ab=require_tool("ab"))
    assert figures.failed == 0
    assert figures.complete == figures.rounds * 200
    assert figures.growth < 16 * MIB
    statistics = figures.statistics
    assert statistics["half_open"] <= 1024
    assert statistics["syncookies_sent"] > 500
    assert statistics["memory_held"] < 8 * MIB
    assert "internal_errors" not in statistics
    assert "tcp_backlog_full" not in statistics


@pytest.mark.parametrize("timestamps", [1, 0])
async def test_the_kernel_gets_through_by_a_cookie_and_all_data_arrives(
    timestamps: int, nursery: trio.Nursery
) -> None:
    """With all options, where it uses timestamps; without window scaling and SACK elsewhere."""
    async with (
        tunstack.open_namespace() as namespace,
        namespace.open_host(limits=ALWAYS) as host,
    ):
        namespace.sysctl("net.ipv4.tcp_timestamps", timestamps)
        await nursery.start(host.serve_tcp, APPS["echo"].handler, 7)
        sock = namespace.socket()
        await sock.connect(("198.51.100.2", 7))
        stream = trio.SocketStream(sock)
        data = bytes(range(256)) * 4000

        async def send() -> None:
            await stream.send_all(data)
            await stream.send_eof()

        nursery.start_soon(send)
        assert b"".join([bytes(piece) async for piece in stream]) == data
        _, _, _, _, _, options, scales = struct.unpack_from(
            "7B", sock.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_INFO, 104)
        )
        wanted = TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE if timestamps else 0
        assert options & 7 == wanted
        assert scales & 15 == (7 if timestamps else 0)
        await stream.aclose()
        statistics = host.statistics()
        assert statistics["syncookies_sent"] == statistics["syncookies_received"] == 1
        nursery.cancel_scope.cancel()
