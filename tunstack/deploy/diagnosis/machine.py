"""Versions, the kernel, the container, limits."""

from __future__ import annotations

import os
import platform
import resource
import sys
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Final

from tunstack.deploy.build import build
from tunstack.deploy.diagnosis.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONGESTION: Final = "/proc/sys/net/ipv4/tcp_available_congestion_control"
_COMPARED: Final = ("bbr", "cubic", "reno")
"""What ``tunstack bench-loss`` compares with."""
_FEW_FILES: Final = 1024


def read(path: str) -> str:
    """Return the content of a small file, stripped; empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\n\0 ")
    except OSError:
        return ""


def version_findings() -> Iterator[Finding]:
    """tunstack, Python and the kernel."""
    topic = "Versions"
    yield Finding(topic, "tunstack", "ok", f"{metadata.version('tunstack')}, {build()}")
    python = f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    yield Finding(topic, "Python", "ok", python)
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if sys.platform == "linux":
        yield Finding(topic, "kernel", "ok", system)
    else:
        advice = "use Linux for devices; memory_pair, run_virtual and the simulator work anywhere"
        yield Finding(topic, "kernel", "failure", f"{system} has no TUN device as Linux", advice)


def container() -> str:
    """Return the kind of container that we are in; empty if none is seen."""
    for path, kind in (("/.dockerenv", "Docker"), ("/run/.containerenv", "Podman")):
        if os.path.exists(path):
            return kind
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "Kubernetes"
    return read("/run/systemd/container") or os.environ.get("container", "")  # noqa: SIM112


def has_seccomp_filter() -> bool:
    """Whether a seccomp filter decides on our system calls."""
    return "\nSeccomp:\t2" in read("/proc/self/status")


def has_capability(number: int) -> bool:
    """Whether a capability is effective; true where it is not known."""
    for line in read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & 1 << number)
    return True


def apparmor_profile() -> str:
    """Return the AppArmor profile that confines us, as ``docker-default (enforce)``; or empty."""
    profile = read("/proc/self/attr/apparmor/current") or read("/proc/self/attr/current")
    return "" if profile == "unconfined" or " (" not in profile else profile


def in_chroot() -> bool:
    """Whether our root is another than that of our mount namespace, as chroot(2) makes it."""
    mounts = [line.split() for line in read("/proc/self/mountinfo").splitlines()]
    if mounts and not any(each[4] == "/" for each in mounts):
        return True
    with suppress(OSError):
        init, own = os.stat("/proc/1/root/."), os.stat("/")
        namespaces = [os.stat(f"/proc/{each}/ns/mnt").st_ino for each in ("1", "self")]
        same = (init.st_dev, init.st_ino) == (own.st_dev, own.st_ino)
        return namespaces[0] == namespaces[1] and not same
    return False


def place_findings() -> Iterator[Finding]:
    """Who we are, and what is around us."""
    topic = "Place"
    user = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    around = [
        f"in a {kind} container" if (kind := container()) else "",
        "in a chroot" if in_chroot() else "",
        "a seccomp filter" if has_seccomp_filter() else "",
        f"AppArmor profile {profile}" if (profile := apparmor_profile()) else "",
    ]
    yield Finding(topic, "process", "ok", ", ".join([user, *filter(None, around)]))
    if not os.path.exists("/proc/self/ns/net"):
        advice = "mount it: 'mount -t proc proc /proc'; or boot a kernel with CONFIG_NET_NS"
        yield Finding(topic, "/proc", "failure", "shows no network namespace", advice)


def limit_findings() -> Iterator[Finding]:
    """Limits of the process, and the congestion controls of both sides."""
    topic = "Limits"
    soft, hard = (
        "unlimited" if each == resource.RLIM_INFINITY else f"{each:,}"
        for each in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    few = 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] < _FEW_FILES
    text = f"{soft} (hard limit {hard}); a host's own connections need none"
    advice = f"for programs with many sockets: 'ulimit -n {_FEW_FILES * 16}'"
    yield Finding(topic, "open files", "warning" if few else "ok", text, advice if few else "")
    available = read(_CONGESTION).split()
    missing = [each for each in _COMPARED if each not in available]
    text = f"kernel: {', '.join(sorted(available)) or 'unknown'}; tunstack: cubic, reno"
    modules = " ".join(f"tcp_{each}" for each in missing)
    advice = f"for bench-loss to compare with them: 'modprobe -a {modules}' as root"
    yield Finding(
        topic, "congestion", "warning" if missing else "ok", text, advice if missing else ""
    )
