"""The device node, and the driver behind it."""

from __future__ import annotations

import errno
import os
import platform
import stat
from typing import TYPE_CHECKING, Final

from tunstack.deploy.diagnosis.finding import Finding
from tunstack.deploy.diagnosis.machine import container, read

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOPIC: Final = "Device"
_NUMBER: Final = (10, 200)  # Documentation/admin-guide/devices.txt


def device_findings(node: str) -> Iterator[Finding]:
    """The device node at the path `node`, whether it opens, and the TUN driver."""
    error = _open_error(node)
    opens = error is None
    there = _node(node)
    yield there
    if error is None:
        yield Finding(_TOPIC, "access", "ok", "it can be opened for reading and writing")
    elif there.status == "ok":
        advice = _access_advice(node, error)
        yield Finding(_TOPIC, "access", "failure", f"cannot open it: {error.strerror}", advice)
    yield _driver(opens=opens)


def _open_error(node: str) -> OSError | None:
    try:
        os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error
    return None


def _node(node: str) -> Finding:
    try:
        found = os.stat(node)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        text = f"there is no {node}" if missing else f"{node}: {error.strerror}"
        return Finding(_TOPIC, "node", "failure", text, _node_advice(node))
    what = f"{node}, {stat.filemode(found.st_mode)} {_owner(found.st_uid)}:{_group(found.st_gid)}"
    number = (os.major(found.st_rdev), os.minor(found.st_rdev))
    if not stat.S_ISCHR(found.st_mode) or number != _NUMBER:
        text = f"{what} is not the character device 10:200"
        return Finding(_TOPIC, "node", "failure", text, _node_advice(node))
    return Finding(_TOPIC, "node", "ok", what)


def _node_advice(node: str) -> str:
    if container():
        return "start the container with '--device /dev/net/tun'"
    folder = os.path.dirname(node)
    return f"as root: 'modprobe tun', or 'mkdir -p {folder}; mknod -m 666 {node} c 10 200'"


def _access_advice(node: str, error: OSError) -> str:
    if error.errno == errno.EACCES:
        return f"run as root, or as root: 'chmod 666 {node}'"
    if error.errno == errno.EPERM:  # The device cgroup.
        return "start the container with '--device /dev/net/tun'"
    if error.errno in (errno.ENODEV, errno.ENXIO):
        return "as root: 'modprobe tun'"
    return _node_advice(node)


def _owner(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _driver(*, opens: bool) -> Finding:
    """Whether the kernel has the driver: among its misc devices, or as a module."""
    misc = read("/proc/misc")
    if opens or any(line.split()[1:] == ["tun"] for line in misc.splitlines()):
        return Finding(_TOPIC, "driver", "ok", "the kernel has TUN devices")
    modules = f"/lib/modules/{platform.release()}/modules"
    if "/tun.ko" in read(f"{modules}.builtin") or not misc:
        return Finding(_TOPIC, "driver", "warning", "/proc/misc does not tell whether it is there")
    if "/tun.ko" in read(f"{modules}.dep"):
        return Finding(
            _TOPIC, "driver", "failure", "the module is not loaded", "as root: 'modprobe tun'"
        )
    advice = "install this kernel's modules, or boot one with CONFIG_TUN; in a container: its host"
    return Finding(_TOPIC, "driver", "failure", "no TUN driver and no module of it", advice)
