"""An application that computes holds up the whole program, but nothing is sent twice for that."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
import trio

if TYPE_CHECKING:
    from tunstack import Host, Namespace

pytestmark = pytest.mark.kernel

PORT = 9000
BUSY = 0.35
"""Seconds: more than the retransmission timeout, and the probe of a lost tail."""


async def answer(stream: trio.SocketStream) -> None:
    async for request in stream:
        if request == b"compute":
            time.sleep(BUSY)  # noqa: ASYNC251 - just this is meant
        await stream.send_all(request)


@pytest.mark.parametrize("who", [0, 3, 7])
async def test_what_others_had_answered_before_is_sent_once(
    ns: Namespace, host: Host, who: int
) -> None:
    """Eight ask at the same time, and one of them has something computed for it."""
    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve_tcp, answer, PORT)
        asking = [ns.socket() for _ in range(8)]
        for sock in asking:
            await sock.connect((str(host.addresses[0].ip), PORT))
            await sock.send(b"hello")
            assert await sock.recv(100) == b"hello"
        for number, sock in enumerate(asking):
            os.write(sock.fileno(), b"compute" if number == who else b"answer")
        for sock in asking:
            await sock.recv(100)
        await trio.sleep(0.02)
        assert [info.retransmits for info in host.connections()] == [0] * 8
        assert host.statistics()["retransmission_tail_loss_probe"] == 0
        for sock in asking:
            sock.close()
        nursery.cancel_scope.cancel()
