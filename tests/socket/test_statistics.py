"""What a host tells about itself: its statistics, and its connections."""

from __future__ import annotations

import re
from dataclasses import fields
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from tests.compiled import is_compiled
from tests.socket.network import (
    OURS,
    PORT,
    THEIRS,
    Valve,
    connected,
    host_and_peer,
    host_pair,
    listening,
    read_to_end,
)
from tunstack import Config, TcpInfo
from tunstack.host.verdicts import NOT_ASKED
from tunstack.path.rules.gate import COUNTERS
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.segment import ACK
from tunstack.wire import Reason

if TYPE_CHECKING:
    from tunstack.link.base import Link

OWN = {
    "packets_received",
    "packets_sent",
    "icmp_received",
    "icmp_unmatched",
    "udp_received",
    "udp_sent",
    "udp_errors",
    "echo_overflow",
    "icmp_ignored",
    "congestion_marks",
    "retransmission_timeout",
    "retransmission_fast",
    "retransmission_challenged",
    "retransmission_too_large",
    "path_mtu_lowered",
    "size_probe",
    "retransmission_tail_loss_probe",
    "window_probe",
    "keep_alive",
    "lost_to_full_link",
    "internal_errors",
    "datagrams_fragmented",
    "datagrams_reassembled",
    "fragment_memory_held",
    "fragments_received",
    "fragments_sent",
    "syncookies_sent",
    "syncookies_received",
    "syncookies_failed",
    "half_open_dropped",
    "memory_tight",
    "out_of_order_pruned",
    "time_wait_pruned",
    "orphans_pruned",
    "connections_evicted",
    "peer_limited",
    "resets_suppressed",
    "icmp_suppressed",
    "memory_held",
    "half_open",
    "tcp_predicted",
    "fast_open_requested",
    "fast_open_active",
    "fast_open_active_failed",
    "fast_open_cookies_given",
    "fast_open_passive",
    "fast_open_passive_failed",
    "fast_open_overflow",
}


async def test_every_name_is_there_from_the_beginning() -> None:
    async with host_and_peer() as (host, _):
        statistics = host.statistics()
    assert set(statistics.values()) == {0}
    verdicts = {f"tcp_{verdict.name.lower()}" for verdict in Verdict}
    assert (
        statistics.keys()
        == OWN | {*COUNTERS, NOT_ASKED} | {reason.value for reason in Reason} | verdicts
    )
    assert all(re.fullmatch("[a-z_]+", name) for name in statistics)


async def test_no_name_comes_later() -> None:
    """Not even from a connection on which much goes wrong."""
    lost = 0

    def lossy(link: Link) -> Link:
        valve = Valve(link)

        def every_seventh(packet: bytes) -> bool:
            nonlocal lost
            lost += 1
            return lost % 7 == 0

        valve.loses = every_seventh
        return valve

    async with host_pair(wrap=lossy, sack=False, receive_buffer=20_000) as (ours, theirs):
        names = ours.statistics().keys()
        client, server = await connected(ours, theirs)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                await trio.SocketStream(client).send_all(bytes(200_000))
                client.close()

            await trio.sleep(60)
            assert len(await read_to_end(server)) == 200_000
        statistics = ours.statistics()
        assert statistics.keys() == names
        for name in ("retransmission_timeout", "retransmission_fast", "window_probe"):
            assert statistics[name] > 0, name
        assert statistics["internal_errors"] == 0


async def test_packets_and_verdicts_are_counted() -> None:
    async with host_and_peer() as (host, peer):
        await listening(host)
        await peer.connect()
        peer.send(ACK, b"x")
        peer.send(ACK, b"x", seq=peer.nxt - 1)
        peer.send(ACK, b"x", seq=peer.nxt + 100_000)
        await wait_all_tasks_blocked()
        statistics = host.statistics()
        assert statistics["packets_received"] == 5
        assert statistics["packets_sent"] == 1 + len(peer.segments())
        assert statistics["tcp_accepted"] == 3
        assert statistics["tcp_duplicate"] == statistics["tcp_out_of_window"] == 1


async def test_connections_are_listed_in_their_order_with_all_that_is_known() -> None:
    async with host_pair() as (ours, theirs):
        pairs = [await connected(ours, theirs) for _ in range(3)]
        client, server = pairs[1]
        await client.send(b"abc")
        await server.recv(100)
        await server.send(b"d")
        await wait_all_tasks_blocked()
        infos = ours.connections()
        assert infos == [pair[0].tcp_info() for pair in pairs]
        info = infos[1]
        address, port = client.getsockname()
        config = Config()
        assert info == TcpInfo(
            state="ESTABLISHED",
            local=(ip_address(address), port),
            remote=(ip_address(THEIRS), server.getsockname()[1]),
            rtt=info.rtt,
            rttvar=info.rttvar,
            min_rtt=info.min_rtt,
            rto=info.rto,
            snd_cwnd=10 * 1448,
            snd_ssthresh=info.snd_ssthresh,
            snd_wnd=info.snd_wnd,
            rcv_wnd=info.rcv_wnd,
            snd_mss=1448,
            pmtu=1500,
            rcv_mss=1448,
            unacked=0,
            notsent=0,
            unread=1,
            out_of_order=0,
            bytes_acked=3,
            bytes_received=1,
            retransmits=0,
            timestamps=True,
            sack=True,
            ecn=False,
            congestion="cubic",
            rcv_tos=0,
            snd_wscale=7,
            rcv_wscale=7,
            soft_error=None,
        )
        assert info.min_rtt is not None
        assert info.rtt is not None
        assert 0 <= info.min_rtt <= info.rtt < 1
        assert info.rto >= config.rto_min
        assert info.snd_wnd == theirs.connections()[1].rcv_wnd
        assert 0 < info.rcv_wnd <= config.receive_sizes[0]
        if not is_compiled(TcpInfo):  # mypyc leaves docstrings out.
            assert all(field.name in (TcpInfo.__doc__ or "") for field in fields(TcpInfo))


async def test_information_on_what_is_under_way() -> None:
    async with host_and_peer(send_buffer=100_000) as (host, peer):
        listener = await listening(host)
        await peer.connect(mss=1000)
        server, _ = await listener.accept()
        peer.send(ACK, b"gap", seq=peer.nxt + 10)
        await server.send(bytes(50_000))
        await trio.sleep(0.1)
        info = server.tcp_info()
        assert (info.snd_mss, info.snd_cwnd, info.unacked) == (1000, 10_000, 10_000)
        assert (info.notsent, info.out_of_order) == (40_000, 3)
        assert (info.timestamps, info.sack, info.snd_wscale, info.rcv_wscale) == (0, 0, 0, 0)
        await trio.sleep(2)
        later = server.tcp_info()
        assert later.retransmits > 0
        assert later.rto > info.rto
        assert later.snd_cwnd == 1000


async def test_connections_end_in_time_wait_and_not_before() -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        client.close()
        await wait_all_tasks_blocked()
        assert [info.state for info in ours.connections()] == ["FIN-WAIT-2"]
        assert [info.state for info in theirs.connections()] == ["CLOSE-WAIT"]
        server.close()
        await wait_all_tasks_blocked()
        assert [info.state for info in ours.connections()] == ["TIME-WAIT"]
        assert theirs.connections() == []


async def test_a_host_and_its_sockets_describe_themselves() -> None:
    async with host_pair() as (ours, theirs):
        assert repr(ours) == f"<tunstack.Host {OURS}/24 on memory0>"
        assert (ours.name, ours.mtu, str(ours.addresses[0])) == ("memory0", 1500, f"{OURS}/24")
        client, listener = ours.socket(), theirs.socket()
        assert repr(client) == "<tunstack.Socket [not connected]>"
        assert client.getsockname() == ("0.0.0.0", 0)
        await listener.bind(("", PORT))
        assert repr(listener) == f"<tunstack.Socket bound to 0.0.0.0:{PORT}>"
        listener.listen()
        assert repr(listener) == f"<tunstack.Socket listening on 0.0.0.0:{PORT}>"
        await client.connect((THEIRS, PORT))
        _, port = client.getsockname()
        assert repr(client) == (f"<tunstack.Socket {OURS}:{port} to {THEIRS}:{PORT}, ESTABLISHED>")
        client.close()
        assert repr(client) == "<tunstack.Socket [closed]>"
