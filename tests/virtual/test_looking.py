"""What a network shows of itself: the sockets of its hosts, a ladder, a capture."""

from __future__ import annotations

import io
import socket
import time
from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tests.virtual.programs import ask, serve_echo
from tunstack.path.pcapng import read_packets

if TYPE_CHECKING:
    from pathlib import Path

    from tunstack import Network, Observation

in_virtual_time = pytest.mark.trio(run=tunstack.run_virtual)


@in_virtual_time
async def test_ss_has_listeners_connections_and_udp_sockets_of_every_host() -> None:
    async with tunstack.open_network(link="delay=10ms") as net:
        client = await net.add_host("client", "198.51.100.1")
        server = await net.add_host("server")
        await net.start(server, serve_echo)
        stream = await client.open_tcp_stream("server", 7)
        await stream.send_all(b"hello")
        await trio.sleep(0.1)
        await stream.send_all(b"again")
        sock = client.socket(type=socket.SOCK_DGRAM)
        await sock.bind(("", 5000))
        port = stream.socket.getsockname()[1]
        both = server.socket(socket.AF_INET6)
        await both.bind(("::", 8))
        both.listen()
        of_client, of_server = net.ss().split("\n\n")
    heading = "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port"
    lines = of_client.splitlines()
    assert lines[0] == "client: 198.51.100.1"
    assert lines[1].split() == heading.split()
    assert lines[2].split() == ["udp", "UNCONN", "0", "0", "0.0.0.0:5000", "*:*"]
    assert lines[3].split() == [
        *("tcp", "ESTAB", "5", "5"),
        *(f"198.51.100.1:{port}", "198.51.100.2:7"),
    ]
    assert lines[4].startswith("\t ts sack cubic wscale:7,7 rto:220 rtt:20/")
    assert lines[4].endswith(
        " mss:1448 pmtu:1500 rcvmss:1448 cwnd:10 snd_wnd:131072 rcv_wnd:131072 "
        "bytes_acked:5 bytes_received:5 unacked:5"
    )
    lines = of_server.splitlines()
    assert lines[0] == "server: 198.51.100.2, 2001:db8::1"
    assert lines[2].split() == ["tcp", "LISTEN", "0", "4096", "0.0.0.0:7", "*:*"]
    assert lines[3].split() == ["tcp", "LISTEN", "0", "4096", "[::]:7", "*:*"]
    assert lines[4].split() == ["tcp", "LISTEN", "0", "128", "*:8", "*:*"]
    assert lines[5].split()[:5] == ["tcp", "ESTAB", "0", "0", "198.51.100.2:7"]


@pytest.mark.parametrize("who", ["the block", "a program"])
@in_virtual_time
async def test_after_a_failure_ss_shows_what_there_was(who: str) -> None:
    async def fail() -> None:
        await ask("server")
        stream = await trio.open_tcp_stream("server", 7)
        await stream.send_all(b"hello")
        raise KeyError

    async def run(net: Network) -> None:
        async with net:
            client = await net.add_host("client")
            await net.start(await net.add_host("server"), serve_echo)
            if who == "the block":
                with client.socket_factory():
                    await fail()
            net.start_soon(client, fail)
            await trio.sleep_forever()

    net = tunstack.open_network()
    with pytest.raises(KeyError):
        await run(net)
    assert net.ss().count("LISTEN") == 2
    assert net.ss().count("ESTAB") == 2
    assert "PSH,ACK" in net.ladder()


ADDRESSES = {"client": "198.51.100.1", "server": "198.51.100.2", "other": "198.51.100.3"}


@in_virtual_time
async def test_a_ladder_shows_what_became_of_packets() -> None:
    async with tunstack.open_network(link="delay=10ms") as net:
        for name, address in ADDRESSES.items():
            await net.add_host(name, address)
        client = net.host("client")
        await net.start("server", serve_echo)
        stream = await client.open_tcp_stream("server", 7)
        await net.start("other", serve_echo)
        with client.socket_factory():
            await ask("other")
        net.partition("client", "server")
        await stream.send_all(b"hello")
        ladder = net.ladder("client", "server")
        assert "198.51.100.3" in net.ladder()
        port = stream.socket.getsockname()[1]
    assert (
        ladder
        == f"""\
client: 198.51.100.1
server: 198.51.100.2
      ms #1 198.51.100.1:{port}                            198.51.100.2:7
   0.000 #1 ── SYN seq 0 win 65535 ────────────────────────────────────▶
               mss 1460, sackOK, ts, wscale 7
  10.000 #1 ◀─ SYN,ACK seq 0 ack 1 win 65535 ───────────────────────────
               mss 1460, sackOK, ts, wscale 7
  20.000 #1 ── ACK seq 1 ack 1 win 131072 ─────────────────────────────▶
  60.000 #1 ── PSH,ACK seq 1 len 5 ack 1 win 131072 ───────────────────▶
               ! dropped: partitioned
"""
    )


@in_virtual_time
async def test_what_is_held_or_sent_to_nobody_is_in_the_ladder() -> None:
    async with tunstack.open_network(link="duplicate=100%") as net:
        client = await net.add_host("client", "198.51.100.1")
        await net.add_host("server", "198.51.100.2")
        sock = client.socket(type=socket.SOCK_DGRAM)
        await sock.sendto(b"one", ("198.51.100.2", 9))
        net.hold("client", "server")
        await sock.sendto(b"two", ("198.51.100.2", 9))
        await sock.sendto(b"three", ("198.51.100.9", 9))
        ladder = net.ladder(width=60)
    for said in ("! duplicated", "! held", "! dropped: no such address"):
        assert said in ladder


@in_virtual_time
async def test_a_capture_has_each_packet_once_with_its_hosts_and_its_fate(tmp_path: Path) -> None:
    path = tmp_path / "network.pcapng"
    async with tunstack.open_network(link="delay=20ms", capture=path) as net:
        client = await net.add_host("client", "198.51.100.1")
        server = await net.add_host("server", "198.51.100.2")
        sock, bound = [each.socket(type=socket.SOCK_DGRAM) for each in (client, server)]
        await bound.bind(("198.51.100.2", 9))
        await sock.sendto(b"one", ("198.51.100.2", 9))
        await trio.sleep(1)
        net.partition("client", "server")
        await sock.sendto(b"two", ("198.51.100.2", 9))
        await sock.sendto(b"three", ("198.51.100.9", 9))
    assert [(each.time, each.packet[28:], each.comment) for each in read_packets(path)] == [
        (0, b"one", "client -> server: arrives after 0.02 s"),
        (1, b"two", "client -> server: dropped: partitioned"),
        (1, b"three", "client -> nobody: dropped: no such address"),
    ]


@in_virtual_time
async def test_a_capture_can_be_an_open_file() -> None:
    file = io.BytesIO()
    async with tunstack.open_network(capture=file) as net:
        await net.add_host("client")
    assert not file.closed
    assert [*read_packets(io.BytesIO(file.getvalue()))] == []


@in_virtual_time
async def test_a_capture_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with tunstack.open_network(capture=tmp_path / "nowhere" / "file"):
            raise AssertionError
    with trio.socket.socket() as sock:
        assert not isinstance(sock, tunstack.Socket)


@pytest.mark.trio
async def test_times_are_of_the_epoch_under_a_real_clock() -> None:
    seen: list[Observation] = []
    file = io.BytesIO()
    async with tunstack.open_network(capture=file) as net:
        client = await net.add_host("client", tap=seen.append)
        await client.socket(type=socket.SOCK_DGRAM).sendto(b"", ("198.51.100.99", 9))
    (packet,) = read_packets(io.BytesIO(file.getvalue()))
    now = time.time()
    assert now - 100 < packet.time <= now
    assert now - 100 < seen[0].time <= now


@in_virtual_time
async def test_observations_have_virtual_times() -> None:
    seen: list[Observation] = []
    async with tunstack.open_network() as net:
        client = await net.add_host("client", tap=seen.append)
        await trio.sleep(7)
        await client.socket(type=socket.SOCK_DGRAM).sendto(b"", ("198.51.100.99", 9))
    assert [each.time for each in seen] == [7]
