"""``tunstack plot``: which connection of a capture is plotted, which way, and where to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.ladder.exchange import Exchange, packet_of, ping, udp
from tests.wire.packets import ipv4_packet, tcp_bytes
from tunstack.cli import main
from tunstack.ladder.palette import DARK, LIGHT
from tunstack.path.pcapng import PcapngWriter
from tunstack.stack.observation import Windows
from tunstack.tcp.segment import ACK, PSH, SYN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def capture(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes exchanges to a file, one after another, and returns its path."""

    def write(*exchanges: Exchange) -> Path:
        path = tmp_path / "x.pcapng"
        with PcapngWriter(path) as writer:
            for number, exchange in enumerate(exchanges):
                for seen in exchange.observations:
                    writer.write(seen.packet, seen.time + 10 * number, seen.comment)
        return path

    return write


def exchange(port: int = 40312, segments: int = 20, **more: Any) -> Exchange:
    exchange = Exchange(port, **more)
    exchange.handshake()
    exchange.fetch(segments=segments)
    return exchange


def title(svg: str) -> str:
    match = re.search(r"<title>(.*)</title>", svg)
    assert match is not None
    return match[1]


def test_the_connection_with_the_most_data_is_plotted_from_its_sender(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = capture(exchange(40001, 3), exchange(40002, 20), exchange(40003, 5))
    assert main(["plot", str(path)]) == 0
    output = path.with_suffix(".svg")
    assert capfd.readouterr() == (f"{output}\n", "")
    assert title(output.read_text()) == (
        "198.51.100.2:80 to 198.51.100.1:40002: 2 kB in 0.043 s, 0 segments retransmitted"
    )


def test_any_connection_can_be_plotted_and_the_other_way(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(capture(exchange(40001, 3), exchange(40002, 20)))
    assert main(["plot", "--connection", "1", "--reverse", "-o", "-", path]) == 0
    assert title(capfd.readouterr().out).startswith("198.51.100.1:40001 to 198.51.100.2:80: 78 B")


def test_a_new_connection_from_the_same_port_is_another(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(capture(exchange(segments=3), exchange(segments=20, kernel_isn=77)))
    for number, size in (("1", "300 B"), ("2", "2 kB")):
        assert main(["plot", "--connection", number, "-o", "-", path]) == 0
        assert f": {size} in" in title(capfd.readouterr().out)
    assert main(["plot", "--connection", "3", path]) == 2
    expected = f"tunstack plot: {path} has 2 TCP connections, and none is number 3\n"
    assert capfd.readouterr().err == expected


def test_a_syn_that_is_sent_again_begins_no_other(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    again = Exchange()
    again.receive(SYN, 0, after="SYN-RECEIVED")
    again.handshake()
    assert main(["plot", "--connection", "2", str(capture(again))]) == 2
    assert "has 1 TCP connections" in capfd.readouterr().err


def test_notes_of_our_side_are_shown(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    noted = exchange(segments=10)
    for why in ("fast", "timeout", "tail loss probe"):
        noted.send(PSH | ACK, 1, 79, payload=bytes(100), verdict=f"retransmission: {why}")
    assert main(["plot", "-o", "-", str(capture(noted))]) == 0
    svg = capfd.readouterr().out
    assert title(svg).endswith("1.3 kB in 0.026 s, 3 segments retransmitted")
    for name in ("data", "sent again: fast", "sent again: timeout", "tail loss probe"):
        assert f">{name}</text>" in svg


def test_a_capture_without_a_connection_says_so(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = capture(Exchange())
    assert main(["plot", str(path)]) == 2
    assert capfd.readouterr().err == f"tunstack plot: {path} has no TCP connection\n"


def test_what_comes_before_the_damage_is_plotted(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = capture(exchange())
    os.truncate(path, path.stat().st_size - 7)
    assert main(["plot", "-o", "-", str(path)]) == 2
    printed = capfd.readouterr()
    assert "2 kB in 0.042 s" in title(printed.out)
    assert printed.err == f"tunstack plot: {path}: truncated capture\n"


def test_what_is_left_out_is_counted_and_named(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    other = exchange()
    other.add("in", packet_of(udp()))
    other.add("in", ping(reply=False, family="IPv6"))
    other.add("in", ipv4_packet(tcp_bytes(payload=bytes(12)), flags=0x2000))
    other.add("in", ping(reply=False))
    other.add("out", ping(reply=True))
    assert main(["plot", "-o", "-", str(capture(other))]) == 0
    assert capfd.readouterr().err == (
        "tunstack plot: 5 packets are left out: 2 ICMP, 1 UDP, 1 ICMPv6, 1 TCP fragment\n"
    )


def test_a_connection_over_ipv6_is_plotted(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", "-o", "-", str(capture(exchange(family="IPv6")))]) == 0
    assert title(capfd.readouterr().out) == (
        "[2001:db8::2]:80 to [2001:db8::1]:40312: 2 kB in 0.043 s, 0 segments retransmitted"
    )


def test_connection_numbers_are_those_of_trace(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = exchange(40001, 3), exchange(40002, 20)
    first.add("in", packet_of(udp()))
    first.add("in", ping(reply=False, family="IPv6"))
    path = str(capture(first, second))
    assert main(["trace", path]) == 0
    heads = [line for line in capfd.readouterr().out.splitlines() if " peer " in line]
    assert [head.split()[1] for head in heads] == ["#1", "#2", "#3", "#4"]
    assert ":40002" in heads[3]
    assert main(["plot", "-o", "-", "--connection", "4", path]) == 0
    assert ":40002: 2 kB" in title(capfd.readouterr().out)
    for number, name in (("2", "UDP"), ("3", "a ping")):
        assert main(["plot", "-o", "-", "--connection", number, path]) == 2
        says = f"tunstack plot: number {number} in {path} is {name}, not TCP\n"
        assert capfd.readouterr() == ("", says)


def test_a_capture_from_standard_input_is_plotted_on_standard_output(
    capture: Callable[..., Path],
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tunstack", "plot", "-"],
        check=True,
        input=capture(exchange()).read_bytes(),
        capture_output=True,
    )
    assert title(done.stdout.decode()).startswith("198.51.100.2:80 to 198.51.100.1:40312")
    assert done.stderr == b""


def test_the_capture_is_not_overwritten(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = capture(exchange())
    before = path.read_bytes()
    assert main(["plot", "-o", str(path), str(path)]) == 2
    says = f"tunstack plot: {path} is the capture: name another file with -o\n"
    assert capfd.readouterr() == ("", says)
    assert path.read_bytes() == before


def test_the_congestion_window_is_plotted_where_our_side_sends(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    told = exchange()
    before = Windows(14600, None, 1460)
    after = Windows(7300, 7300, 1460)
    half = len(told.observations) // 2
    told.observations = [
        replace(seen, windows=before if number < half else after)
        for number, seen in enumerate(told.observations)
    ]
    path = str(capture(told))
    assert main(["plot", "-o", "-", path]) == 0
    svg = capfd.readouterr().out
    for name in ("congestion window", "threshold", "not acknowledged", "segments"):
        assert f">{name}</text>" in svg
    assert main(["plot", "-o", "-", "--reverse", path]) == 0  # the kernel's window is not known
    assert "congestion window" not in capfd.readouterr().out


def test_the_congestion_window_is_not_plotted_if_unknown(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", "-o", "-", str(capture(exchange()))]) == 0
    assert "congestion window" not in capfd.readouterr().out


def test_what_is_small_is_in_octets_and_milliseconds(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(capture(exchange()))
    assert main(["plot", "-o", "-", path]) == 0
    svg = capfd.readouterr().out
    for text in ("time, ms", "40", "sequence number, octets", "1,500"):
        assert f">{text}</text>" in svg


def test_what_is_large_is_in_kilobytes_and_seconds(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    large = Exchange()
    large.handshake()
    large.fetch(segments=600)
    assert main(["plot", "-o", "-", str(capture(large))]) == 0
    svg = capfd.readouterr().out
    for text in ("time, s", "1.0", "sequence number, kB", "50"):
        assert f">{text}</text>" in svg


def test_the_file_is_of_the_format_that_its_name_says(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = capture(exchange())
    for name in ("x.png", "x.PNG"):
        picture = path.with_name(name)
        assert main(["plot", "-o", str(picture), str(path)]) == 0
        assert picture.read_bytes().startswith(b"\x89PNG")
    capfd.readouterr()
    gif = path.with_name("x.gif")
    assert main(["plot", "-o", str(gif), str(path)]) == 2
    says = f"tunstack plot: {gif}: plots are .svg or .png, not .gif\n"
    assert capfd.readouterr() == ("", says)
    assert not gif.exists()


def test_a_colour_scheme_can_be_chosen_and_both_are_in_the_svg_by_default(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(capture(exchange()))
    assert main(["plot", "-o", "-", path]) == 0
    assert "prefers-color-scheme:dark" in capfd.readouterr().out
    for scheme, paper in (("light", LIGHT.paper), ("dark", DARK.paper)):
        assert main(["plot", "-o", "-", "--scheme", scheme, path]) == 0
        svg = capfd.readouterr().out
        assert "prefers-color-scheme" not in svg
        assert f"fill: {paper}" in svg


@pytest.mark.parametrize(
    ("command", "status"), [(["plot", "FILE"], 2), (["bench", "--plot", "x.svg"], 2)]
)
def test_without_matplotlib_the_commands_say_what_to_install(
    capture: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    status: int,
) -> None:
    path = capture(exchange())
    monkeypatch.chdir(path.parent)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = [str(path) if each == "FILE" else each for each in command]
    assert main(arguments) == status
    says = f"tunstack {command[0]}: plots need matplotlib: pip install 'tunstack[plot]'\n"
    assert capfd.readouterr() == ("", says)


@pytest.mark.parametrize("command", ["bench", "bench-loss"])
def test_a_benchmark_refuses_a_picture_of_another_format_before_it_measures(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--plot", str(tmp_path / "x.gif")]) == 2
    says = f"tunstack {command}: {tmp_path}/x.gif: plots are .svg or .png, not .gif\n"
    assert capfd.readouterr() == ("", says)


def test_a_file_that_cannot_be_written_is_reported(
    capture: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", "-o", "/nowhere/x.svg", str(capture(exchange()))]) == 2
    expected = "tunstack plot: cannot write /nowhere/x.svg: No such file or directory\n"
    assert capfd.readouterr().err == expected
