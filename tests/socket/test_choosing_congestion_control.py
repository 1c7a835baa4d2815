"""Congestion control by name, or of one's own: for a host, a listener, a connection."""

from __future__ import annotations

import errno
from socket import IPPROTO_TCP, TCP_CONGESTION

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tunstack
from tests.socket.network import (
    OURS,
    PORT,
    THEIRS,
    Peer,
    connected,
    fails,
    host_and_peer,
    host_pair,
)
from tunstack.tcp.segment import SYN


class Timid(tunstack.Reno):
    """Reno, but never more than two segments."""

    name = "timid"

    def acknowledged(self, ack: tunstack.Acknowledgement) -> None:
        super().acknowledged(ack)
        self.cwnd = min(self.cwnd, 2 * self._mss)

    def set_mss(self, mss: int, initial_segments: int) -> None:
        super().set_mss(mss, 2)


@pytest.mark.rfc("MAY-18")
async def test_congestion_control_is_asked_for_and_changed_by_name() -> None:
    async with host_pair() as (ours, theirs):
        client, server = await connected(ours, theirs)
        assert client.getsockopt(IPPROTO_TCP, TCP_CONGESTION, 16) == b"cubic".ljust(16, b"\0")
        client.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b"reno")
        assert client.getsockopt(IPPROTO_TCP, TCP_CONGESTION, 16) == b"reno".ljust(16, b"\0")
        assert client.tcp_info().congestion == "reno"
        client.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b"cubic\0")
        with fails(errno.ENOENT):
            client.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b"vegas")
        assert client.tcp_info().congestion == "cubic"
        assert server.tcp_info().congestion == "cubic"


@pytest.mark.rfc("MAY-18")
async def test_a_host_has_its_own_and_a_socket_another() -> None:
    left, right = tunstack.memory_pair()
    async with (
        tunstack.Host(left, [f"{OURS}/24"], congestion="reno") as ours,
        tunstack.Host(right, [f"{THEIRS}/24"], congestion=Timid) as theirs,
    ):
        (listener,) = await theirs.open_tcp_listeners(PORT)
        (other,) = await theirs.open_tcp_listeners(PORT + 1, congestion="cubic")
        for port, ends, client_has, server_has in (
            (PORT, None, "reno", "timid"),
            (PORT + 1, None, "reno", "cubic"),
            (PORT, Timid, "timid", "timid"),
        ):
            client = await ours.open_tcp_stream(THEIRS, port, congestion=ends)
            server = await (listener if port == PORT else other).accept()
            for stream, name in ((client, client_has), (server, server_has)):
                assert isinstance(stream.socket, tunstack.Socket)
                assert stream.socket.tcp_info().congestion == name
        sock = ours.socket(congestion="cubic")
        assert sock.getsockopt(IPPROTO_TCP, TCP_CONGESTION, 5) == b"cubic"


@pytest.mark.rfc("MAY-18")
async def test_ones_own_decides_how_much_is_on_its_way() -> None:
    async with host_and_peer() as (host, peer):
        client = host.socket(congestion=Timid)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.connect, (THEIRS, PORT))
            await peer.accept(mss=1000)
        await client.send(bytes(10_000))
        for _ in range(5):
            segments = peer.segments()
            assert len(segments) == 2
            peer.expected = segments[-1].seq + 1000
            peer.send()
            await wait_all_tasks_blocked()


async def test_no_such_congestion_control() -> None:
    left, _ = tunstack.memory_pair()
    with pytest.raises(ValueError, match="'vegas'"):
        tunstack.Host(left, [f"{OURS}/24"], congestion="vegas")
    async with host_and_peer() as (host, _):
        with pytest.raises(ValueError, match="'vegas'"):
            host.socket(congestion="vegas")
        with pytest.raises(ValueError, match="'vegas'"):
            await host.open_tcp_listeners(PORT, congestion="vegas")
        await host.open_tcp_listeners(PORT)  # Nothing was left behind.


# What is wrong with one's own


class Wrong(tunstack.Reno):
    """Raises where a test says so."""

    where = ""

    def _raise(self, here: str) -> None:
        if here == self.where:
            raise ZeroDivisionError(here)

    def set_mss(self, mss: int, initial_segments: int) -> None:
        self._raise("set_mss")
        super().set_mss(mss, initial_segments)

    def acknowledged(self, ack: tunstack.Acknowledgement) -> None:
        self._raise("acknowledged")
        super().acknowledged(ack)

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        self._raise("timeout")
        super().timeout(flight_size, now, repeated=repeated)


def made_wrong() -> Wrong:
    raise ZeroDivisionError("made")


@pytest.mark.parametrize("where", ["made", "set_mss", "acknowledged", "timeout"])
async def test_what_a_congestion_control_of_ones_own_raises_comes_out_of_the_block(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By a packet, a timer, or an accepted connection: as of a tap, or a link."""
    monkeypatch.setattr(Wrong, "where", where)
    link, far = tunstack.memory_pair()
    control = made_wrong if where == "made" else Wrong
    with pytest.raises(ZeroDivisionError, match=where):  # noqa: PT012
        async with tunstack.Host(link, [f"{OURS}/24"], congestion=control) as host:
            (listener,) = await host.open_tcp_listeners(PORT)
            peer = Peer(far)
            peer.host_port = PORT
            peer.send(SYN, mss=1460)
            peer.expected = (await peer.segment()).seq + 1
            peer.send()
            server = await listener.accept()
            await server.send_all(bytes(1 << 16))
            await peer.segment()
            if where == "acknowledged":
                peer.send()
            await trio.sleep_forever()
    assert host.statistics()["internal_errors"] == 0
    assert not caplog.records


class Incomplete:
    """Lacks nearly everything."""

    cwnd = ssthresh = 0


async def test_what_a_congestion_control_lacks_comes_out_of_the_block() -> None:
    link, far = tunstack.memory_pair()
    with pytest.raises(AttributeError, match="set_mss"):  # noqa: PT012
        async with tunstack.Host(
            link,
            [f"{OURS}/24"],
            congestion=Incomplete,  # type: ignore[arg-type]
        ) as host:
            await host.open_tcp_listeners(PORT)
            peer = Peer(far)
            peer.host_port = PORT
            peer.send(SYN, mss=1460)
            await trio.sleep_forever()


async def test_what_a_congestion_control_raises_in_a_call_comes_out_of_that() -> None:
    async with host_and_peer() as (host, _):
        sock = host.socket(congestion=made_wrong)
        with pytest.raises(ZeroDivisionError):
            await sock.connect((THEIRS, PORT))
