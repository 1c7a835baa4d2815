"""An answer and the FIN behind it are one segment, where a listener's connections close so."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.socket.network import OURS, PORT, THEIRS, host_pair
from tunstack import Host, Packet, TcpStream, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio.testing import MockClock

    Handler = Callable[[TcpStream], Awaitable[object]]

pytestmark = pytest.mark.usefixtures("autojump_clock")
"""Applications are quick by it, however busy the machine is: after a slow one nothing is held."""

ANSWER = b"an answer"


class Served:
    """A server, a client, and what the server's segments carry.

    Attributes:
        client: The client's host.
        segments: Flags and payload of each segment since the last exchange began, without pure
            ACKs.
        handler: What the server does next.
    """

    def __init__(self, client: Host) -> None:
        self.client = client
        self.segments: list[tuple[str, bytes]] = []
        self.handler: Handler = answer

    async def serve(self, stream: TcpStream) -> None:
        await self.handler(stream)

    def note(self, packet: Packet) -> Packet:
        if packet.flags not in ("ACK", "SYN,ACK"):
            self.segments.append((str(packet.flags), bytes(packet.payload or b"")))
        return packet

    async def connect(self) -> TcpStream:
        """Open a connection, and send a request."""
        self.segments.clear()
        stream = await self.client.open_tcp_stream(THEIRS, PORT)
        await stream.send_all(b"a request")
        return stream

    async def exchange(self) -> bytes:
        """Return what the server sends until the end of the stream."""
        async with await self.connect() as stream:
            return b"".join([data async for data in stream])


async def answer(stream: TcpStream) -> None:
    await stream.receive_some()
    await stream.send_all(ANSWER)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Served, Host]]:
    """A server whose connections were closed right after an answer so far."""
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        served = Served(ours)
        theirs.rules.call(served.note, direction="out", local_port=PORT)
        await nursery.start(theirs.serve_tcp, served.serve, PORT)
        for _ in range(2):
            assert await served.exchange() == ANSWER
        yield served, theirs
        nursery.cancel_scope.cancel()


async def until_eof(stream: TcpStream) -> bytes:
    return b"".join([data async for data in stream])


async def answer_and_shut_down(stream: TcpStream) -> None:
    await stream.receive_some()
    await stream.send_all(ANSWER)
    await stream.send_eof()
    await until_eof(stream)


@pytest.mark.parametrize("handler", [answer, answer_and_shut_down])
async def test_an_answer_and_its_fin_are_one_segment(handler: Handler) -> None:
    async with serving() as (served, _):
        served.handler = handler
        assert await served.exchange() == ANSWER
        assert served.segments == [("FIN,PSH,ACK", ANSWER)]


async def test_a_listeners_first_connection_has_a_fin_of_its_own() -> None:
    """Nothing is known of its application then, and nothing is held."""
    async with host_pair() as (ours, theirs), trio.open_nursery() as nursery:
        served = Served(ours)
        theirs.rules.call(served.note, direction="out", local_port=PORT)
        await nursery.start(theirs.serve_tcp, served.serve, PORT)
        assert await served.exchange() == ANSWER
        assert served.segments == [("PSH,ACK", ANSWER), ("FIN,ACK", b"")]
        nursery.cancel_scope.cancel()


async def answer_twice(stream: TcpStream) -> None:
    await answer(stream)
    await answer(stream)


async def answer_and_sleep(stream: TcpStream) -> None:
    await answer(stream)
    await trio.sleep_forever()


async def answer_in_parts(stream: TcpStream) -> None:
    await answer(stream)
    await stream.send_all(ANSWER)
    await trio.sleep_forever()


async def wait_for_the_acknowledgement(stream: TcpStream) -> None:
    await answer(stream)
    await stream.socket.wait_acknowledged()
    await trio.sleep_forever()


@pytest.mark.parametrize(
    "handler", [answer_twice, answer_and_sleep, answer_in_parts, wait_for_the_acknowledgement]
)
async def test_an_answer_without_a_close_arrives_without_a_timer(
    handler: Handler, autojump_clock: MockClock
) -> None:
    """Whatever the application does in place of it; the clock stands as long as anyone runs."""
    async with serving() as (served, _):
        served.handler = handler
        began = trio.current_time()
        stream = await served.connect()
        data = b""
        while len(data) < len(ANSWER):
            data += await stream.receive_some()
        assert data.startswith(ANSWER)
        assert trio.current_time() == began


async def test_after_an_answer_that_was_held_in_vain_the_next_are_not() -> None:
    async with serving() as (served, _):
        served.handler = answer_twice
        stream = await served.connect()
        assert await stream.receive_some() == ANSWER
        served.handler = answer
        for _ in range(4):
            assert await served.exchange() == ANSWER
            assert served.segments[-2:] == [("PSH,ACK", ANSWER), ("FIN,ACK", b"")]


async def answer_and_abort(stream: TcpStream) -> None:
    await answer(stream)
    stream.abort()


async def answer_and_fail(stream: TcpStream) -> None:
    await answer(stream)
    raise trio.BrokenResourceError("the handler's own")


async def answer_and_leave_data_unread(stream: TcpStream) -> None:
    await stream.receive_some(1)
    await stream.send_all(ANSWER)


@pytest.mark.parametrize(
    "handler", [answer_and_abort, answer_and_fail, answer_and_leave_data_unread]
)
async def test_an_answer_before_a_reset_goes_out_before_it(handler: Handler) -> None:
    async with serving() as (served, _):
        served.handler = handler
        stream = await served.connect()
        with pytest.raises(trio.BrokenResourceError):
            await until_eof(stream)
        assert served.segments == [("PSH,ACK", ANSWER), ("RST", b"")]


async def test_at_the_end_of_a_host_an_answer_goes_out_before_the_reset() -> None:
    near, far = memory_pair()
    async with Host(near, [f"{OURS}/24"]) as ours, trio.open_nursery() as nursery:
        served = Served(ours)
        async with Host(far, [f"{THEIRS}/24"]) as theirs:
            (listener,) = await theirs.open_tcp_listeners(PORT)
            for _ in range(2):
                nursery.start_soon(served.exchange)
                async with await listener.accept() as stream:
                    await answer(stream)
            await wait_all_tasks_blocked()
            theirs.rules.call(served.note, direction="out", local_port=PORT)
            served.segments.clear()
            client = await ours.open_tcp_stream(THEIRS, PORT)
            nursery.start_soon(expect_an_answer_and_a_reset, client)
            await answer(await listener.accept())
            assert not served.segments  # It is held.
        assert served.segments[0] == ("PSH,ACK", ANSWER)


async def expect_an_answer_and_a_reset(stream: TcpStream) -> None:
    await wait_all_tasks_blocked()  # The server waits: only who is woken by a packet is waited for.
    await stream.send_all(b"a request")
    assert await stream.receive_some() == ANSWER
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()


async def test_an_answer_that_is_held_is_lost_with_a_connection_that_is_reset() -> None:
    """Nothing is sent on it any more."""
    async with serving() as (served, theirs):
        sent = trio.Event()

        async def answer_meanwhile(stream: TcpStream) -> None:
            await stream.receive_some()
            client.abort()
            try:
                await stream.send_all(ANSWER)
            finally:
                sent.set()
            await trio.sleep_forever()

        served.handler = answer_meanwhile
        served.segments.clear()
        # The handler is called at the request, maybe before the client knows that it was sent.
        client = await served.client.open_tcp_stream(THEIRS, PORT)
        await client.send_all(b"a request")
        await sent.wait()
        await wait_all_tasks_blocked()
        assert not [each for each in theirs.connections() if each.state != "TIME-WAIT"]
        assert not served.segments
        assert theirs.statistics()["internal_errors"] == 0
