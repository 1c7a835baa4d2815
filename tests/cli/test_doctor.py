"""``tunstack doctor``, in the places where it is asked: what it says there, and its exit status."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from typing import Any, TypeAlias

import pytest

from tests.link.in_a_child import PROJECT, run_as_nobody
from tunstack.cli import main
from tunstack.link.errors import SEE_DOCTOR

Report: TypeAlias = dict[str, Any]

AS_USER = [] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
TUNSTACK = [sys.executable, "-W", "error", "-m", "tunstack"]
DOCTOR = [*TUNSTACK, "doctor", "--json"]
BY_SCRIPT = """
    import sys
    from tunstack.cli import main
    print(main(["doctor", "--json"]), file=sys.stderr)
"""

pytestmark = pytest.mark.kernel


def in_place(
    setup: str, command: list[str], *, unshare: list[str] = AS_USER
) -> subprocess.CompletedProcess[str]:
    """Run a command after `setup`, of a shell, in a mount namespace of its own."""
    script = f'set -e\n{setup}\nexec "$@"'
    return subprocess.run(
        ["unshare", *unshare, "--mount", "sh", "-c", script, "sh", *command],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def diagnosis(done: subprocess.CompletedProcess[str]) -> Report:
    assert done.stderr == ""
    report: Report = json.loads(done.stdout)
    assert done.returncode == (0 if report["works"] else 1)
    return checked(report)


def checked(report: Report) -> Report:
    """What holds of every diagnosis: what is not ok says what to do, and failures have a line."""
    findings = report["findings"]
    assert all(each["advice"] for each in findings if each["status"] != "ok"), findings
    failures = [each for each in findings if each["status"] == "failure"]
    assert report["works"] == (report["failure"] is None) == (not failures), report
    return report


def finding(report: Report, name: str) -> dict[str, str]:
    (found,) = (each for each in report["findings"] if each["name"] == name)
    return {key: found[key] for key in ("status", "text", "advice")}


def test_where_all_is_allowed_it_is_ok_and_run_works() -> None:
    report = diagnosis(in_place("", DOCTOR))
    assert report["works"]
    for name in ("node", "access", "driver", "network", "user", "here", "device", "multi-queue"):
        assert finding(report, name)["status"] == "ok", report


@pytest.mark.parametrize(("mode", "works"), [("666", True), ("600", False)])
def test_a_plain_user_with_and_without_rights_to_the_device(mode: str, works: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("root makes the device nodes, and becomes nobody")
    report = checked(json.loads(run_as_nobody(BY_SCRIPT, node_mode=mode)))
    assert report["works"] == works
    assert "within a user namespace" in finding(report, "network")["text"]
    assert finding(report, "here")["status"] == "warning"
    access = finding(report, "access")
    assert access["status"] == ("ok" if works else "failure")
    assert works or "chmod 666" in access["advice"]


def test_a_chroot_without_the_device() -> None:
    chroot = """
        mount -t tmpfs tmpfs /media
        mkdir /media/root
        for each in /*; do
            if [ -L $each ]; then cp -P $each /media/root
            elif [ -d $each ]; then mkdir /media/root$each; mount --rbind $each /media/root$each
            fi
        done
        mount -t tmpfs tmpfs /media/root/dev/net
    """
    inside = [
        "chroot",
        "/media/root",
        "sh",
        "-c",
        f'cd {shlex.quote(str(PROJECT))}; exec "$@"',
        "sh",
    ]
    report = diagnosis(in_place(chroot, [*inside, *DOCTOR]))
    assert "in a chroot" in finding(report, "process")["text"]
    assert finding(report, "node")["text"] == "there is no /dev/net/tun"
    assert "there is no TUN device at /dev/net/tun" in report["failure"]
    assert "a chroot" in finding(report, "user")["text"]  # Where the kernel refuses them.
    assert finding(report, "network")["status"] == "ok"


@pytest.mark.parametrize("kinds", [("user", "net"), ("user",)])
def test_user_namespaces_refused_by_their_limit(kinds: tuple[str, ...]) -> None:
    """The limits are of a user namespace of the test's own."""
    limits = "\n".join(f"echo 0 >/proc/sys/user/max_{kind}_namespaces" for kind in kinds)
    report = diagnosis(in_place(limits, DOCTOR, unshare=["--user", "--map-root-user"]))
    if "net" in kinds:
        assert "cannot make a network namespace" in report["failure"]
        refused = finding(report, "network")
        assert "user.max_net_namespaces is 0" in refused["text"]
        assert "sysctl -w user.max_net_namespaces=9999" in refused["advice"]
        return
    assert report["works"]  # As root may make them without a user namespace.
    refused = finding(report, "user")
    assert (refused["status"], "root does not need" in refused["text"]) == ("warning", True)
    assert "user.max_user_namespaces is 0" in refused["text"]


def refused_by_seccomp(setup: str = "") -> Report:
    """The diagnosis behind Docker's default profile, without a capability."""
    if platform.machine() != "x86_64":
        pytest.skip("the filter is for x86-64")
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    filtered = [sys.executable, "-m", "tests.deploy.container", *DOCTOR]
    return diagnosis(in_place(setup, [*drop, *filtered]))


def test_user_namespaces_refused_by_a_containers_seccomp_filter() -> None:
    report = refused_by_seccomp()
    assert not report["works"]
    refused = finding(report, "network")
    assert "Operation not permitted (" in refused["text"]
    assert "a seccomp filter)" in refused["text"]
    assert finding(report, "here")["status"] == "warning"
    assert "a seccomp filter" in finding(report, "process")["text"]


def test_in_a_container_the_advice_is_how_to_start_it() -> None:
    as_podman = "mount -t tmpfs tmpfs /run && touch /run/.containerenv"
    report = refused_by_seccomp(as_podman)
    assert re.search("in a (Docker|Podman) container", finding(report, "process")["text"])
    advice = finding(report, "network")["advice"]
    assert "--security-opt seccomp=unconfined" in advice
    assert "--cap-add SYS_ADMIN --cap-add NET_ADMIN" in advice
    assert "--cap-add NET_ADMIN" in finding(report, "here")["advice"]


@pytest.mark.parametrize(
    ("parameter", "value", "other"),
    [
        ("unprivileged_userns_clone", 0, 1),
        ("apparmor_restrict_unprivileged_userns", 1, 0),
    ],
)
def test_what_forbids_user_namespaces_is_named(parameter: str, value: int, other: int) -> None:
    setup = f"mount -t tmpfs tmpfs /proc/sys/kernel; echo {value} >/proc/sys/kernel/{parameter}"
    refused = finding(refused_by_seccomp(setup), "network")
    assert f"kernel.{parameter} is {value}" in refused["text"]
    assert f"'sysctl -w kernel.{parameter}={other}'" in refused["advice"]


def test_a_file_that_is_no_device() -> None:
    setup = "mount -t tmpfs tmpfs /dev/net; touch /dev/net/tun; chmod 644 /dev/net/tun"
    report = diagnosis(in_place(setup, DOCTOR))
    assert finding(report, "node")["status"] == "failure"
    assert "is not the character device 10:200" in finding(report, "node")["text"]
    assert "is it a TUN device node?" in report["failure"]


READ_ONLY = "mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys"


def test_a_read_only_proc_sys_as_in_containers_is_a_warning() -> None:
    report = diagnosis(in_place(READ_ONLY, DOCTOR))
    assert report["works"]
    assert finding(report, "sysctl")["status"] == "warning"
    assert "one host" in finding(report, "sysctl")["text"]


TWO_HOSTS = """
import trio, tunstack
async def main():
    async with tunstack.open_namespace() as ns, ns.open_host("198.51.100.2/24") as host:
        listener, = await host.open_tcp_listeners(7)
        with ns.socket() as sock:
            await sock.connect(("198.51.100.2", 7))
            print("connected")
        try:
            async with ns.open_host("203.0.113.2/24"):
                print("forwards", ns.sysctl("net.ipv4.ip_forward"))
        except tunstack.SetupError as error:
            print(error)
trio.run(main)
"""


def test_where_proc_sys_is_read_only_one_host_works_and_a_second_is_refused_in_one_line() -> None:
    done = in_place(READ_ONLY, [sys.executable, "-W", "error", "-c", TWO_HOSTS])
    assert done.stderr == ""
    connected, second = done.stdout.splitlines()
    assert connected == "connected"
    # A new namespace has the machine's net.ipv4.ip_forward, and never IPv6's.
    assert second.startswith("the kernel cannot forward between hosts, as net.ipv")
    assert second.endswith(SEE_DOCTOR)


def test_root_without_cap_net_admin_makes_a_user_namespace() -> None:
    if os.geteuid() != 0:
        pytest.skip("not root")
    lacking = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    report = diagnosis(in_place("", [*lacking, *DOCTOR]))
    assert report["works"]
    assert "within a user namespace" in finding(report, "network")["text"]


def test_root_without_cap_setfcap_is_told_that_it_cannot_map_itself() -> None:
    lacking = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    report = diagnosis(in_place("", [*lacking, *DOCTOR]))
    assert not report["works"]
    refused = finding(report, "network")
    assert "root lacks CAP_SETFCAP" in refused["text"]
    assert "--cap-add SETFCAP" in refused["advice"]


def test_the_errors_of_other_commands_point_to_it() -> None:
    hidden = "mount -t tmpfs tmpfs /dev/net"
    done = in_place(hidden, [*TUNSTACK, "run", "true"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tunstack run: there is no TUN device at /dev/net/tun: ")
    assert done.stderr == f"{done.stderr.removesuffix(SEE_DOCTOR + chr(10))}{SEE_DOCTOR}\n"
    report = diagnosis(in_place(hidden, DOCTOR))
    assert "doctor" not in report["failure"]


# How it looks


@pytest.mark.parametrize("columns", [80, 60, 200])
def test_it_fits_the_terminal_and_has_no_colour_when_piped(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TUNSTACK_TUN_DEVICE", "/dev/null")
    assert main(["doctor"]) == 1
    page = capsys.readouterr()
    assert page.err == ""
    assert "\x1b" not in page.out
    lines = page.out.splitlines()
    assert max(map(len, lines)) <= min(columns, 100)
    assert all(line == line.rstrip() for line in lines)
    assert "  failure  node" in page.out
    assert " -> " in page.out
    assert "tunstack run does not work here: cannot make a TUN device" in page.out


def test_colours_are_the_terminals_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Green, yellow and red of the terminal's colour scheme, on its own background."""
    assert main(["doctor", "--color"]) == 0
    page = capsys.readouterr().out
    assert "\x1b[32mok" in page
    assert set(re.findall(r"\x1b\[([\d;]*)m", page)) <= {"0", "1", "32", "33", "1;31"}


def test_an_extra_that_is_missing_is_a_warning_with_its_name() -> None:
    script = (
        "import sys; from tunstack.deploy.diagnosis.programs import program_findings as found; "
        "sys.path = [each for each in sys.path if 'site-packages' not in each]; "
        "print(*(each.advice for each in found() if each.name == 'h11'))"
    )
    done = in_place("", [sys.executable, "-c", script])
    assert done.stdout == "pip install 'tunstack[http]'\n", done.stderr
