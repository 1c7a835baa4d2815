"""The verbs of a connection, between two hosts, as the other one sees them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

from tests.kernel.ends import IPV4, IPV6
from tests.socket.network import fails, fill
from tunstack import Host, TcpStream, memory_pair
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kernel.ends import Ends
    from tunstack import Observation
    from tunstack.tcp.segment import Segment

pytestmark = pytest.mark.parametrize("ends", [IPV4, IPV6], ids=["IPv4", "IPv6"])

PORT = 80


class Wire:
    """What comes to a host, as its tap."""

    def __init__(self) -> None:
        self.verdicts: list[str] = []
        self.segments: list[Segment] = []

    def __call__(self, seen: Observation) -> None:
        if seen.direction == "in":
            self.verdicts.append(seen.verdict)
            self.segments.append(decode_segment(decode_datagram(seen.packet))[2])

    def taken(self) -> list[Segment]:
        """What has come since the last call."""
        segments, self.segments = self.segments, []
        return segments


class Connected(NamedTuple):
    """A connection: `near`, whose verbs are tried, and `far`, with all that comes to it."""

    host: Host
    near: TcpStream
    far: TcpStream
    wire: Wire


@asynccontextmanager
async def connected(ends: Ends) -> AsyncIterator[Connected]:
    left, right = memory_pair()
    wire = Wire()
    async with (
        Host(left, [ends.address], seed=1) as ours,
        Host(right, [f"{ends.kernel}/{ends.prefix}"], seed=2, tap=wire) as theirs,
    ):
        listeners = await ours.open_tcp_listeners(PORT)
        far = await theirs.open_tcp_stream(ends.ours, PORT)
        near = await listeners[0].accept()
        await trio.sleep(1)
        wire.taken()
        yield Connected(ours, near, far, wire)


async def exactly(stream: TcpStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive_some(size - len(data))
    return data


# freeze, thaw


async def test_a_frozen_window_takes_what_was_offered_and_opens_again(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, wire):
        near.freeze()
        offered = far.socket.tcp_info().snd_wnd
        unit = 1 << near.socket.tcp_info().rcv_wscale
        sent = await fill(far.socket)
        taken = near.socket.tcp_info().unread
        assert offered <= taken <= offered + unit
        await exactly(near, taken)
        await trio.sleep(10)
        assert near.socket.tcp_info().unread == far.socket.tcp_info().snd_wnd == 0
        edges = [each.ack + each.wnd * unit for each in wire.taken()]
        assert all(edge > max(edges[:i]) - unit for i, edge in enumerate(edges) if i)
        near.thaw()
        await exactly(near, sent - taken)


async def test_a_window_closes_after_so_many_octets(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, _):
        near.freeze(5000, shrink=True)
        await trio.sleep(1)
        assert 5000 <= far.socket.tcp_info().snd_wnd <= 5128
        await fill(far.socket)
        assert 5000 <= near.socket.tcp_info().unread <= 5256
        await near.send_all(b"the other half goes on")
        assert await far.receive_some() == b"the other half goes on"


async def test_a_connection_whose_window_is_frozen_ends_as_any(ends: Ends) -> None:
    """Its TIME-WAIT as well, without a socket."""
    async with connected(ends) as (host, near, far, _):
        near.freeze(1000, shrink=True)
        await near.send_eof()
        await far.send_eof()
        assert await near.receive_some() == b""
        await near.aclose()
        await trio.sleep(1)
        assert [info.state for info in host.connections()] == ["TIME-WAIT"]
        assert host.statistics()["internal_errors"] == 0


async def test_a_frozen_window_is_probed_for_ever_and_no_error(ends: Ends) -> None:
    async with connected(ends) as (_, near, far, wire):
        near.freeze(shrink=True)
        await fill(far.socket)
        wire.taken()
        await trio.sleep(3600)
        answers = wire.taken()
        assert len(answers) > 10
        assert {each.wnd for each in answers} == {0}
        assert far.socket.tcp_info().state == "ESTABLISHED"


@pytest.mark.parametrize("verb", ["freeze", "thaw"])
async def test_verbs_are_for_open_sockets(ends: Ends, verb: str) -> None:
    async with connected(ends) as (host, near, _, _):
        with host.socket(ends.family) as unconnected, fails(107):
            getattr(unconnected, verb)()
        await near.aclose()
        with fails(9):
            getattr(near, verb)()
