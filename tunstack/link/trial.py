"""Try what the kernel allows, each in a throw-away child process: for ``tunstack doctor``.

`main` runs in an interpreter of its own, as the holder does, and prints the outcomes as JSON: for
each trial null where it succeeded, or the errno and text of its failure. The children end with
what they made: the machine's own namespaces are left as they are.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from tunstack.link.device import (
    IFF_MULTI_QUEUE,
    IFF_NO_PI,
    IFF_TUN,
    IFF_VNET_HDR,
    enable_offload,
    enable_udp_offload,
    packed,
)
from tunstack.link.holder import (
    enter_network_namespace,
    enter_new_namespace,
    enter_user_namespace,
)
from tunstack.link.netlink import Netlink
from tunstack.link.resolv_conf import replace_machines

if TYPE_CHECKING:
    from collections.abc import Callable

_NS_GET_USERNS: Final = 0xB701  # linux/nsfs.h
_CAP_NET_ADMIN: Final = 12


def main(node: str) -> None:
    """Print the outcome of every trial.

    Args:
        node: Path of the device node.
    """
    trials: dict[str, Callable[[], None]] = {
        "network namespace": enter_network_namespace,
        "user namespace": enter_user_namespace,
        "here": _may_configure_this_network,
        "device": partial(_device, node),
        "vnet header": partial(_device, node, IFF_VNET_HDR),
        "TCP offload": partial(_device, node, IFF_VNET_HDR, enable_offload),
        "UDP offload": partial(_device, node, IFF_VNET_HDR, enable_udp_offload),
        "multi-queue": partial(_device, node, IFF_MULTI_QUEUE),
        "IPv6": _ipv6,
        "parameters": _parameters,
        "resolv.conf": _resolv_conf,
    }
    json.dump({name: _outcome(trial) for name, trial in trials.items()}, sys.stdout)


def _outcome(trial: Callable[[], None]) -> tuple[int, str] | None:
    """Run a trial in a child process; returns its error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as out:
                json.dump(_error_of(trial), out)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    if not text:  # A seccomp filter may kill the process that asks.
        return errno.EPERM, "the process was killed"
    outcome = json.loads(text)
    return None if outcome is None else tuple(outcome)


def _error_of(trial: Callable[[], None]) -> tuple[int, str] | None:
    try:
        trial()
    except OSError as error:
        # pytun's error has its number as first argument only.
        number = error.errno or next((each for each in error.args if isinstance(each, int)), 0)
        return number, os.strerror(number) if number else str(error)
    return None


def _may_configure_this_network() -> None:
    """Fail with EPERM without CAP_NET_ADMIN in the user namespace of this network namespace."""
    with open("/proc/self/status", encoding="ascii") as status:
        (effective,) = (int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    if not effective & 1 << _CAP_NET_ADMIN:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    with open("/proc/self/ns/net", "rb") as network:
        owner = fcntl.ioctl(network, _NS_GET_USERNS)  # EPERM where it is not ours, or below it.
    os.close(owner)


def _device(node: str, flags: int = 0, enable: Callable[[int], bool] | None = None) -> None:
    import pytun

    enter_new_namespace()
    device = pytun.TunTapDevice(flags=IFF_TUN | IFF_NO_PI | flags, dev=node)
    if enable is not None and not enable(device.fileno()):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _ipv6() -> None:
    enter_new_namespace()
    with Netlink() as netlink:
        netlink.add_address(socket.if_nametoindex("lo"), packed("2001:db8::1"), 64, None)


def _parameters() -> None:
    enter_new_namespace()
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
        file.write("1")


def _resolv_conf() -> None:
    enter_new_namespace()
    replace_machines("")
