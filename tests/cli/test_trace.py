"""``tunstack trace``: the ladder of a file."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.ladder.exchange import KERNEL, OURS, Exchange, packet_of, ping, udp
from tunstack.cli import main
from tunstack.path.pcapng import PcapngWriter
from tunstack.tcp.segment import ACK, SYN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def exchange() -> Exchange:
    exchange = Exchange()
    exchange.handshake()
    exchange.fetch(segments=20)
    return exchange


@pytest.fixture
def capture(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an exchange to a file, and returns its path."""

    def write(exchange: Exchange, *, comments: bool = True) -> Path:
        path = tmp_path / "x.pcapng"
        with PcapngWriter(path) as writer:
            for seen in exchange.observations:
                if comments:
                    outbound = seen.direction == "out"
                    writer.write(seen.packet, seen.time, seen.comment, outbound)
                else:
                    writer.write(seen.packet, seen.time)
        return path

    return write


def test_our_own_capture_has_our_states(
    exchange: Exchange, capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", str(capture(exchange))]) == 0
    assert [line.rstrip() for line in capfd.readouterr().out.splitlines()] == (
        exchange.drawn(names=("peer", "tunstack")).splitlines()
    )


def test_our_side_stands_on_the_right_also_where_we_opened(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    exchange = Exchange()
    exchange.state = "CLOSED"
    exchange.send(SYN, 0, after="SYN-SENT")
    exchange.receive(SYN | ACK, 0, 1, after="ESTABLISHED")
    assert main(["trace", str(capture(exchange))]) == 0
    heading, first, second = capfd.readouterr().out.splitlines()
    assert heading.split()[2:] == ["peer", "198.51.100.1:40312", "198.51.100.2:80", "tunstack"]
    assert "◀─ SYN" in first
    assert "── SYN,ACK" in second


def test_a_capture_from_elsewhere_has_none(
    exchange: Exchange, capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", str(capture(exchange, comments=False))]) == 0
    page = capfd.readouterr().out
    assert "ESTABLISHED" not in page
    assert "tunstack" not in page
    assert "── SYN seq 0 win 64240 " in page


def test_full_and_only(
    exchange: Exchange, capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(capture(exchange))
    assert main(["trace", "--full", path]) == 0
    assert capfd.readouterr().out.count("#1 ") == 1 + len(exchange.observations)
    assert main(["trace", "--only", "81", "--only", "82", path]) == 2
    expected = f"tunstack trace: {path} has no packets from or to port 81 or 82\n"
    assert capfd.readouterr() == ("", expected)


def test_what_comes_before_the_damage_is_drawn(
    exchange: Exchange, capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = capture(exchange)
    os.truncate(path, path.stat().st_size - 7)
    assert main(["trace", str(path)]) == 2
    printed = capfd.readouterr()
    assert "SYN-RECEIVED → ESTABLISHED" in printed.out
    assert printed.err == f"tunstack trace: {path}: truncated capture\n"


def test_a_capture_without_packets_says_so(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = capture(Exchange())
    assert main(["trace", str(path)]) == 2
    assert capfd.readouterr().err == f"tunstack trace: {path} has no IP packets\n"


def router_solicitation() -> bytes:
    """What a kernel sends on every new device (RFC 4861 section 4.1)."""
    return bytes.fromhex(
        "6000000000083aff fe800000000000000000000000000001 ff020000000000000000000000000002"
        "85007b3600000000".replace(" ", "")
    )


def test_what_is_left_out_is_counted_and_named(
    exchange: Exchange, capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    without = capture(exchange)
    assert main(["trace", str(without)]) == 0
    page = capfd.readouterr().out
    for _ in range(2):
        exchange.add("in", router_solicitation(), verdict="")
    assert main(["trace", str(capture(exchange))]) == 0
    left_out = "tunstack trace: 2 packets are left out: 2 ICMPv6 router solicitation\n"
    assert capfd.readouterr() == (page, left_out)
    assert main(["trace", "--full", str(capture(exchange))]) == 0
    printed = capfd.readouterr()
    assert printed.out.count("ICMPv6 router solicitation len 0") == 2
    assert printed.err == ""


def test_several_families_and_protocols_in_one_file(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """Our side is on the right in each of them."""
    exchange = Exchange(family="IPv6")
    exchange.handshake()
    exchange.state = None
    exchange.add("in", packet_of(udp()), verdict="accepted")
    exchange.add("out", packet_of(udp(b"", sport=99, dport=4000, src=OURS, dst=KERNEL)))
    exchange.add("out", ping(reply=True, family="IPv6"))
    assert main(["trace", str(capture(exchange))]) == 0
    heads = [line for line in capfd.readouterr().out.splitlines() if "tunstack" in line]
    assert [head.split()[1:] for head in heads] == [
        ["#1", "peer", "[2001:db8::1]:40312", "[2001:db8::2]:80", "tunstack"],
        ["#2", "peer", "198.51.100.1:4000", "198.51.100.2:99", "tunstack"],
        ["#3", "peer", "2001:db8::1", "id", "7", "2001:db8::2", "tunstack"],
    ]


@pytest.mark.parametrize("port", ["99", "4000"])
def test_only_a_port_of_udp(
    port: str,
    exchange: Exchange,
    capture: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    exchange.add("in", packet_of(udp()))
    assert main(["trace", "--only", port, str(capture(exchange))]) == 0
    heading, row = capfd.readouterr().out.splitlines()
    assert heading.split()[1:] == ["#1", "peer", "198.51.100.1:4000", "198.51.100.2:99", "tunstack"]
    assert "UDP len 4" in row


def test_frames_that_are_not_ip_are_counted_and_named(
    tmp_path: Path, exchange: Exchange, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pcap"
    ip = exchange.observations[0].packet
    frames = [bytes(12) + b"\x08\x00" + ip, bytes(12) + b"\x08\x06" + bytes(28)]
    frames += [bytes(12) + b"\x88\xcc" + bytes(20)] * 2
    path.write_bytes(
        struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        + b"".join(struct.pack("<4I", 0, 0, len(each), len(each)) + each for each in frames)
    )
    assert main(["trace", str(path)]) == 0
    assert capfd.readouterr().err == (
        "tunstack trace: 3 packets are left out: 2 ethertype 0x88cc, 1 ARP\n"
    )


def test_a_capture_of_which_nothing_is_shown_is_reported(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    exchange = Exchange()
    exchange.add("in", router_solicitation())
    path = capture(exchange)
    assert main(["trace", str(path)]) == 2
    assert capfd.readouterr() == (
        "",
        "tunstack trace: 1 packet is left out: 1 ICMPv6 router solicitation\n"
        f"tunstack trace: {path} has no packets to show without --full\n",
    )


def test_colours_are_had_by_wish(
    exchange: Exchange, capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(capture(exchange))
    assert main(["trace", path]) == 0
    plain = capfd.readouterr().out
    assert "\x1b" not in plain
    assert main(["trace", "--color", path]) == 0
    coloured = capfd.readouterr().out
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_no_colours_are_had_by_wish_where_there_would_be_some(
    exchange: Exchange,
    capture: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = str(capture(exchange))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert main(["trace", path]) == 0
    assert "\x1b[" in capfd.readouterr().out
    assert main(["trace", "--no-color", path]) == 0
    assert "\x1b" not in capfd.readouterr().out


def test_a_reader_that_has_seen_enough_ends_it_quietly(
    exchange: Exchange, capture: Callable[..., Path]
) -> None:
    for _ in range(200):
        exchange.fetch()
    with subprocess.Popen(
        [sys.executable, "-m", "tunstack", "trace", "--full", capture(exchange)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141
