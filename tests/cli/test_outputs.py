"""What is printed and written, where that cannot be: a full disk, no reader, an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.ladder.exchange import Exchange
from tunstack.path.pcapng import PcapngWriter, read_packets

if TYPE_CHECKING:
    from pathlib import Path

NO_ROOM = "cannot write standard output: No space left on device\n"
TUNSTACK = (sys.executable, "-m", "tunstack")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    exchange = Exchange()
    exchange.handshake()
    exchange.fetch(segments=20)
    path = tmp_path / "x.pcapng"
    with PcapngWriter(path) as writer:
        for seen in exchange.observations:
            writer.write(seen.packet, seen.time, seen.comment)
    return path


def printed_to_a_full_disk(*arguments: object) -> tuple[int, str]:
    """The exit status and standard error of a command whose standard output has no room."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*TUNSTACK, *map(str, arguments)],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--help"], "tunstack"),
        (["--version"], "tunstack"),
        ([], "tunstack"),
        (["run", "-h"], "tunstack run"),
        (["bench-loss", "-h"], "tunstack bench-loss"),
        (["trace", "FILE"], "tunstack trace"),
        (["plot", "FILE"], "tunstack plot"),
        (["plot", "FILE", "-o", "-"], "tunstack plot"),
    ],
)
def test_a_full_disk_is_one_line(arguments: list[str], name: str, capture: Path) -> None:
    given = [str(capture) if each == "FILE" else each for each in arguments]
    assert printed_to_a_full_disk(*given) == (2, f"{name}: {NO_ROOM}")


@pytest.mark.kernel
def test_a_full_disk_is_one_line_when_it_is_a_host_that_prints() -> None:
    assert printed_to_a_full_disk("demo") == (2, f"tunstack demo: {NO_ROOM}")
    inner = "exec tunstack-under-test serve echo --address 198.51.100.130/25"
    command = inner.replace("tunstack-under-test", " ".join(TUNSTACK))
    assert printed_to_a_full_disk("run", "--", "sh", "-c", command) == (
        2,
        f"tunstack serve: {NO_ROOM}",
    )


def test_messages_that_cannot_be_written_leave_the_status_as_it_is() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*TUNSTACK, "fly"], check=False, stdout=full, stderr=full)
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", [["--help"], ["trace", "FILE"], ["plot", "FILE", "-o", "-"]])
def test_without_a_reader_it_ends_as_a_filter_does(arguments: list[str], capture: Path) -> None:
    given = [str(capture) if each == "FILE" else each for each in arguments]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*TUNSTACK, *given], check=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("redirection", "arguments", "says"),
    [
        (">&-", "plot -o - FILE", "tunstack plot: cannot write standard output: it is closed\n"),
        ("<&-", "trace -", "tunstack trace: cannot read standard input: it is closed\n"),
        ("<&-", "plot -", "tunstack plot: cannot read standard input: it is closed\n"),
    ],
)
def test_a_stream_that_is_closed_is_no_other_file(
    redirection: str, arguments: str, says: str, capture: Path
) -> None:
    command = f"{' '.join(TUNSTACK)} {arguments.replace('FILE', str(capture))} {redirection}"
    done = subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, says)


@pytest.mark.kernel
def test_a_capture_goes_to_standard_output_and_what_is_printed_beside_it(tmp_path: Path) -> None:
    command = ["run", "--pcap", "-", "--", "sh", "-c", "echo said; ping -qc1 $TUNSTACK_HOST"]
    done = subprocess.run([*TUNSTACK, *command], check=True, capture_output=True)
    file = tmp_path / "x.pcapng"
    file.write_bytes(done.stdout)
    assert [packet.comment for packet in read_packets(file)].count("accepted") == 1
    assert done.stderr.startswith(b"said\n")
    drawn = subprocess.run(
        [*TUNSTACK, "trace", "-"], check=True, input=done.stdout, stdout=subprocess.PIPE
    )
    assert b"ICMP echo request" in drawn.stdout


@pytest.mark.kernel
def test_a_bridge_has_its_capture_on_standard_output_too() -> None:
    command = ["bridge", "--pcap", "-", "--", "ping", "-qc1", "198.51.100.2"]
    done = subprocess.run([*TUNSTACK, *command], check=True, capture_output=True)
    drawn = subprocess.run(
        [*TUNSTACK, "trace", "-"], check=True, input=done.stdout, stdout=subprocess.PIPE
    )
    assert drawn.stdout.count(b"ICMP echo") == 2
    assert b"1 received" in done.stderr


@pytest.mark.kernel
def test_a_bridge_says_that_its_capture_finds_no_room() -> None:
    command = ["bridge", "--pcap", "/dev/full", "--", "true"]
    done = subprocess.run([*TUNSTACK, *command], check=False, capture_output=True, text=True)
    says = "tunstack bridge: cannot write /dev/full: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, says)


@pytest.mark.kernel
def test_a_bridge_says_how_many_packets_its_capture_lacks(tmp_path: Path) -> None:
    limited = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh"]  # blocks of 512 or of 1,024 bytes
    command = ["bridge", "--pcap", "x.pcapng", "--", "ping", "-qi0.01", "-c20", "198.51.100.2"]
    done = subprocess.run(
        [*limited, *TUNSTACK, *command], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    *_, last = done.stderr.splitlines()
    assert last.startswith("tunstack bridge: the capture lacks ")
    assert last.endswith(" packets: File too large")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_an_interrupt_while_a_command_is_imported_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "trio.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [*TUNSTACK, "run", "--", "true"],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_an_interrupt_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As behind `nohup`, or in the background of a script."""
    (tmp_path / "h11.py").write_text(
        "import os, signal, sys\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('still here', file=sys.stderr)\n"
        f"sys.path.remove({str(tmp_path)!r})\n"
        "del sys.modules['h11']\n"
        "import h11\n"
    )
    command = ["run", "--serve", "http", "--mtu", "1", "--", "true"]
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *TUNSTACK, *command],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("still here\ntunstack run: Invalid value for '--mtu'")
