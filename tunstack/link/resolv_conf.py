"""Run a program with another /etc/resolv.conf: `python -I -S resolv_conf.py TEXT COMMAND...`.

The process gets a mount namespace of its own, in which that file is another one, and executes
COMMAND. It needs CAP_SYS_ADMIN, which the root of a user namespace has there. The machine's files
stay as they are, and nothing is left when the last process in the mount namespace has ended.

What else comes between a program and the name server is taken away too:

- /etc/nsswitch.conf gets ``hosts: files dns`` where its line asks other services than files before
  dns, as systemd-resolved's ``resolve [!UNAVAIL=return]``, or has no dns;
- the socket of nscd, which would ask the machine's name server in place of glibc.

A file that does not exist, or is a symbolic link to one that does not, cannot be mounted over. Then
its whole folder is: with a copy in which all else is bound to what was there.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

RESOLV_CONF = "/etc/resolv.conf"
NSSWITCH_CONF = "/etc/nsswitch.conf"
NSCD_SOCKET = "/run/nscd/socket"

_CLONE_NEWNS = 0x20000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SLAVE = 0x80000
_MNT_DETACH = 2
_SCRATCH = ("/mnt", "/media", "/srv", "/tmp", "/var/tmp")
"""Folders that a file system can be mounted on for a moment, where only this process sees it."""

_libc = ctypes.CDLL(None, use_errno=True)


def main(text: str, *command: str) -> None:
    """Give this process that /etc/resolv.conf, and execute `command`."""
    environment = _as_started()
    try:
        replace_machines(text)
    except OSError as error:
        why = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        print(
            f"tunstack: {command[0]} gets the machine's {RESOLV_CONF}, not tunstack's: {why}",
            file=sys.stderr,
        )
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        print(f"tunstack: cannot execute {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def _as_started() -> dict[bytes, bytes]:
    """Undo what Python changes at its start, and the program would inherit.

    Returns:
        The environment as it was: in the C locale Python sets LC_CTYPE (PEP 538).
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Which it ignores.
        signal.signal(number, signal.SIG_DFL)
    with open("/proc/self/environ", "rb") as file:
        variables = [each.partition(b"=") for each in file.read().split(b"\0") if each]
    return {name: value for name, _, value in variables}


def replace_machines(text: str) -> None:
    """Let the calling thread, in a mount namespace of its own, read `text` as /etc/resolv.conf.

    Raises:
        OSError: the system does not allow it.
    """
    replace_files({RESOLV_CONF: text, **_also_replaced()})


def _also_replaced() -> dict[str, str]:
    replaced = {}
    with suppress(OSError, UnicodeDecodeError):  # Without the file glibc uses dns.
        with open(NSSWITCH_CONF, encoding="utf-8") as file:
            before = file.read()
        after = with_dns(before)
        if after != before:
            replaced[NSSWITCH_CONF] = after
    if os.path.exists(NSCD_SOCKET):
        replaced[NSCD_SOCKET] = ""  # Connecting to a file fails, as without nscd.
    return replaced


def with_dns(nsswitch: str) -> str:
    """Return an nsswitch.conf whose ``hosts`` line asks dns, with nothing but files before it."""
    lines = nsswitch.splitlines(keepends=True)
    for index, line in enumerate(lines):
        database, colon, services = line.partition("#")[0].partition(":")
        if colon and database.strip() == "hosts":
            first = services.split()[:2]
            if first[:1] != ["dns"] and first != ["files", "dns"]:
                lines[index] = "hosts: files dns\n"
    return "".join(lines)


def replace_files(files: dict[str, str]) -> None:
    """Move this process to a mount namespace of its own, in which `files` have other contents.

    Raises:
        OSError: the system does not allow it.
    """
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount("none", "/", "", _MS_REC | _MS_SLAVE)  # What is mounted here stays here.
    targets = {path: os.path.realpath(path) for path in files}
    scratch = next(
        each
        for each in _SCRATCH
        if os.path.isdir(each) and not any(path.startswith(f"{each}/") for path in targets.values())
    )
    _mount("tunstack", scratch, "tmpfs", 0, "mode=755,size=1m")
    try:
        for number, (path, text) in enumerate(files.items()):
            if os.path.exists(targets[path]):
                _bind(_written(f"{scratch}/{number}", text), targets[path])
            else:
                _replace_folder(f"{scratch}/{number}", path, text)
    finally:
        _checked(_libc.umount2(scratch.encode(), _MNT_DETACH), scratch)


def _replace_folder(copy: str, path: str, text: str) -> None:
    """Mount a copy of a file's folder over it, in which there is the file."""
    folder, name = os.path.split(path)
    os.mkdir(copy, 0o755)
    for entry in os.scandir(folder):
        there = f"{copy}/{entry.name}"
        if entry.name == name:
            continue
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), there)
            continue
        if entry.is_dir():
            os.mkdir(there)
        else:
            _written(there, "")
        _bind(entry.path, there)
    _written(f"{copy}/{name}", text)
    _bind(copy, folder)


def _written(path: str, text: str) -> str:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path


def _bind(what: str, where: str) -> None:
    _mount(what, where, "", _MS_BIND | _MS_REC)


def _mount(what: str, where: str, kind: str, flags: int, data: str = "") -> None:
    arguments = (os.fsencode(what), os.fsencode(where), kind.encode() or None)
    _checked(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), where)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    main(*sys.argv[1:])
