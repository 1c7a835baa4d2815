"""Conversations by hand with the kernel: each test is a trace, and Linux plays its part."""

from __future__ import annotations

import errno
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.socket import IPPROTO_TCP, SHUT_WR, SO_REUSEADDR, SOL_SOCKET, TCP_NODELAY

from tests.kernel.sockets import fails, read_to_end
from tests.kernel.test_endings import states
from tunstack import Conversation, ConversationError, open_conversation, open_conversations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kernel.ends import Ends
    from tunstack import Host, Namespace

pytestmark = [pytest.mark.kernel, pytest.mark.both_families]

PORT = 80


@asynccontextmanager
async def client(
    ns: Namespace, ends: Ends, talk: Conversation, **options: Any
) -> AsyncIterator[trio.socket.SocketType]:
    """A socket of the kernel's that has connected to the conversation."""
    with ns.socket(ends.family) as sock:
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sock.connect, (ends.ours, PORT))
            await talk.handshake(**options)
        yield sock


@asynccontextmanager
async def server(
    ns: Namespace, ends: Ends, host: Host
) -> AsyncIterator[tuple[Conversation, trio.socket.SocketType]]:
    """A conversation with a listening socket of the kernel's, which has heard nothing yet."""
    with ns.socket(ends.family) as listener:
        listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        await listener.bind((ends.kernel, PORT))
        listener.listen(5)
        async with open_conversation(host, remote=(ends.kernel, PORT)) as talk:
            yield talk, listener


async def state(ns: Namespace, expected: str) -> None:
    """Wait until the kernel's only connection is in this state."""
    with trio.fail_after(5):
        while await states(ns) != [expected]:  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(0.005)


# Opening


async def test_a_handshake_by_hand(ns: Namespace, host: Host, ends: Ends) -> None:
    async with open_conversation(host, PORT) as talk:
        with ns.socket(ends.family) as sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sock.connect, (ends.ours, PORT))
                mss = 1460 if ends.name == "IPv4" else 1440
                syn = await talk.expect(
                    "SYN", seq=0, payload=b"", mss=mss, sack_permitted=True, timestamps=True
                )
                assert syn.window_scale is not None
                talk.send("SYN,ACK", mss=1000, timestamps=True, window_scale=3)
                await talk.expect("ACK", seq=1, ack=1, payload=b"", timestamps=True)
            talk.send("PSH,ACK", b"hello")
            assert await sock.recv(100) == b"hello"
            await talk.expect("ACK", seq=1, ack=6, timestamps=True)
            await sock.send(bytes(1500))
            await talk.expect("ACK", seq=1, ack=6, payload=bytes(988))
            await talk.expect("PSH,ACK", seq=989, ack=6, payload=bytes(512))
            talk.send()
            assert talk.remote == sock.getsockname()[:2]


async def test_a_server_of_the_kernel(ns: Namespace, host: Host, ends: Ends) -> None:
    async with server(ns, ends, host) as (talk, listener):
        talk.send("SYN", mss=1000, sack_permitted=True)
        await talk.expect("SYN,ACK", seq=0, ack=1, sack_permitted=True, timestamps=False)
        talk.send()
        sock, address = await listener.accept()
        with sock:
            assert address[:2] == talk.local
            talk.send("PSH,ACK", b"hello")
            await talk.expect("ACK", seq=1, ack=6)
            assert await sock.recv(100) == b"hello"
            await sock.send(b"world")
            await talk.expect("PSH,ACK", seq=1, payload=b"world")


async def test_a_syn_that_is_refused(ns: Namespace, host: Host, ends: Ends) -> None:
    async with open_conversation(host, remote=(ends.kernel, PORT)) as talk:
        talk.send("SYN")
        await talk.expect("RST,ACK", seq=0, ack=1)


async def test_a_simultaneous_open(ns: Namespace, host: Host, ends: Ends) -> None:
    """RFC 9293 figure 7: two SYNs cross."""
    async with open_conversation(host, PORT) as talk:
        with ns.socket(ends.family) as sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sock.connect, (ends.ours, PORT))
                await talk.expect("SYN")
                talk.send("SYN")
                await talk.expect("SYN,ACK", seq=0, ack=1)
                talk.send("SYN,ACK", seq=0)
                await talk.expect("ACK", seq=1, ack=1)
            await state(ns, "ESTAB")
            talk.send(payload=b"hello")
            assert await sock.recv(100) == b"hello"


async def test_a_syn_ack_with_a_wrong_ack_is_reset_and_the_syn_repeated(
    ns: Namespace, host: Host, ends: Ends
) -> None:
    """RFC 9293 section 3.10.7.3: the RST has the number that was acknowledged."""
    async with open_conversation(host, PORT) as talk:
        with ns.socket(ends.family) as sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sock.connect, (ends.ours, PORT))
                await talk.expect("SYN")
                talk.send("SYN,ACK", ack=1000)
                await talk.expect("RST", seq=1000)
                await talk.expect("SYN", seq=0)
                talk.send("SYN,ACK", seq=0)
                await talk.expect("ACK", seq=1, ack=1)


async def test_an_old_duplicate_syn_of_a_client(ns: Namespace, host: Host, ends: Ends) -> None:
    """RFC 9293 figure 8: what the kernel answers to it is reset, and then the SYN comes."""
    async with server(ns, ends, host) as (talk, listener):
        talk.send("SYN", seq=-1000)
        await talk.expect("SYN,ACK", ack=-999)
        talk.send("RST", seq=-999)
        talk.send("SYN")
        await talk.expect("SYN,ACK", seq=0, ack=1)
        talk.send()
        sock, _ = await listener.accept()
        sock.close()
        await talk.expect("FIN,ACK", seq=1, ack=1)


async def test_an_old_duplicate_syn_in_a_connection_is_challenged(
    ns: Namespace, host: Host, ends: Ends
) -> None:
    """RFC 5961 section 4.2."""
    async with server(ns, ends, host) as (talk, listener):
        await talk.handshake(mss=1000)
        sock, _ = await listener.accept()
        with sock:
            talk.send("SYN", seq=-1000)
            await talk.expect("ACK", seq=1, ack=1, payload=b"")
            talk.send(payload=b"hello")
            await talk.expect("ACK", ack=6)
            assert await sock.recv(100) == b"hello"


# Data


async def test_data_with_a_wrong_ack_is_not_taken(ns: Namespace, host: Host, ends: Ends) -> None:
    """What acknowledges more than was sent is answered with an ACK (RFC 9293 3.10.7.4)."""
    async with open_conversation(host, PORT) as talk, client(ns, ends, talk) as sock:
        talk.send("PSH,ACK", b"wrong", ack=1000)
        await talk.expect("ACK", seq=1, ack=1)
        talk.send("PSH,ACK", b"right", seq=1)
        await talk.expect("ACK", seq=1, ack=6)
        assert await sock.recv(100) == b"right"


async def test_data_out_of_order_is_acknowledged_selectively(
    ns: Namespace, host: Host, ends: Ends
) -> None:
    async with (
        open_conversation(host, PORT) as talk,
        client(ns, ends, talk, sack_permitted=True) as sock,
    ):
        talk.send("PSH,ACK", b"world", seq=7)
        await talk.expect("ACK", ack=1, sack=[(7, 12)])
        talk.send("PSH,ACK", b"hello ")
        await talk.expect("ACK", ack=12, sack=())
        assert await sock.recv(100) == b"hello world"


async def test_a_closed_window_is_probed(ns: Namespace, host: Host, ends: Ends) -> None:
    """Linux probes with the number before the next, without data."""
    async with open_conversation(host, PORT) as talk, client(ns, ends, talk, window=5) as sock:
        await sock.send(b"hello world")
        await talk.expect("PSH,ACK", seq=1, payload=b"hello")
        talk.send(window=0)
        await talk.expect("ACK", seq=5, payload=b"")
        talk.send(window=100)
        await talk.expect("PSH,ACK", seq=6, payload=b" world")


async def test_timestamps_are_filled_in(ns: Namespace, host: Host, ends: Ends) -> None:
    """The kernel drops data whose timestamps are older than those it has seen (RFC 7323, PAWS)."""
    async with (
        open_conversation(host, PORT) as talk,
        client(ns, ends, talk, timestamps=True) as sock,
    ):
        sent = talk.send(payload=b"hello")
        assert sent.timestamps is not None
        await talk.expect("ACK", ack=6, timestamps=lambda pair: pair[1] == sent.timestamps[0])
        old = sent.timestamps[0] - 1000, sent.timestamps[1]
        talk.send(payload=b"old", timestamps=old)
        await talk.expect("ACK", ack=6)
        assert await sock.recv(100) == b"hello"


async def test_the_numbers_wrap(ns: Namespace, host: Host, ends: Ends) -> None:
    async with (
        open_conversation(host, PORT, start=2**32 - 3) as talk,
        client(ns, ends, talk) as sock,
    ):
        talk.send("PSH,ACK", b"hello")
        await talk.expect("ACK", ack=6)
        assert await sock.recv(100) == b"hello"


# Closing


async def test_a_half_closed_connection(ns: Namespace, host: Host, ends: Ends) -> None:
    """The client has ended its half, and reads on."""
    async with open_conversation(host, PORT) as talk, client(ns, ends, talk) as sock:
        sock.shutdown(SHUT_WR)
        await talk.expect("FIN,ACK", seq=1, ack=1)
        talk.send()
        await state(ns, "FIN-WAIT-2")
        for word in (b"one", b"two"):
            talk.send("PSH,ACK", word)
            await talk.expect("ACK", seq=2)
        talk.send("FIN,ACK")
        await talk.expect("ACK", seq=2, ack=8)
        assert await read_to_end(sock) == b"onetwo"
        await state(ns, "TIME-WAIT")


async def test_a_simultaneous_close(ns: Namespace, host: Host, ends: Ends) -> None:
    """RFC 9293 figure 13: two FINs cross."""
    async with open_conversation(host, PORT) as talk, client(ns, ends, talk) as sock:
        sock.close()
        await talk.expect("FIN,ACK", seq=1, ack=1)
        talk.send("FIN,ACK", ack=1)
        await talk.expect("ACK", seq=2, ack=2)
        await state(ns, "CLOSING")
        talk.send()
        await state(ns, "TIME-WAIT")


async def test_a_client_in_time_wait_is_left_there(ns: Namespace, host: Host, ends: Ends) -> None:
    async with open_conversation(host, PORT) as talk:
        async with client(ns, ends, talk) as sock:
            sock.close()
            await talk.expect("FIN,ACK")
            talk.send("FIN,ACK")
            await talk.expect("ACK", ack=2)
        await state(ns, "TIME-WAIT")
    await trio.sleep(0.05)
    assert await states(ns) == ["TIME-WAIT"]


# The end of the block


@pytest.mark.parametrize("answered", [True, False])
async def test_what_is_open_at_the_end_is_reset(
    ns: Namespace, host: Host, ends: Ends, answered: bool
) -> None:
    with ns.socket(ends.family) as sock:
        async with trio.open_nursery() as nursery, open_conversation(host, PORT) as talk:
            nursery.start_soon(outcome, sock, (ends.ours, PORT), answered)
            if answered:
                await talk.handshake()
                talk.send("PSH,ACK", b"hello")
            else:
                await talk.expect("SYN")
    assert await states(ns) == []
    assert len(host.rules) == 0


async def outcome(sock: trio.socket.SocketType, address: tuple[str, int], answered: bool) -> None:
    """Expect to be reset after a handshake, or to be refused."""
    if not answered:
        with fails(errno.ECONNREFUSED):
            await sock.connect(address)
        return
    with fails(errno.ECONNRESET):  # Either tells: the reset may come before `connect` returns.
        await sock.connect(address)
        await read_to_end(sock)


async def test_a_client_is_reset_when_the_host_ends_with_the_block(
    ns: Namespace, ends: Ends
) -> None:
    with ns.socket(ends.family) as sock:
        async with (
            trio.open_nursery() as nursery,
            ns.open_host(ends.address) as host,
            open_conversation(host, PORT) as talk,
        ):
            nursery.start_soon(outcome, sock, (ends.ours, PORT), True)
            await talk.handshake()


async def test_a_server_is_reset_at_the_end(ns: Namespace, host: Host, ends: Ends) -> None:
    async with server(ns, ends, host) as (talk, listener):
        await talk.handshake()
        sock, _ = await listener.accept()
    with sock, fails(errno.ECONNRESET):
        await sock.recv(1)


async def test_afterwards_the_host_has_its_port_again(
    ns: Namespace, host: Host, ends: Ends
) -> None:
    async with open_conversation(host, PORT):
        pass
    with ns.socket(ends.family) as sock, fails(errno.ECONNREFUSED):
        await sock.connect((ends.ours, PORT))


# ICMP errors


@pytest.mark.parametrize(
    ("kind", "error"),
    [("port-unreachable", errno.ECONNREFUSED), ("host-unreachable", errno.EHOSTUNREACH)],
)
async def test_an_icmp_error_answers_a_syn(
    ns: Namespace, host: Host, ends: Ends, kind: str, error: int
) -> None:
    async def connects() -> None:
        with ns.socket(ends.family) as sock, fails(error):
            await sock.connect((ends.ours, PORT))

    async with open_conversation(host, PORT) as talk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connects)
            await talk.expect("SYN")
            talk.send_icmp(kind)
        await talk.expect_silence(0.05)


async def test_the_path_mtu_of_a_client(ns: Namespace, host: Host, ends: Ends) -> None:
    """It sends again what was too long, in smaller segments."""
    async with (
        open_conversation(host, PORT) as talk,
        client(ns, ends, talk, mss=1400) as sock,
    ):
        await sock.send(bytes(1400))
        await talk.expect("PSH,ACK", seq=1, payload=bytes(1400))
        talk.send_icmp("fragmentation-needed", mtu=1300)
        headers = 40 if ends.name == "IPv4" else 60
        await talk.expect("ACK", seq=1, payload=bytes(1300 - headers))


# Clients


async def test_several_clients_at_once(ns: Namespace, host: Host, ends: Ends) -> None:
    async def asks(number: int) -> None:
        with ns.socket(ends.family) as sock:
            await sock.connect((ends.ours, PORT))
            await sock.send(b"%d" % number)
            assert await read_to_end(sock) == b"you are %d" % number
        answered.append(number)

    async def answers(talk: Conversation) -> None:
        await talk.handshake()
        number = (await talk.expect("PSH,ACK")).payload
        talk.send("FIN,PSH,ACK", b"you are " + number)
        while (segment := await talk.receive()).flags != "FIN,ACK":
            assert segment.flags == "ACK"
        talk.send()

    answered: list[int] = []
    async with open_conversations(host, PORT) as clients, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(asks, number)
        for _ in range(5):
            nursery.start_soon(answers, await clients.accept())
    assert sorted(answered) == [0, 1, 2, 3, 4]


async def test_a_program_that_speaks_http(ns: Namespace, host: Host, ends: Ends) -> None:
    """It gets its answer in two pieces, of which the second comes first."""
    program = (
        "import sys, urllib.request as request\n"
        "print(request.urlopen(sys.argv[1], timeout=10).read().decode())"
    )
    url = f"http://{ends.ours_in_url}/"
    result: list[Any] = []

    async def run() -> None:
        command = [sys.executable, "-c", program, url]
        result.append(await ns.run_process(command, capture_stdout=True))

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
    async with open_conversation(host, PORT) as talk, trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await talk.handshake(within=30, mss=1440)
        await talk.expect("PSH,ACK", payload=lambda data: data.startswith(b"GET / HTTP/1.1\r\n"))
        talk.send("ACK", answer[20:], seq=21)
        await talk.expect("ACK", ack=1)
        talk.send("ACK", answer[:20])
        await talk.expect("ACK", ack=1 + len(answer))
        await talk.expect("FIN,ACK")
        talk.send("FIN,ACK")
        await talk.expect("ACK")
    assert result[0].stdout == b"hello world\n"


async def test_a_failure_shows_the_ladder(ns: Namespace, host: Host, ends: Ends) -> None:
    async with open_conversation(host, PORT) as talk, client(ns, ends, talk) as sock:
        await sock.send(b"hello")
        with pytest.raises(ConversationError) as caught:
            await talk.expect("FIN,ACK", seq=1)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("expected FIN,ACK seq 1, but PSH,ACK seq 1 ack 1 win ")
    assert "  flags  FIN,ACK   PSH,ACK  differs" in lines
    assert "── PSH,ACK seq 1 len 5 ack 1 win " in lines[-2]
    assert lines[-1].strip() == "! differs: flags"
    assert max(map(len, lines)) <= 80
