"""The loop waits for applications that read datagrams, and for no others."""

from __future__ import annotations

import socket

import trio
import trio.testing

from tests.socket.network import THEIRS, host_pair
from tunstack.host.host import loop_of
from tunstack.socket.datagram import DatagramSocket


async def test_a_burst_beyond_a_batch_is_received_as_fast_as_it_is_read(
    mock_clock: trio.testing.MockClock,
) -> None:
    """One task reads one datagram in a turn: a batch is 64, and the buffer has room for 250.

    The clock stands still: however slow the machine is, the 5 ms are not over.
    """
    async with host_pair() as (ours, theirs):
        near = ours.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far = theirs.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await far.bind(("", 7))
        await near.sendto(b"first", (THEIRS, 7))
        assert await far.recv(10) == b"first"

        async def send() -> None:
            for number in range(5000):
                await near.sendto(number.to_bytes(2, "big"), (THEIRS, 7))

        async with trio.open_nursery() as nursery:
            for _ in range(4):  # Four senders for one reader.
                nursery.start_soon(send)
            for _ in range(20_000):
                await far.recv(10)
        assert theirs.statistics()["udp_buffer_full"] == 0


async def test_an_application_that_has_stopped_reading_holds_up_nobody() -> None:
    async with host_pair() as (ours, theirs):
        near = ours.socket(socket.AF_INET, socket.SOCK_DGRAM)
        lazy, busy = (theirs.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        await lazy.bind(("", 7))
        await busy.bind(("", 8))
        for port, sock in ((7, lazy), (8, busy)):
            await near.sendto(b"first", (THEIRS, port))
            await sock.recv(10)
        with trio.fail_after(60):
            for _ in range(500):
                for _ in range(5):
                    await near.sendto(b"unread", (THEIRS, 7))
                await near.sendto(b"read", (THEIRS, 8))
                assert await busy.recv(10) == b"read"
        assert isinstance(lazy, DatagramSocket)
        assert lazy.dropped > 2000
        assert loop_of(theirs).stack.datagrams.unread == 0
