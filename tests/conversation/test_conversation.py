"""Conversations by hand with a TCP of ours: numbers, defaults, errors, the end."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.socket.network import OURS, THEIRS, fails
from tunstack import (
    Conversation,
    ConversationError,
    Host,
    TcpSegment,
    open_conversation,
    open_conversations,
)
from tunstack.host.host import loop_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


@pytest.fixture
async def talks(hosts: tuple[Host, Host]) -> AsyncIterator[tuple[Conversation, Conversation]]:
    """Two scripts that speak with each other: that of a server, and that of a client."""
    ours, theirs = hosts
    async with (
        open_conversation(ours, 80) as server,
        open_conversation(theirs, remote=(OURS, 80)) as client,
    ):
        yield server, client


Talks = tuple[Conversation, Conversation]


# Numbers and defaults


async def test_a_handshake_segment_by_segment(talks: Talks) -> None:
    server, client = talks
    client.send("SYN", mss=1460)
    await server.expect("SYN", seq=0, mss=1460)
    server.send("SYN,ACK", mss=1400)
    await client.expect("SYN,ACK", seq=0, ack=1, mss=1400)
    client.send()
    await server.expect("ACK", seq=1, ack=1, payload=b"")


async def test_the_ends_are_known_with_the_syn(talks: Talks) -> None:
    server, client = talks
    assert (server.local, server.remote) == (None, None)
    client.send("SYN")
    await server.expect("SYN")
    assert server.local == client.remote == (OURS, 80)
    assert server.remote == client.local
    assert client.local is not None
    assert client.local[0] == THEIRS
    assert "198.51.100.2 port 80 with 198.51.100.1 port" in repr(server)


async def test_numbers_follow_from_what_was_sent_and_read(talks: Talks) -> None:
    server, client = talks
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        await server.handshake()
    assert server.send(payload=b"12345").seq == 1
    assert server.send(payload=b"67").seq == 6
    await client.expect("ACK", payload=b"12345")
    assert client.send().ack == 6, "what was not read is not acknowledged"
    await client.expect("ACK", payload=b"67")
    assert client.send("FIN,ACK").ack == 8
    await server.expect("ACK", ack=6)
    await server.expect("FIN,ACK", seq=1, ack=8)
    assert server.send("FIN,ACK").ack == 2
    assert server.send().seq == 9


async def test_an_acknowledgment_stops_at_a_gap(talks: Talks) -> None:
    server, client = talks
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        await server.handshake()
    server.send(payload=b"later", seq=11)
    await client.expect("ACK", seq=11)
    assert client.send(sack=[(11, 16)]).ack == 1
    await server.expect("ACK", ack=1, sack=[(11, 16)])
    assert server.send(payload=b"0123456789").seq == 1
    await client.expect("ACK")
    assert client.send().ack == 16
    assert server.send().seq == 16, "what was sent beyond the gap counts as well"


async def test_numbers_wrap(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts
    async with (
        open_conversation(ours, 80, start=2**32 - 3) as server,
        open_conversation(theirs, remote=(OURS, 80)) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.handshake)
        await server.handshake()
        sent = server.send(payload=b"12345")
        assert sent.packet.seq == 2**32 - 2
        await client.expect(seq=1, payload=b"12345")
        assert server.send().packet.seq == 3
        await client.expect(seq=6)


async def test_timestamps_are_filled_in_if_both_syns_had_them(talks: Talks) -> None:
    server, client = talks
    client.send("SYN", timestamps=(7, 0))
    await server.expect("SYN", timestamps=(7, 0))
    server.send("SYN,ACK", timestamps=True)
    syn = await client.expect("SYN,ACK", timestamps=lambda pair: pair is not None and pair[1] == 7)
    assert syn.timestamps is not None
    client.send()
    await server.expect("ACK", timestamps=lambda pair: pair[1] == syn.timestamps[0])
    server.send("ACK", timestamps=False)
    await client.expect("ACK", timestamps=False)
    server.send("RST")
    await client.expect("RST", timestamps=False)


async def test_no_timestamps_are_filled_in_if_one_syn_had_none(talks: Talks) -> None:
    server, client = talks
    client.send("SYN", timestamps=True)
    await server.expect("SYN", timestamps=True)
    server.send("SYN,ACK")
    await client.expect("SYN,ACK", timestamps=False)
    client.send()
    await server.expect("ACK", timestamps=False)


async def test_every_field_of_a_segment(talks: Talks) -> None:
    server, client = talks
    client.send(
        "SYN,URG,PSH",
        b"early",
        window=1,
        urgent=2,
        mss=3,
        window_scale=4,
        sack_permitted=True,
        ttl=5,
        tos=6,
    )
    came = await server.expect(
        "SYN,URG,PSH",
        payload=b"early",
        window=1,
        urgent=2,
        mss=3,
        window_scale=4,
        sack_permitted=True,
    )
    assert (came.packet.ttl, came.packet.tos) == (5, 6)
    assert (came.ack, came.length, came.direction) == (None, 6, "in")


async def test_options_as_octets(talks: Talks) -> None:
    server, client = talks
    octets = bytes.fromhex("fd 04 0000 02 04 0218")
    client.send("SYN", options=octets)
    await server.expect("SYN", options=octets, mss=536)


async def test_a_wrong_checksum_is_sent(talks: Talks) -> None:
    server, client = talks
    client.send("SYN", checksum=0x1234)
    with pytest.raises(ConversationError, match="bad TCP checksum: 1"):
        await server.expect("SYN", within=0.1)


async def test_receive_takes_whatever_comes(talks: Talks) -> None:
    server, client = talks
    client.send("SYN,FIN")
    segment = await server.receive()
    assert isinstance(segment, TcpSegment)
    assert str(segment) == "SYN,FIN seq 0 win 65535"


async def test_segments_are_read_in_the_order_of_arrival(talks: Talks) -> None:
    server, client = talks
    client.send("SYN")
    client.send("ACK", b"a")
    client.send("ACK", b"b")
    await trio.testing.wait_all_tasks_blocked()
    assert [(await server.receive()).payload for _ in range(3)] == [b"", b"a", b"b"]


async def test_retransmissions_are_skipped_if_that_is_asked_for(hosts: tuple[Host, Host]) -> None:
    """What brings nothing new; an ACK without data, a RST and what brings more are expected."""
    ours, theirs = hosts
    async with (
        open_conversation(ours, 80, skip_retransmissions=True) as server,
        open_conversation(theirs, remote=(OURS, 80)) as client,
    ):
        client.send("SYN")
        client.send("SYN", seq=0)
        client.send("ACK", b"12345")
        client.send("ACK", b"123", seq=1)
        client.send("ACK", b"5", seq=5)
        client.send("ACK", seq=3)
        client.send("ACK", b"56", seq=5)
        client.send("FIN,ACK")
        client.send("FIN,ACK", seq=7)
        client.send("RST", seq=1)
        await server.expect("SYN")
        await server.expect("ACK", payload=b"12345")
        await server.expect("ACK", seq=3, payload=b"")
        await server.expect("ACK", payload=b"56")
        await server.expect("FIN,ACK", seq=7)
        await server.expect("RST", seq=1)
        client.send("FIN,ACK", seq=7)
        await server.expect_silence(0.05)
        assert server.ladder().count("FIN,ACK") == 3


async def test_the_server_of_an_older_connection_answers_with_a_new_number(talks: Talks) -> None:
    """RFC 9293 figure 9: a challenge ACK, our RST, and then the SYN,ACK that counts."""
    server, client = talks
    client.send("SYN")
    await server.expect("SYN")
    server.send("ACK", seq=1000, ack=-500)
    await client.expect("ACK", seq=1, ack=-500)
    client.send("RST", seq=-500)
    await server.expect("RST", seq=-500)
    server.send("SYN,ACK")
    await client.expect("SYN,ACK", seq=0, ack=1)


# Errors


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"flags": "SIN"}, "TCP has no flag 'SIN'"),
        ({"window": 65536}, "window must be a number from 0 to 65535, not 65536"),
        ({"mss": 65536}, "mss must be from 0 to 65535"),
        ({"payload": bytes(1461)}, "a packet of 1501 octets is larger than the MTU, 1500"),
        ({"options": b"\1\1\1\1", "mss": 1460}, "options= are all options"),
        ({"options": b"\1\1\1\1", "timestamps": True}, "options= are all options"),
    ],
)
async def test_what_cannot_be_sent_is_an_error(
    talks: Talks, fields: dict[str, Any], error: str
) -> None:
    server, client = talks
    with pytest.raises(ValueError, match=error):
        client.send(**fields)
    client.send("SYN")
    await server.expect("SYN", seq=0)


async def test_nothing_can_be_sent_before_it_is_known_where_to(talks: Talks) -> None:
    with pytest.raises(RuntimeError, match="no SYN has come yet"):
        talks[0].send("SYN,ACK")
    with pytest.raises(ValueError, match="no segment was read"):
        talks[0].send_icmp("port-unreachable")
    assert repr(talks[0]) == "<tunstack.Conversation, no SYN has come>"


async def test_icmp_errors_are_about_segments_that_came(talks: Talks) -> None:
    server, client = talks
    sent = client.send("SYN")
    await server.expect("SYN")
    with pytest.raises(ValueError, match="this one was sent"):
        client.send_icmp("port-unreachable", about=sent)
    with pytest.raises(ValueError, match="no ICMP error 'nonsense'"):
        server.send_icmp("nonsense")
    server.send_icmp("fragmentation-needed", mtu=1280)


async def test_a_conversation_needs_a_port_or_a_server(hosts: tuple[Host, Host]) -> None:
    with pytest.raises(ValueError, match="needs a port to answer on"):
        async with open_conversation(hosts[0]):
            pass


@pytest.mark.parametrize("address", ["www.example.com", "198.51.100.256", ""])
async def test_what_is_no_address_is_an_error(hosts: tuple[Host, Host], address: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        async with open_conversation(hosts[0], remote=(address, 80)):
            pass
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        async with open_conversation(hosts[0], 80, local_address=address):
            pass
    await hosts[0].open_tcp_listeners(80)


@pytest.mark.parametrize("remote", ["198.51.100.1", ("198.51.100.1",), ("198.51.100.1", 0)])
async def test_what_is_no_address_with_a_port_is_an_error(
    hosts: tuple[Host, Host], remote: Any
) -> None:
    with pytest.raises(ValueError, match=r"remote must be \(address, port\)|remote_port"):
        async with open_conversation(hosts[0], remote=remote):
            pass


async def test_the_families_of_both_ends_must_be_one(hosts: tuple[Host, Host]) -> None:
    with pytest.raises(ValueError, match="2001:db8::2"):
        async with open_conversation(hosts[0], remote=(THEIRS, 80), local_address="2001:db8::2"):
            pass


@pytest.mark.parametrize("port", [-1, 65536])
async def test_what_is_no_port_is_an_error(hosts: tuple[Host, Host], port: int) -> None:
    with pytest.raises(ValueError, match=f"port.*{port}"):
        async with open_conversation(hosts[0], port):
            pass
    assert len(hosts[0].rules) == 0


async def test_an_address_of_another_is_not_available(hosts: tuple[Host, Host]) -> None:
    with fails(errno.EADDRNOTAVAIL):
        async with open_conversation(hosts[0], 80, local_address=THEIRS):
            pass
    with fails(errno.EADDRNOTAVAIL):
        async with open_conversation(hosts[0], remote=(THEIRS, 80), local_address=THEIRS):
            pass
    assert len(hosts[0].rules) == 0


# Ports


async def test_the_port_is_taken_and_given_back(hosts: tuple[Host, Host]) -> None:
    ours, _ = hosts
    async with open_conversation(ours, 80):
        with fails(errno.EADDRINUSE):
            await ours.open_tcp_listeners(80)
        assert len(ours.rules) == 1
    assert len(ours.rules) == 0
    listeners = await ours.open_tcp_listeners(80)
    with fails(errno.EADDRINUSE):
        async with open_conversation(ours, 80):
            pass
    assert len(ours.rules) == 0
    for listener in listeners:
        await listener.aclose()


async def test_any_port_that_is_free(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts
    async with trio.open_nursery() as nursery, open_conversations(ours, 0) as clients:
        assert clients.port
        nursery.start_soon(reads_a_reset, theirs, clients.port)
        talk = await clients.accept()
        await hear(talk)


async def test_the_other_ports_of_the_host_are_served(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts
    async with open_conversation(ours, 80), trio.open_nursery() as nursery:
        (listener, *_) = await ours.open_tcp_listeners(81)
        nursery.start_soon(theirs.open_tcp_stream, OURS, 81)
        await listener.accept()


async def test_one_address_of_the_host(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts
    async with (
        trio.open_nursery() as nursery,
        open_conversation(ours, 80, local_address="2001:db8::2") as talk,
    ):
        with fails(errno.ECONNREFUSED):
            await theirs.open_tcp_stream(OURS, 80)
        nursery.start_soon(reads_a_reset, theirs, 80, "2001:db8::2")
        await hear(talk)


async def test_an_older_connection_of_the_host_goes_on(hosts: tuple[Host, Host]) -> None:
    """Its listener is closed, and a script has the port now."""
    ours, theirs = hosts
    (listener, *others) = await ours.open_tcp_listeners(80)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reads_a_reset, theirs, 80)
        stream = await listener.accept()
        for each in (listener, *others):
            await each.aclose()
        async with open_conversation(ours, 80) as talk:
            await stream.send_all(b"more")
            assert isinstance(stream, trio.SocketStream)
            with pytest.raises(ConversationError, match="No packet"):
                await talk.receive(within=0.2)
            assert ours.connections()[0].unacked == 0
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()


async def hear(talk: Conversation) -> None:
    """Let a client connect, and wait for its word: it has returned from `connect` then."""
    await talk.handshake()
    await talk.expect("ACK", payload=b"hello")
    talk.send()


# Several clients


async def test_each_syn_of_another_client_begins_a_conversation(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts

    async def script(talk: Conversation) -> None:
        await talk.handshake()
        assert talk.remote is not None
        seen.add(talk.remote)
        if len(seen) == 3:
            nursery.cancel_scope.cancel()

    seen: set[tuple[str, int]] = set()
    async with open_conversations(ours, 80) as clients, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(reads_a_reset, theirs, 80)
        async for talk in clients:
            nursery.start_soon(script, talk)
    assert len(seen) == 3


async def test_a_client_that_connects_again_from_its_port_begins_another(
    hosts: tuple[Host, Host],
) -> None:
    ours, theirs = hosts
    async with open_conversations(ours, 80) as clients:
        for _ in range(2):
            async with open_conversation(theirs, 4711, remote=(OURS, 80)) as client:
                client.send("SYN")
                talk = await clients.accept()
                assert talk.remote == (THEIRS, 4711)
                await talk.expect("SYN", seq=0)
                client.send("SYN", seq=0)
                await talk.expect("SYN", seq=0)


async def test_a_conversation_that_another_has_replaced_ends_with_the_block(
    hosts: tuple[Host, Host],
) -> None:
    """And does not reset the other, whose client has the same port."""
    ours, theirs = hosts

    async def waits(talk: Conversation) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await talk.expect("ACK", within=1000)

    async with open_conversation(theirs, 4711, remote=(OURS, 80), reset=False) as client:
        client.send("SYN")
        async with trio.open_nursery() as nursery, open_conversations(ours, 80) as clients:
            first = await clients.accept()
            await first.expect("SYN")
            nursery.start_soon(waits, first)
            client.send("SYN", seq=1000)
            await (await clients.accept()).expect("SYN", seq=0)
        await client.expect("RST,ACK", seq=0, ack=1001)
        await client.expect_silence(0.05)


async def test_a_syn_that_comes_while_the_port_is_taken_is_not_lost(
    hosts: tuple[Host, Host],
) -> None:
    ours, theirs = hosts
    async with open_conversation(theirs, remote=(OURS, 80)) as client:
        client.send("SYN")
        async with open_conversation(ours, 80) as server:
            await server.expect("SYN")


async def test_a_conversation_that_is_closed_is_forgotten(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts
    async with (
        open_conversations(ours, 80) as clients,
        open_conversation(theirs, remote=(OURS, 80)) as client,
    ):
        client.send("SYN")
        talk = await clients.accept()
        talk.close()
        await client.expect("RST,ACK", seq=0, ack=1)
        with pytest.raises(trio.ClosedResourceError):
            talk.send("SYN,ACK")
        client.send("SYN")
        await (await clients.accept()).expect("SYN")


# The end


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([data async for data in stream])


async def reads_a_reset(host: Host, port: int, address: str = OURS) -> None:
    """A client that says a word, and reads until it is reset."""
    stream = await host.open_tcp_stream(address, port)
    await stream.send_all(b"hello")
    with pytest.raises(trio.BrokenResourceError):
        await read_to_end(stream)


async def test_a_client_whose_syn_was_not_answered_is_refused(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts

    async def refused() -> None:
        with fails(errno.ECONNREFUSED):
            await theirs.open_tcp_stream(OURS, 80)

    async with trio.open_nursery() as nursery, open_conversation(ours, 80) as talk:
        nursery.start_soon(refused)
        await talk.expect("SYN")


async def test_a_client_is_reset_even_if_it_has_not_got_all(talks: Talks) -> None:
    """At the next number, and at the one that it has acknowledged: RFC 5961 wants it exact."""
    server, client = talks
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        await server.handshake()
    server.send(payload=b"12345")
    await client.expect("ACK")
    server.close()
    await client.expect("RST,ACK", seq=6, ack=1)
    await client.expect("RST,ACK", seq=1, ack=1)
    await client.expect_silence(0.1)


async def test_a_client_that_has_ended_is_not_reset(talks: Talks) -> None:
    server, client = talks
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        await server.handshake()
    client.send("FIN,ACK")
    await server.expect("FIN,ACK")
    server.send("FIN,ACK")
    await client.expect("FIN,ACK", ack=2)
    client.send("ACK")
    await server.expect("ACK", ack=2)
    server.close()
    await client.expect_silence(0.1)


@pytest.mark.parametrize("who", ["client", "server"])
async def test_after_a_reset_there_is_no_other(talks: Talks, who: str) -> None:
    server, client = talks
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        await server.handshake()
    sender, other = (server, client) if who == "server" else (client, server)
    sender.send("RST")
    await other.expect("RST")
    server.close()
    await client.expect_silence(0.1)


async def test_the_reset_that_answers_a_wrong_ack_is_not_the_end(talks: Talks) -> None:
    server, client = talks
    client.send("SYN")
    await server.expect("SYN")
    server.send("SYN,ACK", ack=1000)
    await client.expect("SYN,ACK", ack=1000)
    client.send("RST", seq=1000)
    await server.expect("RST", seq=1000)
    server.close()
    await client.expect("RST,ACK", seq=1, ack=1)


async def test_without_reset_nothing_is_sent_at_the_end(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts
    async with open_conversation(theirs, remote=(OURS, 80)) as client:
        async with open_conversation(ours, 80, reset=False) as server:
            client.send("SYN")
            await server.expect("SYN")
        await client.expect_silence(0.1)


async def test_the_block_resets_when_it_fails(hosts: tuple[Host, Host]) -> None:
    ours, theirs = hosts
    async with open_conversation(theirs, remote=(OURS, 80)) as client:
        with suppress(ZeroDivisionError):
            async with open_conversation(ours, 80) as server:
                client.send("SYN")
                await server.expect("SYN")
                raise ZeroDivisionError
        await client.expect("RST,ACK", seq=0, ack=1)


async def test_after_the_block_everything_is_closed(
    hosts: tuple[Host, Host], autojump_clock: MockClock
) -> None:
    ours, theirs = hosts

    async def waits() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await talk.expect("SYN", within=1000)
        with pytest.raises(trio.ClosedResourceError):
            await clients.accept(within=1000)

    async with (
        trio.open_nursery() as nursery,
        open_conversation(ours, 80) as talk,
        open_conversations(theirs, 80) as clients,
    ):
        nursery.start_soon(waits)
        await trio.sleep(1)
    for act in (talk.send, lambda: talk.send_icmp("port-unreachable")):
        with pytest.raises(trio.ClosedResourceError):
            act()
    assert trio.current_time() < 100


async def test_the_host_may_end_first(hosts: tuple[Host, Host]) -> None:
    ours, _ = hosts
    async with open_conversation(ours, remote=(THEIRS, 80)) as talk:
        loop_of(ours).bare_link.close()
        await trio.testing.wait_all_tasks_blocked()
        with fails(errno.ENETDOWN):
            talk.send("SYN")
