"""The tap: what it writes, what it draws, and what it does when it cannot."""

from __future__ import annotations

import resource
import signal
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.ladder.exchange import Exchange
from tunstack.cli.output.observing import Capture
from tunstack.cli.running.views import watching
from tunstack.path.pcapng import read_packets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def exchange() -> Exchange:
    exchange = Exchange()
    exchange.handshake()
    exchange.fetch(segments=20)
    return exchange


async def test_without_a_wish_there_is_no_tap() -> None:
    async with watching(pcap=None, trace=False) as tap:
        assert tap is None


async def test_the_capture_has_every_packet_with_its_comment(
    tmp_path: Path, exchange: Exchange
) -> None:
    file = tmp_path / "x.pcapng"
    async with watching(pcap=file, trace=False) as tap:
        assert tap is not None
        for seen in exchange.observations:
            tap(seen)
    packets = list(read_packets(file))
    assert [packet.packet for packet in packets] == [seen.packet for seen in exchange.observations]
    assert packets[0].comment == "LISTEN -> SYN-RECEIVED: accepted"


async def test_the_ladder_grows_and_is_complete_in_the_end(
    exchange: Exchange, capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    async with watching(pcap=None, trace=True, names=("kernel", "tunstack")) as tap:
        assert tap is not None
        for seen in exchange.observations:
            tap(seen)
        assert capsys.readouterr().err == ""
        await trio.sleep(0.1)
        early = capsys.readouterr().err
        assert "SYN-RECEIVED → ESTABLISHED" in early
        assert "…" not in early
        await trio.sleep(1)
        assert capsys.readouterr().err.count("… 18 segments, 1800 bytes ←, 18 ACKs →") == 1
        exchange.teardown(78, 2000)
        for seen in exchange.observations[-3:]:
            tap(seen)
    assert "LAST-ACK → CLOSED" in capsys.readouterr().err


async def test_the_ladder_is_drawn_though_the_block_fails(
    exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> None:
        async with watching(pcap=None, trace=True) as tap:
            assert tap is not None
            tap(exchange.observations[0])
            raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup):
        await fail()
    assert "LISTEN → SYN-RECEIVED" in capsys.readouterr().err


def test_a_full_disk_ends_the_capture_and_nothing_else(
    exchange: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Room for the header and for one packet.
    room = 400
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = tmp_path / "x.pcapng"
    capture = Capture(file)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        for seen in exchange.observations:
            capture.write(seen)
        capture.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert capsys.readouterr().err == "tunstack: the capture ends here: File too large\n"
    assert file.stat().st_size == room
