"""A user's mistakes: one line that says what to do, and exit status 2."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

import pytest

from tests.compiled import is_compiled
from tunstack.cli import main
from tunstack.tcp.connection.state import StateMachine

NETWORK = ("--address", "198.51.100.2/24")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fly"], r"tunstack: No such command 'fly' \(see tunstack --help\)"),
        (["run"], r"tunstack run: Missing argument 'COMMAND...' \(see tunstack run --help\)"),
        (["run", "--xyzzy", "true"], r"tunstack run: No such option:? '?--xyzzy'? \(see"),
        (["run", "--mtu", "67", "true"], r"tunstack run: .*'--mtu': 67 is not in the range"),
        (["run", "--serve", "gopher", "true"], r"run: .* 'gopher'; there are echo \(7\), discard"),
        (["run", "--serve", "http:x", "true"], r"run: .* 'x' in 'http:x' is not a port"),
        (
            ["run", "--serve", "echo:80", "--serve", "http", "true"],
            r"run: .* echo and http cannot both have port 80: write http:PORT for another",
        ),
        (
            ["run", "--serve", "asgi=json", "true"],
            r"run: .*'asgi=json' names no application: write asgi=module:attribute",
        ),
        (
            ["run", "--serve", "asgi=no_such_module:app", "true"],
            r"run: .*cannot import no_such_module:app: ModuleNotFoundError: No module named 'no_s",
        ),
        (
            ["run", "--serve", "asgi=json:app", "true"],
            r"run: .*cannot import json:app: AttributeError: module 'json' has no attribute 'app'",
        ),
        (
            ["run", "--serve", "asgi=json:__name__", "true"],
            r"run: .*json:__name__ is 'json', and cannot be called",
        ),
        (
            ["run", "--serve", "asgi=json:loads", "--serve", "https", "true"],
            r"run: .*asgi=json:loads and https cannot both have port 443: write https:PORT",
        ),
        (
            ["run", "--serve", "json:loads", "true"],
            r"run: .*'json:loads' has no port: write json:l",
        ),
        (["run", "--serve", "json:loads:x", "true"], r"run: .*'x' in 'json:loads:x' is not a port"),
        (["run", "--serve", "no_such:f:7", "true"], r"run: .*cannot import no_such:f: ModuleNotF"),
        (["run", "--pcap", "/nowhere/x", "true"], r"run: cannot write /nowhere/x: No such file"),
        (["run", "--pcap", "/dev/full", "true"], r"run: cannot write /dev/full: No space left"),
        (["run", "--pcap", "/", "true"], r"run: .*'--pcap'.* is a directory"),
        (
            ["run", "--impair", "loss=1", "true"],
            r"run: .*'--impair': loss must be a percentage, as in loss=1%, not '1' \(see",
        ),
        (["run", "--impair", "in:lag=1s", "true"], r"'--impair': there is no impairment 'lag'; "),
        (["serve", "http"], r"tunstack serve: Missing option '--address'"),
        (["serve", *NETWORK], r"tunstack serve: Missing argument"),
        (["serve", "http", "--address", "198.51.100.2"], r"serve: .*has no prefix length"),
        (["serve", "http", "--address", "x/24"], r"serve: 'x/24' is no IP address"),
        (
            ["serve", "http", *NETWORK, "--kernel-address", "10.0.0.1"],
            r"serve: the kernel's address 10.0.0.1 is not in 198.51.100.0/24",
        ),
        (["serve", "http", *NETWORK, "--workers", "0"], r"serve: .*'--workers': 0 is not in the"),
        (
            ["serve", "http", *NETWORK, "--workers", "2", "--trace"],
            r"serve: --trace sees the packets of one process: leave out --workers",
        ),
        (
            ["run", "--workers", "2", "--pcap", "x", "true"],
            r"run: --pcap sees the packets of one process: leave out --workers",
        ),
        (["run", "--workers", "2", "--impair", "rate=1mbit", "true"], r"run: .*a rate would be"),
        (["connect", *NETWORK, "198.51.100.1"], r"tunstack connect: Missing argument 'PORT'"),
        (["connect", *NETWORK, "198.51.100.1", "web"], r"connect: .*'PORT': 'web' is not a valid"),
        (["connect", *NETWORK, "--wait", "0", "x", "1"], r"connect: .*'--wait': 0"),
        (
            ["connect", *NETWORK, "--wait", "nan", "x", "1"],
            r"connect: .*'--wait': nan is not a f",
        ),
        (
            ["connect", *NETWORK, "--wait", "inf", "x", "1"],
            r"connect: .*'--wait': inf is not a f",
        ),
        (["connect", *NETWORK, "--pcap", "-", "x", "1"], r"connect: --pcap needs a file: standard"),
        (["run", "--impair", "delay=1e400s", "true"], r"run: .*'--impair': delay must be a time"),
        (["run", "--impair", "rate=1e400bit", "true"], r"run: .*'--impair': rate must be bits"),
        (
            ["run", "--impair", "delay=1e999999999999999999s", "true"],
            r"run: .*'--impair': delay must be a time in s, ms or us, as in delay=20ms, not '1e99",
        ),
        (["run", "--pcap", "new/", "true"], r"run: .*'--pcap': 'new/' is a directory: name a file"),
        (["bridge", "--pcap", "new/", "true"], r"bridge: .*'--pcap': 'new/' is a directory"),
        (["bridge"], r"tunstack bridge: Missing argument 'COMMAND...'"),
        (["bridge", "--impair", "rate=9", "true"], r"bridge: .*'--impair': rate must be bits per"),
        (["bench", "--only", "luck"], r"tunstack bench: .*'--only': 'luck' is not one of 'bulk', "),
        (["bench", "--json", "/nowhere/x"], r"bench: cannot write /nowhere/x: No such file"),
        (["bench", "--json", "new/"], r"bench: .*'--json': 'new/' is a directory: name a file"),
        (["bench", "--plot", ""], r"bench: .*'--plot': the name of a file is missing"),
        (["bench", "--seconds", "nan"], r"bench: .*'--seconds': nan is not a finite number"),
        (
            ["bench", "--json", "-", "--plot", "-"],
            r"bench: --json and --plot cannot both be",
        ),
        (["bench-loss", "--json", "-", "--plot", "-"], r"loss: --json and --plot cannot both be"),
        (["bench-loss", "--json", "/nowhere/x"], r"bench-loss: cannot write /nowhere/x: No such"),
        (["bench-loss", "--plot", "new/"], r"bench-loss: .*'--plot': 'new/' is a directory"),
        (["bench-loss", "--seconds", "nan"], r"bench-loss: .*'--seconds': nan is not a finite"),
        (["bench-loss", "--rate", "nan"], r"bench-loss: .*'--rate': nan is not a finite number"),
        (["bench-loss", "--seconds", "0"], r"tunstack bench-loss: .*'--seconds': 0"),
        (["trace"], r"tunstack trace: Missing argument 'FILE'"),
        (["trace", "/nowhere"], r"tunstack trace: cannot read /nowhere: No such file"),
        (["trace", "/"], r"tunstack trace: cannot read /: Is a directory"),
        (["trace", __file__], r"test_usage.py is no capture: neither pcap nor pcapng"),
        (["trace", "/dev/null"], r"/dev/null is no capture"),
        (["plot"], r"tunstack plot: Missing argument 'FILE'"),
        (["plot", "/nowhere"], r"tunstack plot: cannot read /nowhere: No such file"),
        (["plot", __file__], r"test_usage.py is no capture: neither pcap nor pcapng"),
        (["plot", "-o", "new/", "x"], r"plot: .*'--output': 'new/' is a directory: name a file"),
        (["plot", "--connection", "0", "x"], r"tunstack plot: .*'--connection': 0 is not in"),
    ],
)
def test_mistakes(arguments: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert re.search(says, printed.err), printed.err


COMMANDS: tuple[list[str], ...] = (
    [],
    ["run"],
    ["serve"],
    ["connect"],
    ["trace"],
    ["plot"],
    ["demo"],
    ["doctor"],
    ["bridge"],
    ["bench"],
    ["bench-loss"],
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(" ".join(["Usage: tunstack", *command]))
    assert re.search(r"\n  Examples?:\n {4}.*tunstack ", page)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_80_columns_wide_and_has_a_short_name(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "-h"]) == 0
    page = capsys.readouterr().out
    assert [line for line in page.splitlines() if len(line) > 80] == []
    assert main([*command, "--help"]) == 0
    assert capsys.readouterr().out == page


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], []])
def test_a_version_and_a_help_page_need_no_host(arguments: list[str]) -> None:
    """That is what takes long to import."""
    script = (
        "import sys; from tunstack.cli import main; status = main(sys.argv[1:]); "
        "heavy = {'trio', 'rich', 'dpkt', 'tunstack.host', 'tunstack.bench'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, stdout=subprocess.PIPE)


def test_trace_and_plot_need_no_host_either() -> None:
    script = (
        "import sys, tunstack.cli.running.trace, tunstack.cli.running.plot; "
        "sys.exit('trio' in sys.modules or 'tunstack.host.host' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_connect_documents_its_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    main(["connect", "--help"])
    page = capsys.readouterr().out
    for line in ("3    refused", "4    reset", "5    timed out", "6    unreachable"):
        assert line in page


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: tunstack [OPTIONS]")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    kind = "compiled" if is_compiled(StateMachine) else "pure Python"
    assert capsys.readouterr().out == f"tunstack {metadata.version('tunstack')} ({kind})\n"


def test_python_runs_the_package_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tunstack", "fly"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tunstack: No such command 'fly'")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_it_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [*sys.modules]:
        if name.startswith(("tunstack.cli.", f"{missing}.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main([]) == 2
    expected = f"tunstack: the command line needs {missing}: pip install 'tunstack[cli]'\n"
    assert capsys.readouterr() == ("", expected)
