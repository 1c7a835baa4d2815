"""``tunstack run`` and ``demo``, with the kernel at the other end."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
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


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_the_exit_status_is_the_commands(script: str, status: int) -> None:
    assert main(["run", "sh", "-c", script]) == status


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        ("no-such-command", 127, "no-such-command: no such command"),
        ("./no/such", 127, "./no/such: no such command"),
        (__file__, 126, f"{__file__} cannot be executed: Permission denied"),
        ("/tmp", 126, "/tmp cannot be executed: Permission denied"),
        ("/etc/passwd/x", 126, "/etc/passwd/x cannot be executed: Not a directory"),
        ("", 127, ": no such command"),
    ],
)
def test_a_command_that_cannot_be_run(
    command: str, status: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--", command]) == status
    assert capfd.readouterr().err == f"tunstack run: {says}\n"


def test_the_command_has_our_standard_input_and_our_address(
    capfd: pytest.CaptureFixture[str],
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tunstack", "run", "sh", "-c", "cat; echo $TUNSTACK_HOST"],
        input=b"input\n",
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"input\n198.51.100.2\n", b"")


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_the_apps_are_served_on_both_families(
    workers: list[str], require_tool: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    curl = require_tool("curl")
    hosts = ["$TUNSTACK_HOST", "[$TUNSTACK_HOST6]"]
    script = "; ".join(f'{curl} -sS "http://{host}/bytes/7" | wc -c' for host in hosts)
    assert main(["run", *workers, "--", "sh", "-c", f"echo $TUNSTACK_HOST6; {script}"]) == 0
    assert capfd.readouterr() == ("2001:db8::2\n7\n7\n", "")


@pytest.mark.parametrize("options", [["--no-ipv6"], ["--mtu", "1279"]])
def test_without_ipv6_the_command_has_no_address_of_it(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNSTACK_HOST6", "of another")
    script = "echo $TUNSTACK_HOST $TUNSTACK_HOST6; ip -6 address show scope global"
    assert main(["run", *options, "--", "sh", "-c", script]) == 0
    assert capfd.readouterr() == ("198.51.100.2\n", "")


def test_options_of_the_command_are_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "echo", "--help", "--trace"]) == 0
    assert capfd.readouterr().out == "--help --trace\n"


def test_curl_fetches_the_bytes_that_were_promised(
    require_tool: Callable[[str], str], tmp_path: Path
) -> None:
    url, file = "http://198.51.100.2/bytes/3000000", tmp_path / "f"
    assert main(["run", "--", require_tool("curl"), "-sS", "-o", str(file), url]) == 0
    block = hashlib.shake_128(b"tunstack").digest(65521)
    assert file.read_bytes() == (block * 46)[:3_000_000]


def test_a_path_may_be_impaired_in_each_direction(
    require_tool: Callable[[str], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capture = tmp_path / "x.pcapng"
    path = "delay=2ms,out:loss=3%,in:duplicate=20%,in:corrupt=2%"
    options = ["--impair", path, "--seed", "3", "--pcap", str(capture)]
    script = [require_tool("curl"), "-sS", "http://198.51.100.2/bytes/500000"]
    assert main(["run", *options, "--", *script, "-o", str(tmp_path / "f")]) == 0
    block = hashlib.shake_128(b"tunstack").digest(65521)
    assert (tmp_path / "f").read_bytes() == (block * 8)[:500_000]
    comments = " ".join(packet.comment for packet in read_packets(capture))
    assert "retransmission" in comments
    assert "checksum" in comments


def test_curl_uploads_and_the_hashes_agree(
    require_tool: Callable[[str], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f"
    file.write_bytes(os.urandom(3_000_000))
    url = "http://198.51.100.2/sha256"
    assert main(["run", "--", require_tool("curl"), "-sS", "-T", str(file), url]) == 0
    assert capfd.readouterr().out.strip() == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_apps_that_are_asked_for_are_served(
    require_tool: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    socat = require_tool("socat")
    script = f"for p in 7 1007; do echo hello | {socat} - TCP:$TUNSTACK_HOST:$p; done"
    assert main(["run", "--serve", "echo", "--serve", "echo:1007", "sh", "-c", script]) == 0
    assert capfd.readouterr().out == "hello\nhello\n"


def test_workers_serve_together_and_the_status_is_the_commands(
    require_tool: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    fetch = f"{require_tool('curl')} -sS http://198.51.100.2/bytes/3 | wc -c;"
    assert main(["run", "--workers", "2", "sh", "-c", fetch * 8 + "exit 7"]) == 7
    assert capfd.readouterr() == ("3\n" * 8, "")


def test_the_ladder_and_the_capture_show_a_whole_connection(
    require_tool: Callable[[str], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.pcapng"
    command = [require_tool("curl"), "-sS", "-o", "/dev/null", "http://198.51.100.2/"]
    assert main(["run", "--trace", "--mtu", "1400", "--pcap", str(file), "--", *command]) == 0
    ladder = capfd.readouterr().err
    for text in (
        "#1 kernel 198.51.100.1:",
        "LISTEN → SYN-RECEIVED",
        "mss 1360, sackOK, ts, wscale",
        "SYN-RECEIVED → ESTABLISHED",
        "ESTABLISHED → CLOSE-WAIT",
        "CLOSE-WAIT → LAST-ACK",
        "LAST-ACK → CLOSED",
    ):
        assert text in ladder
    assert "left out" not in ladder
    comments = [packet.comment for packet in read_packets(file)]
    assert "LISTEN -> SYN-RECEIVED: accepted" in comments
    assert "SYN-RECEIVED -> ESTABLISHED: accepted; cwnd 13480, mss 1348" in comments
    assert main(["trace", str(file)]) == 0
    assert "LAST-ACK → CLOSED" in capfd.readouterr().out


class TestSignals:
    """Nothing is left behind, whatever ends it; the last fixture of the session looks for that."""

    @staticmethod
    def start(*script: str, **options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [sys.executable, "-m", "tunstack", "run", "sh", "-c", *script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_the_command_too(self, number: signal.Signals) -> None:
        with self.start("echo $$; exec sleep 100", start_new_session=True) as process:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            process.send_signal(number)
            assert process.wait(30) == 128 + number
            assert process.stderr is not None
            assert process.stderr.read() == b""
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)

    def test_an_interrupt_from_the_keyboard_is_the_commands_to_handle(self) -> None:
        ours, terminal = pty.openpty()
        script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.02; done"
        command = [sys.executable, "-c", CONTROLLING_TERMINAL, "run", "sh", "-c", script]
        with subprocess.Popen(
            command, stdin=terminal, stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            os.close(terminal)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            os.write(ours, b"\x03")
            assert process.wait(30) == 9
            assert process.stdout.read() == b"caught\n"
        os.close(ours)


CONTROLLING_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from tunstack.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("with_curl", [True, False])
def test_demo_shows_every_phase(
    with_curl: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_curl:
        which = shutil.which

        def without_curl(name: str, path: str | None = None) -> str | None:
            return None if name == "curl" else which(name, path=path)

        monkeypatch.setattr(shutil, "which", without_curl)
    assert main(["demo"]) == 0
    page = capfd.readouterr().out
    phases = (
        "curl",
        "<h1>It works</h1>",
        "The look-up",
        "DNS query A peer.test",
        "(Which IPv4 address has peer.test?)",
        "authoritative, 198.51.100.2 ttl ",
        "The TCP handshake",
        "Happy Eyeballs",
        "SYN-RECEIVED → ESTABLISHED",
        "The TLS handshake",
        "TLS ClientHello, server name peer.test",
        "(Keys are agreed; the certificate follows, already encrypted.)",
        "(The certificate is verified: Finished, by the client",
        "(The request, encrypted.)" if with_curl else "request",
        "The teardown",
        "(close_notify, ours: TLS has nothing more to carry.)",
        "FIN,ACK",
        "shutdown(SHUT_WR)",
        "< CLOSE-WAIT.",
        "The half-close",
        "◀─ PSH,ACK seq 14 len 12 ack 35",
        "LAST-ACK → CLOSED",
        "Where the time went",
        "peer.test:443",
        "The kernel's counters",
        "     0  segments received with errors",
    )
    place = 0
    for text in phases:
        place = page.index(text, place)
    assert "RST" not in page
    assert max(map(len, page.splitlines())) <= 80
    assert ("apt install curl" in page) is not with_curl
