"""IP_TTL and IP_TOS: how far what is sent may go, and how it wants to be served on its way."""

from __future__ import annotations

from socket import (
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_TCP,
    SO_KEEPALIVE,
    SOL_SOCKET,
    TCP_KEEPIDLE,
)

import pytest
import trio

from tests.socket.network import PORT, THEIRS, accepted, host_and_peer, listening
from tunstack import Limits
from tunstack.tcp.segment import ACK, FIN, RST, SYN

pytestmark = pytest.mark.rfc("1122:4.2.4.2")


@pytest.mark.rfc("MUST-48")
@pytest.mark.rfc("MUST-49")
@pytest.mark.rfc("SHLD-21")
@pytest.mark.rfc("SHLD-22")
async def test_hops_and_service_are_on_all_that_a_client_sends() -> None:
    async with host_and_peer() as (host, peer):
        client = host.socket()
        client.setsockopt(IPPROTO_IP, IP_TTL, 3)
        client.setsockopt(IPPROTO_IP, IP_TOS, 0xB8)

        async def expect(flags: int, ttl: int = 3, tos: int = 0xB8) -> None:
            assert (await peer.segment()).flags & ~0x08 == flags
            assert peer.latest is not None
            assert (peer.latest.ttl, peer.latest.tos) == (ttl, tos)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.connect, (THEIRS, PORT))
            await expect(SYN)
            peer.send(SYN | ACK)
            await expect(ACK)
        await client.send(b"x")
        await expect(ACK)
        client.setsockopt(IPPROTO_IP, IP_TTL, 255)
        client.setsockopt(IPPROTO_IP, IP_TOS, 0x20)
        peer.send()
        await client.send(b"y")
        await expect(ACK, 255, 0x20)
        client.abort()
        await expect(RST, 255, 0x20)


@pytest.mark.rfc("MUST-48")
@pytest.mark.rfc("MUST-49")
async def test_a_listeners_hops_and_service_are_on_its_syn_ack_and_on_what_follows() -> None:
    async with host_and_peer() as (host, peer):
        listener = await listening(host)
        listener.setsockopt(IPPROTO_IP, IP_TTL, 9)
        listener.setsockopt(IPPROTO_IP, IP_TOS, 0x48)
        await peer.connect()
        assert peer.latest is not None
        assert (peer.latest.ttl, peer.latest.tos) == (9, 0x48)
        server, _ = await listener.accept()
        await server.send(b"x")
        await peer.segment()
        assert (peer.latest.ttl, peer.latest.tos) == (9, 0x48)
        assert server.getsockopt(IPPROTO_IP, IP_TOS) == 0x48


@pytest.mark.rfc("MUST-49")
async def test_a_hosts_hops_are_its_resets_as_well() -> None:
    async with host_and_peer(ttl=77) as (_, peer):
        peer.host_port = 9
        peer.send(SYN)
        assert (await peer.segment()).flags == RST | ACK
        assert peer.latest is not None
        assert peer.latest.ttl == 77


@pytest.mark.rfc("MAY-9")
async def test_the_service_that_was_received_is_told() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        assert server.tcp_info().rcv_tos == 0
        for tos in (0xB9, 0x20):
            peer.tos = tos
            peer.send(ACK, b"x")
            await server.recv(1)
            assert server.tcp_info().rcv_tos == tos


@pytest.mark.rfc("MUST-48", "MUST-49", "4987:3.6")
async def test_a_listeners_hops_and_service_are_on_its_cookies() -> None:
    """Nothing is kept of the SYN that they answer; but who listens has made up its mind."""
    async with host_and_peer(limits=Limits(syncookies="always")) as (host, peer):
        listener = await listening(host)
        listener.setsockopt(IPPROTO_IP, IP_TTL, 9)
        listener.setsockopt(IPPROTO_IP, IP_TOS, 0x48)
        await peer.connect()
        assert peer.latest is not None
        assert (peer.latest.ttl, peer.latest.tos) == (9, 0x48)


@pytest.mark.rfc("SHLD-22", "SHLD-23", "2474:3")
async def test_nothing_but_the_application_changes_the_service() -> None:
    async with host_and_peer() as (host, peer):
        server = await accepted(host, peer)
        server.setsockopt(IPPROTO_IP, IP_TOS, 0xB8)
        server.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        server.setsockopt(IPPROTO_TCP, TCP_KEEPIDLE, 1)

        async def expect(flags: int, payload: bytes = b"") -> None:
            segment = await peer.segment()
            assert (segment.flags & ~0x08, bytes(segment.payload)) == (flags, payload)
            assert peer.latest is not None
            assert peer.latest.tos == 0xB8

        await server.send(b"x")
        await expect(ACK, b"x")
        await expect(ACK, b"x")  # Again, as nobody answered.
        peer.send(wnd=0)
        await server.send(b"y")
        await expect(ACK)  # A window probe,
        peer.expected += 1  # which has an old number.
        peer.tos = 0x20  # What comes has a service of its own.
        peer.send()
        await expect(ACK, b"y")
        peer.send()
        await expect(ACK)  # A keep-alive, likewise.
        peer.expected += 1
        peer.send(ACK, b"z")
        await expect(ACK)
        await server.recv(1)
        server.close()
        await expect(ACK | FIN)
