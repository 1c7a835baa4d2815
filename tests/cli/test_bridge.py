"""``tunstack bridge``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tunstack.cli import main
from tunstack.path.pcapng import read_packets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill $$", 143)])
def test_the_exit_status_is_the_commands(script: str, status: int) -> None:
    assert main(["bridge", "sh", "-c", script]) == status


def test_a_command_meets_a_server_across_a_bad_path(
    require_tool: Callable[[str], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    socat = require_tool("socat")
    source, target, capture = tmp_path / "source", tmp_path / "target", tmp_path / "x.pcapng"
    source.write_bytes(os.urandom(300_000))
    server = f"{socat} -u TCP-LISTEN:9000 CREATE:{target}"
    # The server ends when it has all: then so does the command, and nothing is cut off.
    command = f"{socat} {source},rdonly!!/dev/null TCP:$TUNSTACK_HOST:9000"
    impair = "out:loss=2%,in:delay=2ms,rate=100mbit"
    options = ["--impair", impair, "--seed", "1", "--pcap", str(capture), "--server", server]
    assert main(["bridge", *options, "--", "sh", "-c", command]) == 0
    assert target.read_bytes() == source.read_bytes()
    out, back = capfd.readouterr().err.splitlines()
    assert re.fullmatch(
        r"198.51.100.1 -> 198.51.100.2: \d+ bytes, [\d.]+ Mbit/s;"
        r" packets: \d+ admitted, \d+ lost, \d+ delivered",
        out,
    )
    assert "lost" not in back
    assert {"out: lost", "in: arrives after 2.00 ms"} < {
        re.sub(r"2\.\d\d", "2.00", packet.comment) for packet in read_packets(capture)
    }


def test_both_families_cross_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capture = tmp_path / "x.pcapng"
    pings = "ping -q -c 1 198.51.100.2 && ping -q -c 1 -s 3000 2001:db8::2"
    assert main(["bridge", "--pcap", str(capture), "--", "sh", "-c", pings]) == 0
    assert capfd.readouterr().out.count(" 0% packet loss") == 2
    assert main(["trace", str(capture)]) == 0
    page = capfd.readouterr().out
    assert page.count("ICMP echo re") == page.count("ICMPv6 echo re") == 2
    assert page.count("ICMPv6 fragment") == 4


@pytest.mark.parametrize("options", [["--no-ipv6"], ["--mtu", "1279"]])
def test_a_bridge_without_ipv6(options: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    ping = ["ping", "-q", "-c", "1", "2001:db8::2"]
    assert main(["bridge", *options, "--", *ping]) == 2
    assert "Network is unreachable" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--server", "exit 3", "true"], 2, "the server failed with exit status 3"),
        (["--pcap", "/nowhere/x", "true"], 2, "cannot write /nowhere/x: No such file or directory"),
        (["--", "no-such-command"], 127, "no-such-command: no such command"),
    ],
)
def test_what_cannot_be_done(
    arguments: list[str], status: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["bridge", *arguments]) == status
    assert capfd.readouterr().err == f"tunstack bridge: {says}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_the_server(
    number: signal.Signals, require_tool: Callable[[str], str]
) -> None:
    server = f"echo $$; exec {require_tool('socat')} TCP-LISTEN:9000 STDIO"
    script = ["--server", server, "sh", "-c", "echo $$; exec sleep 100"]
    with subprocess.Popen(
        [sys.executable, "-m", "tunstack", "bridge", *script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()) for _ in range(2)]
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        assert process.stderr is not None
        assert process.stderr.read() == b""
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
