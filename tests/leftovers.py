"""Finding what the tests left behind: processes, TUN devices, open namespaces."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "TUNSTACK_TESTS"

SIOCGIFHWADDR = 0x8927
ARPHRD_NONE = 0xFFFE


class Watch:
    """What is here at the start, to be compared with what is here at the end.

    Every process started after this inherits a mark in its environment, by which it is found even
    when its parent has died and init has adopted it.
    """

    def __init__(self) -> None:
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        os.environ[MARK] = self._mark.partition("=")[2]
        self._before = set(self._present())

    def leftovers(self, *, timeout: float = 0.0) -> list[str]:
        """Describe what is here now and was not at the start.

        Args:
            timeout: Seconds to wait for what is about to end: a process that was told to
                end does so when the scheduler lets it.
        """
        deadline = time.monotonic() + timeout
        while True:
            left = sorted(set(self._present()) - self._before)
            if not left or time.monotonic() >= deadline:
                return left
            time.sleep(0.05)

    def _present(self) -> Iterator[str]:
        yield f"the process in the network namespace {os.readlink('/proc/self/ns/net')}"
        yield from _tun_devices()
        yield from _open_files()
        yield from self._processes()

    def _processes(self) -> Iterator[str]:
        parents = _parents()
        ours = {os.getpid()}
        while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
            ours |= more
        for pid in parents.keys() - {os.getpid()}:
            if pid in ours or self._mark.encode() in _read(pid, "environ").split(b"\0"):
                command = _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
                yield f"process {pid} ({command.strip() or 'a zombie'})"


def _parents() -> dict[int, int]:
    """The parent of each process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        # The fields after the name, which may itself have spaces and parentheses: state, parent.
        if entry.name.isdigit() and (stat := _read(int(entry.name), "stat")):
            parents[int(entry.name)] = int(stat.rpartition(b")")[2].split()[1])
    return parents


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):  # It ended meanwhile, or is another user's.
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def _tun_devices() -> Iterator[str]:
    # Not from /sys/class/net, which shows the namespace that it was mounted in.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # It went meanwhile.
                answer = fcntl.ioctl(
                    control, SIOCGIFHWADDR, struct.pack("16sH22x", name.encode(), 0)
                )
                if struct.unpack_from("H", answer, 16)[0] == ARPHRD_NONE:
                    yield f"TUN device {name}"


def _open_files() -> Iterator[str]:
    """Descriptors of this process that keep a namespace or a device alive."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # The one that lists the directory is closed by now.
            target = os.readlink(descriptor)
            if target.startswith("net:[") or target == "/dev/net/tun":
                yield f"descriptor {descriptor.name} of {target}"
