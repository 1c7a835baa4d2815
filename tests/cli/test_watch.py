"""``--watch``: on a terminal of its own, typed at, and left."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.cli.terminals import ENTERED, LEFT, on_a_terminal

if TYPE_CHECKING:
    from pathlib import Path

# A server and a client in memory: no device is needed.
PROGRAM: Final = """
import sys, trio, tunstack
from tests.live.hosts import pair
from tunstack.cli.running.execution import execute
from tunstack.cli.top.showing import show

async def main():
    scope = trio.CancelScope()
    async with pair("delay=10ms") as both:
        with scope:
            async with show(both.server, "test", scope.cancel):
                stream = await both.connect(40000)
                await both.connect(40001)
                {body}
    return 0

print("before")
sys.exit(execute("test", main))
"""
ECHO: Final = "while True: await both.echoed(stream, 100); await trio.sleep(0.1)"


def program(body: str = ECHO) -> list[str]:
    return ["-c", PROGRAM.format(body=body)]


def test_it_is_drawn_and_q_leaves_the_terminal_as_it_was() -> None:
    with on_a_terminal(program()) as terminal:
        before = terminal.settings
        terminal.wait("198.51.100.1:40000")
        assert terminal.settings != before
        assert terminal.lines[0].startswith("test  198.51.100.2  ")
        assert terminal.lines[-1].startswith("q quit  ↑↓ choose")
        terminal.type("q")
        assert terminal.end() == 0
        assert terminal.settings == before
        assert terminal.after == ""
        assert terminal.raw.count(ENTERED) == terminal.raw.count(LEFT) == 1
        assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")
        assert terminal.raw.startswith(b"before\r\n")


def test_keys_choose_follow_and_lead_back() -> None:
    with on_a_terminal(program()) as terminal:
        terminal.wait("198.51.100.1:40000")
        terminal.type("\r")
        terminal.wait("len 100")
        assert "ESTABLISHED" in terminal.text
        terminal.type("\x1b")
        terminal.wait("Peer Address:Port")
        terminal.type("/400")
        terminal.wait("show only: 400")
        terminal.type("01\r")
        terminal.wait(lambda: "198.51.100.1:40000" not in terminal.text)
        assert "198.51.100.1:40001" in terminal.text
        terminal.type("?")
        terminal.wait("sort by rate, state")
        terminal.type("q")
        assert terminal.end() == 0


def test_it_fills_the_terminal_when_that_has_another_size() -> None:
    with on_a_terminal(program()) as terminal:
        terminal.wait("198.51.100.1:40000")
        terminal.resize(140, 30)
        terminal.wait("ssthresh")
        assert terminal.lines[29].startswith("q quit")
        terminal.resize(40, 6)
        terminal.wait(lambda: terminal.lines[5].startswith("q quit"))
        terminal.wait(lambda: terminal.lines[3].startswith("ESTAB"))
        terminal.type("q")
        assert terminal.end() == 0


def test_what_is_written_meanwhile_is_shown_and_written_at_the_end() -> None:
    body = r"""
                import os
                print("printed")
                print("\x1b[2J\x1b]0;title\x07evil", file=sys.stderr, flush=True)
                os.system("echo by a child; cat; echo to standard error >&2")
                await trio.sleep_forever()
"""
    with on_a_terminal(program(body.strip()), size=(80, 30)) as terminal:
        terminal.wait("to standard error")
        begin = next(number for number, line in enumerate(terminal.lines) if "── output" in line)
        written = ["printed", "evil", "by a child", "to standard error"]
        assert terminal.lines[begin + 1 : begin + 5] == written
        assert b"title" not in terminal.raw
        terminal.type("q")
        assert terminal.end() == 0
        assert terminal.after.split("\n") == [
            "printed",
            "\x1b[2J\x1b]0;title\x07evil",
            "by a child",
            "to standard error",
            "",
        ]


def test_much_output_delays_nobody_and_the_end_of_it_is_kept() -> None:
    body = "await trio.run_process(['seq', '300000']); print('done'); await trio.sleep_forever()"
    with on_a_terminal(program(body)) as terminal:
        terminal.wait("done")
        terminal.type("q")
        assert terminal.end() == 0
        first, *lines = terminal.after.splitlines()
        assert first == "[940,324 bytes of output before these are not kept]"
        assert lines[-3:] == ["299999", "300000", "done"]


def test_an_exception_leaves_the_terminal_as_it_was() -> None:
    body = "await trio.sleep(0.5); raise ZeroDivisionError"
    with on_a_terminal(program(body)) as terminal:
        before = terminal.settings
        assert terminal.end() == 1
        assert terminal.settings == before
        assert "ZeroDivisionError" in terminal.after


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130)],
)
def test_a_signal_leaves_the_terminal_as_it_was(number: signal.Signals, status: int) -> None:
    with on_a_terminal(program()) as terminal:
        before = terminal.settings
        terminal.wait("198.51.100.1:40000")
        terminal.process.send_signal(number)
        assert terminal.end() == status
        assert terminal.settings == before
        assert terminal.after == ""


def test_ctrl_c_ends_it_and_ctrl_backslash_and_ctrl_s_do_nothing() -> None:
    with on_a_terminal(program()) as terminal:
        terminal.wait("198.51.100.1:40000")
        terminal.type("\x1c\x13?")
        terminal.wait("sort by rate")
        terminal.type("\x03")
        assert terminal.end() == 130


def test_suspended_it_leaves_the_terminal_and_continued_it_draws_again() -> None:
    with on_a_terminal(program(), shell=True) as terminal:
        before = terminal.settings
        terminal.wait("198.51.100.1:40000")
        terminal.type("\x1a")
        terminal.wait("[stopped]")
        assert terminal.settings == before
        assert terminal.after == "[stopped]"
        terminal.type("\n")
        terminal.wait(lambda: terminal.raw.count(ENTERED) == 2)
        terminal.wait("198.51.100.1:40000")
        terminal.type("q")
        assert terminal.end() == 0
        assert terminal.settings == before


def test_where_nobody_can_continue_it_ctrl_z_does_not_stop_it() -> None:
    with on_a_terminal(program()) as terminal:
        terminal.wait("198.51.100.1:40000")
        terminal.type("\x1a")
        terminal.wait(lambda: terminal.raw.count(ENTERED) == 2)  # What is typed before is lost.
        terminal.type("?")
        terminal.wait("sort by rate")
        terminal.type("q")
        assert terminal.end() == 0


def test_it_ends_with_its_terminal() -> None:
    with on_a_terminal(program()) as terminal:
        terminal.wait("198.51.100.1:40000")
        terminal.close()
        assert terminal.process.wait(30) == -signal.SIGHUP


@pytest.mark.parametrize(("no_color", "colored"), [("1", False), ("", True)])
def test_no_color_leaves_bold_and_reverse(no_color: str, colored: bool) -> None:
    with on_a_terminal(program(), environment={"NO_COLOR": no_color}) as terminal:
        terminal.wait("198.51.100.1:40000")
        terminal.type("\r")
        terminal.wait("len 100")
        terminal.type("q")
        assert terminal.end() == 0
        assert (b"\x1b[36m" in terminal.raw) == colored
        assert b"\x1b[1m" in terminal.raw


# The command line


def refused(*arguments: str) -> str:
    """What `tunstack` says, which exits with 2, without a terminal."""
    result = subprocess.run(
        [sys.executable, "-m", "tunstack", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    return result.stderr.strip()


@pytest.mark.parametrize(
    "command", [["run", "true"], ["serve", "http", "--address", "198.51.100.2/24"]]
)
def test_without_a_terminal_it_says_what_to_use_instead(command: list[str]) -> None:
    said = refused(command[0], "--watch", *command[1:])
    assert said == (
        f"tunstack {command[0]}: --watch needs a terminal on standard error; --trace prints the"
        " packets as lines, --stats the times of connections at the end"
        f" (see tunstack {command[0]} --help)"
    )


def test_on_a_terminal_without_a_cursor_it_says_so() -> None:
    arguments = ["-m", "tunstack", "run", "--watch", "true"]
    with on_a_terminal(arguments, environment={"TERM": "dumb"}) as terminal:
        assert terminal.end() == 2
        assert "cannot draw on a terminal of TERM='dumb'" in terminal.raw.decode()
        assert ENTERED not in terminal.raw


def test_options_that_exclude_it() -> None:
    assert "--watch and --trace both draw" in refused("run", "--watch", "--trace", "true")
    assert "leave out --workers" in refused("run", "--watch", "--workers", "2", "true")


@pytest.mark.kernel
def test_the_status_and_the_output_are_the_commands() -> None:
    script = "echo out; echo err >&2; cat; sleep 1; exit 7"
    arguments = ["-m", "tunstack", "run", "--watch", "--", "sh", "-c", script]
    with on_a_terminal(arguments) as terminal:
        terminal.wait("── output")
        assert terminal.lines[0].startswith("tunstack run  198.51.100.2, 2001:db8::2  ")
        assert terminal.end() == 7
        assert terminal.after == "out\nerr\n"


@pytest.mark.kernel
def test_a_redirected_command_writes_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "out"
    script = "echo out; echo err >&2"
    arguments = ["-m", "tunstack", "run", "--watch", "--", "sh", "-c", script]
    with file.open("wb") as out, on_a_terminal(arguments, stdout=out) as terminal:
        assert terminal.end() == 0
        assert terminal.after == "err\n"
    assert file.read_text() == "out\n"


@pytest.mark.kernel
def test_q_ends_the_command() -> None:
    script = "trap 'echo ended; exit' TERM; echo ready; sleep 60 & wait"
    arguments = ["-m", "tunstack", "run", "--watch", "--", "sh", "-c", script]
    with on_a_terminal(arguments) as terminal:
        terminal.wait("ready")
        terminal.type("q")
        assert terminal.end() == 143
        assert terminal.after == "ready\nended\n"


@pytest.mark.kernel
def test_ctrl_c_is_the_commands() -> None:
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.02; done"
    arguments = ["-m", "tunstack", "run", "--watch", "--", "sh", "-c", script]
    with on_a_terminal(arguments) as terminal:
        terminal.wait("ready")
        terminal.type("\x03")
        assert terminal.end() == 9
        assert terminal.after == "ready\ncaught\n"


@pytest.mark.kernel
def test_serve_shows_connections_and_their_log() -> None:
    script = (
        f"{sys.executable} -m tunstack serve echo --watch --address 198.51.100.130/25 & wait $!"
    )
    arguments = ["-m", "tunstack", "run", "--", "sh", "-c", script]
    with on_a_terminal(arguments) as terminal:
        terminal.wait("echo on 198.51.100.130:7")
        terminal.type("q")
        assert terminal.end() == 0
        assert "echo on 198.51.100.130:7" in terminal.after
