"""What a conversation that went otherwise shows."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
import trio

from tests.socket.network import OURS, THEIRS
from tunstack import ConversationError, Packet, open_conversation, open_conversations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio.testing import MockClock

    from tunstack import Host


async def ask(host: Host, question: bytes, address: str = OURS, local: str | None = None) -> None:
    """A client that sends a question, and reads until the connection ends."""
    stream = await host.open_tcp_stream(address, 80, local_address=local)
    async with stream:
        await stream.send_all(question)
        async for _ in stream:
            pass


async def test_another_segment_than_expected(
    hosts: tuple[Host, Host], autojump_clock: MockClock
) -> None:
    """The fields that were expected beside those that came, and the ladder."""
    ours, theirs = hosts
    async with open_conversation(ours, 80) as talk, trio.open_nursery() as nursery:
        nursery.start_soon(ask, theirs, b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        await talk.handshake(mss=1460)
        with pytest.raises(ConversationError) as caught:
            await talk.expect("FIN,ACK", seq=1, ack=1, window=lambda window: window > 1000)
        nursery.cancel_scope.cancel()
    assert str(caught.value) == dedent("""\
        expected FIN,ACK seq 1 ack 1 window (a predicate), but PSH,ACK seq 1 ack 1 win
        65535 len 41 came

                  expected     came
          flags   FIN,ACK      PSH,ACK  differs
          seq     1            1
          ack     1            1
          window  a predicate  65535

        The conversation until then, the other side on the left:

              ms #1 198.51.100.1:60145                           198.51.100.2:80
           0.000 #1 ── SYN seq 0 win 65535 ────────────────────────────────────▶
                       mss 1460, sackOK, ts, wscale 7
           0.000 #1 ◀─ SYN,ACK seq 0 ack 1 win 65535 ───────────────────────────
                       mss 1460
           0.000 #1 ── ACK seq 1 ack 1 win 65535 ──────────────────────────────▶
           0.000 #1 ── PSH,ACK seq 1 len 41 ack 1 win 65535 ───────────────────▶
                       ! differs: flags""")
    assert caught.value.expected == "FIN,ACK seq 1 ack 1 window (a predicate)"
    assert caught.value.came is not None
    assert caught.value.came.flags == "PSH,ACK"
    assert caught.value.ladder in str(caught.value)


async def test_nothing_came(hosts: tuple[Host, Host], autojump_clock: MockClock) -> None:
    ours, _ = hosts
    async with open_conversation(ours, 80) as talk:
        before = trio.current_time()
        with pytest.raises(ConversationError) as caught:
            await talk.expect("SYN", within=1.5)
        assert trio.current_time() == before + 1.5
    assert str(caught.value) == (
        "expected SYN within 1.5 s, but nothing came\n\nNo packet has come or was sent."
    )
    assert caught.value.came is None


async def test_no_silence(hosts: tuple[Host, Host], autojump_clock: MockClock) -> None:
    ours, theirs = hosts
    async with open_conversation(ours, 80) as talk, trio.open_nursery() as nursery:
        nursery.start_soon(ask, theirs, b"")
        await talk.expect("SYN")
        await talk.expect_silence(0.9)
        with pytest.raises(ConversationError) as caught:
            await talk.expect_silence(1)
        nursery.cancel_scope.cancel()
    assert str(caught.value) == dedent("""\
        expected silence for 1 s, but SYN seq 0 win 65535 came

        The conversation until then, the other side on the left:

              ms #1 198.51.100.1:60145                           198.51.100.2:80
           0.000 #1 ── SYN seq 0 win 65535 ────────────────────────────────────▶
                       mss 1460, sackOK, ts, wscale 7
        1000.000 #1 ── SYN seq 0 win 65535 ────────────────────────────────────▶
                       mss 1460, sackOK, ts, wscale 7
                       ! expected silence for 1 s""")


async def test_no_line_is_longer_than_80_characters(
    hosts: tuple[Host, Host], autojump_clock: MockClock
) -> None:
    """Over IPv6, with long payloads and a predicate."""
    ours, theirs = hosts

    def is_the_answer_to_everything_and_nothing_else(data: bytes) -> bool:
        return data == b"42"

    async with open_conversation(ours, 80) as talk, trio.open_nursery() as nursery:
        nursery.start_soon(ask, theirs, b"x" * 1000, "2001:db8::2")
        await talk.handshake(mss=1440, timestamps=True, sack_permitted=True, window_scale=7)
        with pytest.raises(ConversationError) as caught:
            await talk.expect(
                "FIN,ACK",
                payload=b"x" * 999 + b"y" * 100,
                where=lambda segment: is_the_answer_to_everything_and_nothing_else(segment.payload),
                window=lambda window: window > 70000,
                ack=1000000,
                seq=-1,
            )
        nursery.cancel_scope.cancel()
    lines = str(caught.value).splitlines()
    assert max(map(len, lines)) <= 80, caught.value
    assert any("2001:db8::1" in line for line in lines)


async def test_clients_that_were_not_taken_are_named(
    hosts: tuple[Host, Host], autojump_clock: MockClock
) -> None:
    ours, theirs = hosts
    async with open_conversation(ours, 80) as talk, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(ask, theirs, b"")
        await talk.handshake()
        with pytest.raises(ConversationError, match=r"Another client, 198\.51\.100\.1 port \d+, "):
            await talk.expect("FIN,ACK", within=0.1)
        nursery.cancel_scope.cancel()


async def test_what_belongs_to_no_conversation_is_named(
    hosts: tuple[Host, Host], autojump_clock: MockClock
) -> None:
    """A segment that is no SYN, of a connection that is not known."""
    ours, theirs = hosts
    async with (
        open_conversation(ours, 80) as talk,
        open_conversation(theirs, remote=(OURS, 80)) as other,
    ):
        other.send("FIN,ACK")
        other.send("SYN", checksum=1)
        with pytest.raises(ConversationError) as caught:
            await talk.expect("SYN", within=0.1)
    remarks = str(caught.value).splitlines()[-2:]
    assert remarks[0].startswith("Other packets of no conversation: FIN,ACK from 198.51.100.1")
    assert remarks[1] == "Other packets dropped: bad TCP checksum: 1."


async def test_a_flood_of_syns_is_bounded(
    hosts: tuple[Host, Host], autojump_clock: MockClock
) -> None:
    ours, theirs = hosts
    async with open_conversations(ours, 80) as clients:
        await clients_of(theirs, range(1000, 1500))
        await clients_of(theirs, range(1500, 2010))
        for _ in range(1000):
            talk = await clients.accept()
        with pytest.raises(ConversationError, match="dropped: a SYN beyond 1000 conversations: 10"):
            await talk.expect("ACK")
        talk.close()
        await clients_of(theirs, [3000])
        assert (await clients.accept()).remote == (THEIRS, 3000)


async def clients_of(host: Host, ports: Iterable[int]) -> None:
    """Send a SYN from each port."""
    for port in ports:
        syn = Packet.tcp(
            source=THEIRS, source_port=port, destination=OURS, destination_port=80, flags="SYN"
        )
        host.rules.inject(syn, "out")
    await trio.sleep(0.1)


async def test_no_client_came(hosts: tuple[Host, Host], autojump_clock: MockClock) -> None:
    ours, _ = hosts
    async with open_conversations(ours, 80) as clients:
        with pytest.raises(ConversationError) as caught:
            await clients.accept(within=0.5)
    assert str(caught.value).startswith("expected a SYN on port 80 within 0.5 s, but none came")


async def test_more_segments_than_are_kept_are_counted(
    hosts: tuple[Host, Host], autojump_clock: MockClock
) -> None:
    ours, theirs = hosts
    async with (
        open_conversation(ours, 80) as talk,
        open_conversation(theirs, remote=(OURS, 80)) as other,
    ):
        other.send("SYN")
        for number in range(1100):
            other.send(payload=b"x")
            if number % 500 == 0:
                await trio.sleep(0.01)
        await trio.sleep(0.1)
        with pytest.raises(ConversationError) as caught:
            await talk.expect("RST")
    text = str(caught.value)
    assert "101 segments were dropped: too many were not read." in text
    assert "(101 earlier packets)" in text
    assert len(text.splitlines()) < 60, "the ladder is folded"
