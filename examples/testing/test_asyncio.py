"""A client made of asyncio's streams, for a protocol of its own."""

import asyncio

import pytest

from tunstack.blocking import Stream
from tunstack.pytest_plugin import Peers


async def ask(address: tuple[str, int], question: bytes) -> bytes:
    """The program to test: one line there, one line back, in half a second."""
    async with asyncio.timeout(0.5):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(question + b"\n")
            return await reader.readuntil(b"\n")
        finally:
            writer.close()


def test_a_line_comes_back(tunstack_peer: Peers) -> None:
    assert asyncio.run(ask(tunstack_peer("echo").address, b"hello")) == b"hello\n"


def test_segments_of_one_octet_are_still_a_line(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("echo", behaviour="trickle=1/1ms")
    assert asyncio.run(ask(peer.address, b"hello")) == b"hello\n"


def test_a_peer_that_vanishes_is_a_timeout(tunstack_peer: Peers) -> None:
    def vanish(stream: Stream) -> None:
        stream.receive_exactly(6)
        stream.vanish()

    with pytest.raises(TimeoutError):
        asyncio.run(ask(tunstack_peer(vanish).address, b"hello"))


def test_half_a_line_is_an_error(tunstack_peer: Peers) -> None:
    def answer(stream: Stream) -> None:
        stream.receive_exactly(6)
        stream.send_all(b"hel")

    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(ask(tunstack_peer(answer).address, b"hello"))


def test_the_answer_is_the_one_that_came_first(tunstack_peer: Peers) -> None:
    def overlap(stream: Stream) -> None:
        stream.receive_exactly(6)
        stream.send_all(b"right\n")
        stream.send_segment(seq=-6, payload=b"wrong\n")

    assert asyncio.run(ask(tunstack_peer(overlap).address, b"?????")) == b"right\n"
