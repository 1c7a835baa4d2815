"""The script that gives a program another /etc/resolv.conf: any file, in a mount namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunstack.link import enter, resolv_conf
from tunstack.link.resolv_conf import with_dns

SCRIPT = resolv_conf.__file__
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount"]

REPLACE = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("script", sys.argv[1])
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
script.replace_files({sys.argv[2]: "new"})
os.execvp(sys.argv[3], sys.argv[3:])
"""

needs_mounts = pytest.mark.kernel


def run(*command: str, **options: object) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert result.stderr == ""
    return str(result.stdout)


def with_file_replaced(path: Path, *command: str) -> str:
    """What a command prints for which the file at `path` is another one."""
    script = [sys.executable, "-I", "-S", "-c", REPLACE, SCRIPT]
    return run(*UNSHARE, "--", *script, str(path), *command)


@needs_mounts
def test_a_file_is_another_for_the_program_only(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    assert with_file_replaced(file, "cat", str(file)) == "new"
    assert file.read_text() == "old"
    assert [*tmp_path.iterdir()] == [file]


@needs_mounts
def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stub").write_text("old")
    link = tmp_path / "etc" / "file"
    link.symlink_to("../run/stub")
    assert with_file_replaced(link, "cat", str(link)) == "new"
    assert link.read_text() == "old"


@needs_mounts
@pytest.mark.parametrize("target", [None, "../nowhere/stub"])
def test_a_file_that_is_not_there_appears_among_what_is(tmp_path: Path, target: str | None) -> None:
    etc = tmp_path / "etc"
    (etc / "folder").mkdir(parents=True)
    (etc / "folder" / "inner").write_text("inner")
    (etc / "other").write_text("other")
    (etc / "alias").symlink_to("other")
    os.mkfifo(etc / "pipe")
    if target is not None:
        (etc / "file").symlink_to(target)
    before = sorted(etc.iterdir())
    script = f"cd {etc}; cat file folder/inner other alias; ls; echo more >>other; test -p pipe"
    names = "alias file folder other pipe".replace(" ", "\n")
    assert with_file_replaced(etc / "file", "sh", "-c", script) == f"newinnerotherother{names}\n"
    assert sorted(etc.iterdir()) == before
    assert (etc / "other").read_text() == "othermore\n"


@needs_mounts
def test_the_machines_resolv_conf_is_untouched() -> None:
    path = Path(resolv_conf.RESOLV_CONF)
    before = path.read_bytes() if path.exists() else None
    script = [sys.executable, "-I", "-S", SCRIPT, "nameserver 198.51.100.2\n"]
    shown = run(*UNSHARE, "--", *script, "cat", str(path))
    assert shown == "nameserver 198.51.100.2\n"
    assert (path.read_bytes() if path.exists() else None) == before


@needs_mounts
def test_the_program_has_the_environment_and_the_signals_that_it_would_have() -> None:
    """Python ignores SIGPIPE, and in the C locale sets LC_CTYPE: the program gets neither."""
    script = [sys.executable, "-I", "-S", SCRIPT, "x"]
    assert what_it_inherits(*UNSHARE, "--", *script) == what_it_inherits(*UNSHARE, "--")


def test_a_program_that_enters_a_namespace_has_them_too() -> None:
    script = [sys.executable, "-I", "-S", enter.__file__, str(os.getpid())]
    assert what_it_inherits(*script) == what_it_inherits()


def what_it_inherits(*prefix: str) -> str:
    show = "env | grep -v '^_\\|^PWD\\|^SHLVL\\|^OLDPWD'; grep SigIgn /proc/self/status"
    environment = {"PATH": os.environ["PATH"], "LANG": "C", "ODD": "a=b=c"}
    return run(*prefix, "sh", "-c", show, env=environment)


def test_where_mounting_is_not_allowed_the_program_runs_and_it_is_said() -> None:
    script = [sys.executable, "-I", "-S", SCRIPT, "x", "echo", "ran"]
    as_nobody = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    result = subprocess.run([*as_nobody, *script], capture_output=True, text=True, check=False)
    assert result.stdout == "ran\n"
    assert result.stderr == (
        "tunstack: echo gets the machine's /etc/resolv.conf, not tunstack's: "
        "Operation not permitted: unshare\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("hosts: files dns\n", "hosts: files dns\n"),
        ("hosts:\tfiles dns myhostname\n", "hosts:\tfiles dns myhostname\n"),
        ("hosts: dns files\n", "hosts: dns files\n"),
        ("hosts: files\n", "hosts: files dns\n"),
        ("hosts: files resolve [!UNAVAIL=return] dns # x\n", "hosts: files dns\n"),
        ("hosts: mymachines resolve [!UNAVAIL=return] files dns\n", "hosts: files dns\n"),
        ("hosts: files mdns4_minimal [NOTFOUND=return] dns\n", "hosts: files dns\n"),
        ("passwd: files\n# hosts: files\nnetworks: files\n", None),
        ("passwd: db\nhosts: nis\nether: db", "passwd: db\nhosts: files dns\nether: db"),
        ("", None),
    ],
)  # fmt: skip
def test_glibc_is_told_to_ask_dns_after_files(before: str, after: str | None) -> None:
    assert with_dns(before) == (before if after is None else after)
