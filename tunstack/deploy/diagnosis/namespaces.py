"""Network and user namespaces, and what forbids them."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from tunstack.deploy.diagnosis.finding import Finding
from tunstack.deploy.diagnosis.machine import (
    container,
    has_capability,
    has_seccomp_filter,
    in_chroot,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.deploy.diagnosis.trials import Trials

_TOPIC: Final = "Namespaces"
_CAP_SETFCAP: Final = 31
_IN_CONTAINER: Final = (
    "start the container with '--security-opt seccomp=unconfined', or with "
    "'--cap-add SYS_ADMIN --cap-add NET_ADMIN'; without either, serve and open_host work in the "
    "container's own network with '--cap-add NET_ADMIN'"
)


def namespace_findings(trials: Trials) -> Iterator[Finding]:
    """Whether namespaces can be made, and a device in the current one."""
    alone, within = trials.outcome("network namespace"), trials.outcome("user namespace")
    if alone is None:
        text = "a network namespace can be made (CAP_SYS_ADMIN)"
        yield Finding(_TOPIC, "network", "ok", text)
    elif within is None:
        text = "a network namespace can be made, within a user namespace"
        yield Finding(_TOPIC, "network", "ok", text)
    if within is None:
        yield Finding(_TOPIC, "user", "ok", "a user namespace can be made")
    elif alone is None:
        text = f"no user namespace can be made, which root does not need: {_why(within)}"
        yield Finding(_TOPIC, "user", "warning", text, _remedy(within))
    else:
        text = f"no network namespace can be made, within a user namespace either: {_why(within)}"
        yield Finding(_TOPIC, "network", "failure", text, _remedy(within))
    yield _here(trials)


def _here(trials: Trials) -> Finding:
    if trials.outcome("here") is None:
        text = "a device can be made in the current network, by serve and connect"
        return Finding(_TOPIC, "here", "ok", text)
    advice = (
        "run, demo and open_namespace need none of it; for serve, connect and ping: run as root"
    )
    if container():
        advice += ", in a container with '--cap-add NET_ADMIN'"
    else:
        advice += f", or as root: 'ip tuntap add dev NAME mode tun user {os.geteuid()}'"
    text = "no device can be made in the current network (CAP_NET_ADMIN)"
    return Finding(_TOPIC, "here", "warning", text, advice)


def _why(error: tuple[int, str]) -> str:
    facts = "; ".join(fact for fact, _ in _forbidders(error[0]))
    return f"{error[1]} ({facts})" if facts else error[1]


def _remedy(error: tuple[int, str]) -> str:
    return "; ".join(advice for _, advice in _forbidders(error[0])) or "run as root"


def _forbidders(error: int) -> Iterator[tuple[str, str]]:
    """What forbids a user namespace, each with what to do about it."""
    if error == errno.ENOSPC:
        for kind in ("user", "net"):
            name = f"user.max_{kind}_namespaces"
            limit = read(f"/proc/sys/user/max_{kind}_namespaces")
            if limit == "0":
                yield f"{name} is {limit}", f"as root: 'sysctl -w {name}=9999'"
    if read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        name = "kernel.unprivileged_userns_clone"
        yield f"{name} is 0", f"as root: 'sysctl -w {name}=1'"
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        name = "kernel.apparmor_restrict_unprivileged_userns"
        yield f"AppArmor: {name} is 1", f"as root: 'sysctl -w {name}=0'"
    if error in (errno.EPERM, errno.ENOSYS) and in_chroot():
        yield "the process is in a chroot", "run as root, or outside of the chroot"
    if error == errno.EPERM and os.geteuid() == 0 and not has_capability(_CAP_SETFCAP):
        fact = "root lacks CAP_SETFCAP, which it needs to be the root of a user namespace"
        advice = "with '--cap-add SETFCAP' in a container, or run as another user"
        yield fact, advice
    if not os.path.exists("/proc/self/ns/user"):
        yield "the kernel has none, or /proc is not mounted", "run as root, or mount /proc"
    if error in (errno.EPERM, errno.ENOSYS) and has_seccomp_filter():
        yield "a seccomp filter", _IN_CONTAINER if container() else "run it without the filter"
