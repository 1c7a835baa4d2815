"""The holder: a small process that creates a private network namespace, and ends it.

It runs in an interpreter of its own with as few imports as possible. It creates the namespace,
serves its parent's requests over a Unix socket, and passes descriptors back. When that socket ends,
for whatever reason, it kills all processes of the namespace and exits: with it, and with the
parent's descriptors, the kernel destroys the namespace and its devices.

Requests and replies are tuples of plain values in `marshal` format: both ends are the same
interpreter, the socket is private, and `marshal` is built in.

    request   (number, operation, *arguments)
    reply     (number, "done", value)                   with the descriptors that were opened
              (number, "setup", message)                becomes a SetupError
              (number, "os", errno, message, filename)  becomes an OSError

The number of a reply is that of its request: the parent may have been interrupted (Ctrl-C) before
it read the reply, and then discards it. The first message, number 0, says that the namespace is
there.
"""

from __future__ import annotations

import errno
import marshal
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tunstack.link.device import TunRequest, bring_up, make_tun
from tunstack.link.errors import SEE_DOCTOR, SetupError
from tunstack.link.multiqueue import make_queues
from tunstack.link.sharing import Neighbour, Sharing, beside

if TYPE_CHECKING:
    from collections.abc import Callable

Plain: TypeAlias = str | int | tuple[Any, ...] | None
"""A value in a request or a reply."""
Reply: TypeAlias = tuple[Plain, tuple[int, ...]]
"""The value of a reply, and its descriptors (SCM_RIGHTS)."""

CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
MESSAGE_SIZE: Final = 1 << 16

_KILL_TIMEOUT: Final = 10.0
"""Seconds to go on killing: a process that survives that is stuck in the kernel."""
_EXEC_SECONDS: Final = 0.2
"""Seconds to wait for who is in the midst of execve, to know what it is."""
_PF_KTHREAD: Final = 0x00200000
"""A thread of the kernel (Linux's include/linux/sched.h)."""
_KILLED: Final = "killed"
_UNKNOWN: Final = "unknown"
_OTHER: Final = "other"
_COMMAND_SIZE: Final = 4096
"""Octets of a command line that are looked at; its own are at its beginning."""
_ORPHAN_LINGER: Final = 0.2
"""Seconds to look, after the parent died, for processes that it had just started."""


def main(descriptor: str) -> None:
    """Hold a namespace for the process at the other end of the socket `descriptor`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # The parent handles them, and then ends us.
    os.chdir("/")
    with socket.socket(fileno=int(descriptor)) as channel:
        try:
            in_user_namespace = enter_new_namespace()
        except OSError as error:
            _reply(channel, 0, "setup", _advice(error))
            return
        inode = os.stat("/proc/self/ns/net").st_ino
        _reply(channel, 0, "done", (inode, in_user_namespace))
        orderly = _serve(channel)
    kill_members(inode, os.getpid(), linger=0.0 if orderly else _ORPHAN_LINGER)


def enter_new_namespace() -> bool:
    """Move this process to a new network namespace, within a new user namespace if not root.

    Root needs CAP_SYS_ADMIN and CAP_NET_ADMIN, which it may lack in a container. The loopback
    interface is up then.

    In the user namespace our user is mapped to root, so that programs in it may configure the
    network of the namespace; outside of it the user's rights stay the same.

    Returns:
        Whether there is a user namespace.

    Raises:
        OSError: the kernel refused.
    """
    try:
        enter_network_namespace()
    except PermissionError:
        enter_user_namespace()
        return True
    return False


def enter_network_namespace() -> None:
    """Move this process to a new network namespace, with its loopback interface up.

    Raises:
        OSError: the kernel refused.
    """
    _unshare(CLONE_NEWNET)
    bring_up("lo")


def enter_user_namespace() -> None:
    """Move this process to a new user namespace, as its root, and a new network namespace in it.

    The loopback interface is up then.

    Raises:
        OSError: the kernel refused.
    """
    user, group = os.geteuid(), os.getegid()
    _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    # user_namespaces(7): without privileges the group map needs setgroups to be denied first.
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {user} 1"),
        ("gid_map", f"0 {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)
    bring_up("lo")  # Where AppArmor takes the capabilities of user namespaces away, this fails.


def kill_members(inode: int, holder: int, linger: float = 0.0) -> None:
    """Kill every other process of the network namespace `inode`, until none is left.

    One that is on its way into the namespace is one of them: for some milliseconds a program that
    was started is nsenter, and before that in the midst of execve.

    Args:
        inode: Inode number of the namespace.
        holder: The process that holds it.
        linger: Seconds to go on looking for new ones in any case.
    """
    start = time.monotonic()
    while True:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        found = {_kill_if_member(pid, inode, holder) for pid in pids if pid != os.getpid()}
        elapsed = time.monotonic() - start
        if _KILLED in found:
            most = _KILL_TIMEOUT
        else:
            most = max(linger, _EXEC_SECONDS) if _UNKNOWN in found else linger
        if elapsed >= most:
            return
        time.sleep(0.002)


def _kill_if_member(pid: int, inode: int, holder: int) -> str:
    try:
        command = _command(pid)
        if not command and _executes(pid):
            return _UNKNOWN
        # In this order: whoever is not on its way any more is inside.
        if not _enters(command, holder) and os.stat(f"/proc/{pid}/ns/net").st_ino != inode:
            return _OTHER
        os.kill(pid, signal.SIGKILL)
    except OSError:  # It has ended, or belongs to another user.
        return _OTHER
    return _KILLED


def _command(pid: int) -> list[bytes]:
    """The command line of a process; nothing of the kernel's, and of one in the midst of execve."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read(_COMMAND_SIZE).split(b"\0")[:-1]


def _executes(pid: int) -> bool:
    """Whether a process without a command line is in the midst of execve: proc_pid_stat(5)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        state, *others = file.read().rpartition(b")")[2].split()
    return state not in b"ZX" and not int(others[5]) & _PF_KTHREAD


def _enters(command: list[bytes], holder: int) -> bool:
    """Whether who has that command line is about to enter the namespace of `holder`."""
    if command and os.path.basename(command[0]) == b"nsenter":
        return b"--net=/proc/%d/ns/net" % holder in command
    return [os.path.basename(each) for each in command[3:5]] == [b"enter.py", b"%d" % holder]


def _unshare(flags: int) -> None:
    if sys.version_info >= (3, 12):
        os.unshare(flags)
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _serve(channel: socket.socket) -> bool:
    """Serve requests until the parent sends "end" (True) or is gone (False)."""
    events = select.poll()
    events.register(channel, select.POLLIN)
    # The socket does not show that the parent is gone while a forked child has a copy of it.
    with suppress(OSError):  # Linux before 5.3
        events.register(os.pidfd_open(os.getppid()), select.POLLIN)
    while True:
        if channel.fileno() not in dict(events.poll()):
            return False
        try:
            message = channel.recv(MESSAGE_SIZE)
        except OSError:
            return False
        if not message:
            return False
        number, operation, *arguments = marshal.loads(message)
        if operation == "end":
            return True
        _handle_request(channel, number, operation, arguments)


def _handle_request(
    channel: socket.socket, number: int, operation: str, arguments: list[Plain]
) -> None:
    try:
        value, descriptors = _OPERATIONS[operation](*arguments)
    except SetupError as error:
        _reply(channel, number, "setup", str(error))
    except OSError as error:
        filename = None if error.filename is None else str(error.filename)
        code = error.errno or errno.EIO
        _reply(channel, number, "os", code, error.strerror or str(error), filename)
    else:
        _reply(channel, number, "done", value, descriptors=descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _reply(channel: socket.socket, *message: Plain, descriptors: tuple[int, ...] = ()) -> None:
    with suppress(OSError):  # The parent is gone, which the next read shows.
        socket.send_fds(channel, [marshal.dumps(message)], descriptors)


_neighbours: Final[dict[int, Neighbour]] = {}
"""The hosts of devices that may share a network with others, by the index of the device."""


def _open_tun(sharing: Any, *fields: Any) -> Reply:
    request, shared = _beside(sharing, fields)
    descriptor, name, *more = make_tun(request, shared=shared)
    _remember(sharing, request, name)
    return (name, *more), (descriptor,)


def _open_queues(sharing: Any, count: int, *fields: Any) -> Reply:
    request, shared = _beside(sharing, fields)
    queues = make_queues(request, count, shared)
    _remember(sharing, request, queues.name)
    what = (queues.name, queues.mtu, queues.offload, queues.kernel_addresses)
    return what, queues.descriptors


def _beside(sharing: Any, fields: tuple[Any, ...]) -> tuple[TunRequest, frozenset[int]]:
    """Return the device's parameters, and the devices whose networks it may share."""
    request = TunRequest.from_plain(fields)
    if sharing is None:
        return request, frozenset()
    present = {index for index, _ in socket.if_nameindex()}
    for index in _neighbours.keys() - present:
        del _neighbours[index]
    others = tuple(_neighbours.values())
    return beside(request, Sharing.from_plain(sharing), others), frozenset(_neighbours)


def _remember(sharing: Any, request: TunRequest, name: str) -> None:
    if sharing is not None:
        index = socket.if_nametoindex(name)
        _neighbours[index] = Neighbour(Sharing.from_plain(sharing), request)


def _open_socket(family: int, kind: int, protocol: int) -> Reply:
    return None, (socket.socket(family, kind, protocol).detach(),)


def _sysctl(name: str, value: str | None) -> Reply:
    path = f"/proc/sys/{name}"
    with open(path, "r" if value is None else "w", encoding="ascii") as file:
        if value is None:
            return file.read().strip(), ()
        file.write(value)
    return None, ()


_OPERATIONS: Final[dict[str, Callable[..., Reply]]] = {
    "tun": _open_tun,
    "queues": _open_queues,
    "socket": _open_socket,
    "sysctl": _sysctl,
}


def _advice(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        remedy = (
            "raise the limits as root with "
            "'sysctl -w user.max_user_namespaces=9999 user.max_net_namespaces=9999'"
        )
    else:
        remedy = (
            "run as root, or allow user namespaces with "
            "'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0' (Ubuntu), "
            "or start the container with '--cap-add SYS_ADMIN --cap-add NET_ADMIN'"
        )
    return f"cannot make a network namespace: {error.strerror}: {remedy}{SEE_DOCTOR}"
