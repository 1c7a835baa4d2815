"""What comes right behind a segment that ends its connection: tried on a kernel and on tunstack.

To a host of ours both come in one batch, for which it sends only afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.socket import SHUT_WR

from tests.kernel.near import PORT, WAIT, Near, linux, tunstack
from tests.socket.network import THEIRS
from tunstack.tcp.segment import ACK, FIN, PSH, RST, SYN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack import Namespace

pytestmark = pytest.mark.kernel


@pytest.fixture(params=[linux, tunstack], ids=["linux", "tunstack"])
async def near(request: pytest.FixtureRequest, ns: Namespace) -> Any:
    end: Callable[[Namespace], Any] = request.param
    async with end(ns) as near:
        with trio.fail_after(4 * WAIT):
            yield near


async def half_open(near: Near) -> None:
    """The peer has sent a SYN to a listener, and has not acknowledged the answer."""
    await near.listening()
    near.peer.host_port = PORT
    near.peer.send(SYN, mss=1460)
    assert (await near.segment()).flags == SYN | ACK


@pytest.mark.parametrize("flags", [ACK, ACK | PSH, FIN | ACK])
async def test_a_segment_behind_a_reset_draws_a_reset(near: Near, flags: int) -> None:
    await near.accepted()
    near.peer.send(RST)
    near.peer.send(flags, b"x" if flags & PSH else b"")
    reset = await near.segment()
    assert (reset.flags, reset.seq) == (RST, near.peer.expected)


async def test_a_reset_behind_a_reset_draws_nothing(near: Near) -> None:
    await near.accepted()
    near.peer.send(RST)
    near.peer.send(RST)
    assert await near.silent()


async def test_each_segment_with_data_behind_our_close_draws_a_reset(near: Near) -> None:
    sock = await near.accepted()
    sock.close()
    assert (await near.segment()).flags == FIN | ACK
    at = near.peer.expected
    near.peer.send(ACK | PSH, b"one")
    near.peer.send(ACK | PSH, b"two")
    for _ in range(2):
        reset = await near.segment()
        assert (reset.flags & RST, reset.seq) == (RST, at)


async def test_a_segment_behind_the_ack_of_the_last_fin_draws_a_reset(near: Near) -> None:
    sock = await near.accepted()
    near.peer.send(FIN | ACK)
    await near.segment()
    sock.close()
    assert (await near.segment()).flags == FIN | ACK
    near.peer.send()
    near.peer.send(FIN | ACK, seq=near.peer.nxt - 1)
    assert (await near.segment()).flags == RST


async def test_a_syn_behind_the_ack_of_the_last_fin_opens_a_connection(near: Near) -> None:
    listener = await near.listening()
    near.peer.host_port = PORT
    near.peer.send(SYN, mss=1460)
    await near.segment()
    near.peer.send()
    sock, _ = await listener.accept()
    near.peer.send(FIN | ACK)
    await near.segment()
    sock.close()
    await near.segment()
    near.peer.send()
    near.peer.send(SYN, seq=900_000, mss=1460)
    assert (await near.segment()).flags == SYN | ACK


async def test_a_segment_behind_the_fin_that_begins_time_wait_draws_nothing(near: Near) -> None:
    sock = await near.accepted()
    sock.close()
    await near.segment()
    near.peer.send(FIN | ACK)
    near.peer.send()
    assert (await near.segment()).flags == ACK
    assert await near.silent()


async def test_a_syn_behind_the_fin_that_begins_time_wait_opens_a_connection(near: Near) -> None:
    listener = await near.listening()
    near.peer.host_port = PORT
    near.peer.send(SYN, mss=1460)
    await near.segment()
    near.peer.send()
    sock, _ = await listener.accept()
    sock.close()
    await near.segment()
    near.peer.send(FIN | ACK)
    near.peer.send(SYN, seq=near.peer.nxt + 100_000, mss=1460)
    flags = [(await near.segment()).flags]
    if flags == [ACK]:
        flags.append((await near.segment()).flags)
    assert flags[-1] == SYN | ACK


async def test_a_segment_behind_a_reset_of_the_handshake_draws_a_reset(near: Near) -> None:
    await half_open(near)
    at = near.peer.expected
    near.peer.send(RST)
    near.peer.send()
    reset = await near.segment()
    assert (reset.flags, reset.seq) == (RST, at)


async def test_a_syn_behind_a_reset_of_the_handshake_opens_a_connection(near: Near) -> None:
    await half_open(near)
    near.peer.send(RST)
    near.peer.send(SYN, seq=900_000, mss=1460)
    answer = await near.segment()
    assert (answer.flags, answer.ack) == (SYN | ACK, 900_001)


async def test_a_segment_behind_a_refusal_draws_a_reset(near: Near) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def connect() -> None:
            with near.socket() as sock, pytest.raises(ConnectionRefusedError):
                await sock.connect((THEIRS, near.peer.port))

        await near.segment()
        near.peer.send(RST | ACK)
        near.peer.send(SYN | ACK, mss=1460)
        reset = await near.segment()
        assert (reset.flags, reset.seq) == (RST, near.peer.expected)


async def test_a_segment_behind_a_reset_in_close_wait_draws_a_reset(near: Near) -> None:
    sock = await near.accepted()
    near.peer.send(FIN | ACK)
    await near.segment()
    sock.shutdown(SHUT_WR)
    await near.segment()
    near.peer.send(RST)
    near.peer.send()
    assert (await near.segment()).flags == RST
