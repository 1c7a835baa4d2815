"""What a command imports: what it needs, when it needs it. No library is imported for nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tunstack.cli.root import summaries

TUNSTACK = "from tunstack.cli import main; status = main({arguments!r})"

LIBRARIES = {
    *("attr", "cryptography", "dns", "dpkt", "h11", "h2", "hypercorn", "idna", "matplotlib"),
    *("numpy", "pytun", "rich", "ssl", "trio", "trustme", "wsproto"),
}
OURS = {
    *("behaviours.known", "capture", "cli.top", "dns.answers", "dns.zones", "host", "ladder"),
    *("live.view", "path.pcapng", "plot", "resolver.look_ups"),
}
ON_REQUEST = {"dns", "h2", "hypercorn", "matplotlib", "numpy", "rich", "wsproto"}


def imported(code: str) -> set[str]:
    """The modules that there are after some code, which sets `status` to 0."""
    script = f"{code}\nimport sys\nprint('imported', *sys.modules)\nsys.exit(status)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {*done.stdout.rpartition("imported")[2].split()}


def ours(names: set[str]) -> set[str]:
    return {f"tunstack.{name}" for name in names}


def test_the_package_alone_imports_nothing_of_others() -> None:
    modules = imported("import tunstack; status = 0")
    assert not modules & {*LIBRARIES, "click", "dataclasses", "socket", "typing"}
    assert {name for name in modules if name.startswith("tunstack.")} == set()


@pytest.mark.parametrize("command", sorted(summaries()))
def test_help_needs_click_alone(command: str) -> None:
    modules = imported(TUNSTACK.format(arguments=[command, "--help"]))
    assert not modules & {*LIBRARIES, *ours(OURS), "tunstack.cli.running", "tunstack.cli.output"}


def test_a_usage_error_needs_click_alone() -> None:
    code = "from tunstack.cli import main; status = main(['run', '--workers', 'x']) - 2"
    assert not imported(code) & {*LIBRARIES, *ours(OURS), "tunstack.cli.running"}


@pytest.mark.kernel
def test_a_command_is_run_without_what_nobody_has_asked_for() -> None:
    modules = imported(TUNSTACK.format(arguments=["run", "--", "true"]))
    assert not modules & {*ON_REQUEST, *ours(OURS - {"host"})}
    assert not modules & {"tunstack.cli.output", "tunstack.deploy.diagnosis"}
    assert {"trio", "tunstack.host.host", "tunstack.apps.http"} <= modules


@pytest.mark.kernel
def test_what_is_recorded_waits_for_no_import() -> None:
    """The times of ``--stats`` are those of the connections, the first one's too."""
    modules = imported(TUNSTACK.format(arguments=["run", "--stats", "--", "true"]))
    assert {"dns.message", "hypercorn.protocol", "h2.connection"} <= modules


BEFORE_THE_NETWORK = """
import tunstack
def refuse(*_):
    raise tunstack.SetupError("no network in this test")
tunstack.open_namespace = refuse
from tunstack.cli import main
status = main(["demo"]) - 2
"""


def test_nor_does_what_the_demo_shows() -> None:
    """It would be in the time of the look-up, which is its first packet."""
    assert "dns.message" in imported(BEFORE_THE_NETWORK)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("app", "module"), [("https", "hypercorn.protocol"), ("dns", "dns.message")]
)
def test_an_app_that_is_asked_for_is_imported_before_the_command_starts(
    app: str, module: str
) -> None:
    assert module in imported(
        TUNSTACK.format(arguments=["run", "--no-dns", "--serve", app, "--", "true"])
    )


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("package", "extra"),
    [("dns", "dns"), ("h11", "http"), ("hypercorn", "tls"), ("trustme", "tls")],
)
def test_a_package_that_is_missing_is_told_before_the_command_starts(
    package: str, extra: str
) -> None:
    script = (
        f"import sys; sys.modules[{package!r}] = None; from tunstack.cli import main;"
        " sys.exit(main(['run', '--', 'echo', 'started']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"pip install 'tunstack[{extra}]'" in done.stderr
