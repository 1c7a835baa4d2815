"""Conversations in virtual time, between the hosts of a network."""

from __future__ import annotations

import trio

from tunstack import open_conversation, open_network, run_virtual


async def slow_server() -> tuple[float, str]:
    """A client of trio's waits for the SYN,ACK of a script; returns how long, and the packets."""
    async with open_network(link="delay=10ms") as net:
        client = await net.add_host("client")
        server = await net.add_host("server")

        async def ask() -> None:
            with client.socket_factory():
                stream = await trio.open_tcp_stream("server", 80)
            assert await stream.receive_some() == b"hello"
            await stream.aclose()

        start = trio.current_time()
        async with (
            trio.open_nursery() as nursery,
            open_conversation(server, 80, skip_retransmissions=True) as talk,
        ):
            nursery.start_soon(ask)
            await talk.expect("SYN")
            await trio.sleep(50)
            talk.send("SYN,ACK", mss=1460)
            await talk.expect("ACK", seq=1, ack=1)
            talk.send(payload=b"hello")
            await talk.expect("FIN,ACK", seq=1, ack=6)
            ladder = talk.ladder()
        return trio.current_time() - start, ladder


def test_minutes_pass_at_once_and_the_same_seed_gives_the_same_packets() -> None:
    first = run_virtual(slow_server, seed=7)
    assert 50 <= first[0] < 60
    assert "ms #1" in first[1]
    assert run_virtual(slow_server, seed=7) == first
