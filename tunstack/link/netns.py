"""A private network namespace, controlled from outside of it.

A small process, the holder (:mod:`tunstack.link.holder`), lives in the namespace. The stack's own
process never enters it, but requests descriptors of its devices and sockets from the holder. Runs
are isolated from each other and from the machine, and nothing outlives the context:

- at its end the holder kills all processes of the namespace, and exits;
- when this process dies, even of SIGKILL, the holder sees the end of the socket.
"""

from __future__ import annotations

import errno
import marshal
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from itertools import count
from operator import index
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, final

import trio

from tunstack.link.entering import run_inside
from tunstack.link.errors import SEE_DOCTOR, SetupError
from tunstack.link.holder import MESSAGE_SIZE, kill_members
from tunstack.link.multiqueue import MAX_QUEUES, Queues, check_count
from tunstack.link.plan import plan_sharing, plan_tun
from tunstack.link.starting import start_process
from tunstack.link.tun import TunLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from tunstack.link.holder import Plain
    from tunstack.link.plan import AddressLike, PeerLike

    Command: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

Result = TypeVar("Result")

_FOLDER: Final = Path(__file__).resolve().parent
_SO_NETNS_COOKIE: Final = 71  # asm-generic/socket.h
_SYSCTL_NAME: Final = re.compile(r"net[./][\w./-]+")


@asynccontextmanager
async def open_network_namespace() -> AsyncIterator[NetworkNamespace]:
    """Create a private network namespace, with its loopback interface up, for the block.

    Root creates it directly (CAP_SYS_ADMIN); another user within a user namespace.

    Raises:
        SetupError: the system does not allow it.
    """
    process, channel = await start_process("link.holder", libraries=("pytun",))
    with channel:
        namespace = NetworkNamespace(process, channel)
        try:
            await namespace._started()
            yield namespace
        finally:
            await namespace._end()


@final
class NetworkNamespace:
    """A private network namespace, created by :func:`open_network_namespace`.

    Attributes:
        pid: Process id of the holder, for ``nsenter --net --target PID`` (and ``--user
            --preserve-credentials`` when there is a user namespace).
        path: The namespace's file below ``/proc``.
        resolv_conf: What programs that are started read as /etc/resolv.conf; None for the
            machine's. See :mod:`tunstack.link.resolv_conf`.
    """

    def __init__(self, process: trio.Process, channel: socket.socket) -> None:
        self.pid = process.pid
        self.path = f"/proc/{process.pid}/ns/net"
        self.resolv_conf: str | None = None
        self._process = process
        self._channel = channel
        self._inode: int | None = None
        self._in_user_namespace = False
        self._ended = False
        self._opened: list[TunLink | trio.socket.SocketType] = []
        self._lock = Lock()
        self._numbers = count(1)
        self._cookie: bytes | None = None

    async def open_tun(
        self,
        *addresses: AddressLike,
        name: str | None = None,
        peer: PeerLike | Sequence[PeerLike] | None = None,
        mtu: int | None = None,
        device_node: str | None = None,
        offload: bool = False,
        shared: bool = False,
    ) -> TunLink:
        """Create a TUN device in the namespace, as :func:`tunstack.link.tun.open_tun` does outside.

        There may be several, on networks that do not overlap; of those that are `shared`, several
        hosts may be on one network: see :mod:`tunstack.link.sharing`.

        Raises:
            SetupError: with one line that says what to do.
            trio.ClosedResourceError: the namespace has ended.
        """
        request = plan_tun(
            *addresses, name=name, peer=peer, mtu=mtu, device_node=device_node, offload=offload
        )
        sharing = plan_sharing(addresses, peer) if shared else None
        await trio.lowlevel.checkpoint()
        what, descriptors = self._request("tun", sharing, *request.plain)
        link = TunLink(descriptors[0], *what)
        self._opened.append(link)
        return link

    async def open_queues(
        self,
        count: int,
        *addresses: AddressLike,
        name: str | None = None,
        peer: PeerLike | Sequence[PeerLike] | None = None,
        mtu: int | None = None,
        device_node: str | None = None,
        offload: bool = False,
        shared: bool = False,
    ) -> Queues:
        """Create a multi-queue TUN device, as `tunstack.link.multiqueue.open_queues` does outside.

        `shared` is that of :meth:`open_tun`.

        Raises:
            SetupError: with one line that says what to do.
            trio.ClosedResourceError: the namespace has ended.
        """
        check_count(count)
        request = plan_tun(
            *addresses, name=name, peer=peer, mtu=mtu, device_node=device_node, offload=offload
        )
        sharing = plan_sharing(addresses, peer) if shared else None
        await trio.lowlevel.checkpoint()
        what, descriptors = self._request("queues", sharing, count, *request.plain)
        return Queues(tuple(descriptors), *what)

    def socket(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,
        proto: int = 0,
    ) -> trio.socket.SocketType:
        """Create a kernel socket in the namespace.

        Raises:
            OSError: the kernel refused.
            trio.ClosedResourceError: the namespace has ended.
        """
        descriptor = self.socket_descriptor(family, type, proto)
        inside = trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor))
        self._opened = [each for each in self._opened if each.fileno() != -1]
        self._opened.append(inside)
        return inside

    def socket_descriptor(self, family: int, type: int, proto: int) -> int:
        """Create a kernel socket in the namespace, from any thread.

        Returns:
            Its descriptor, close-on-exec, which the caller closes.

        Raises:
            OSError: the kernel refused.
            OverflowError: an argument is no C int.
            trio.ClosedResourceError: the namespace has ended.
        """
        wanted = [index(each) for each in (family, type, proto)]
        if any(not -(1 << 31) <= each < 1 << 31 for each in wanted):
            raise OverflowError("Python int too large to convert to C int")
        _, (descriptor,) = self._request("socket", *wanted)
        if self._cookie is None:
            self._cookie = _cookie_of(descriptor)
        return descriptor

    def sysctl(self, name: str, value: str | int | None = None) -> str:
        """Read a sysctl of the namespace, or set it and read it back.

        Args:
            name: As in ``"net.ipv4.tcp_congestion_control"``; with ``/`` in place of ``.`` where it
                contains an interface name with dots.
            value: None to read only.

        Raises:
            ValueError: not the name of a parameter below ``net``.
            OSError: there is no such parameter, no permission, or the value is invalid.
            trio.ClosedResourceError: the namespace has ended.
        """
        if not _SYSCTL_NAME.fullmatch(name) or ".." in name:
            raise ValueError(f"{name!r} is no kernel parameter as 'net.ipv4.ip_forward'")
        path = name if "/" in name else name.replace(".", "/")
        if value is not None:
            self._request("sysctl", path, str(value))
        content, _ = self._request("sysctl", path, None)
        return str(content)

    async def run_process(
        self,
        command: Command,
        **options: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the namespace, as `trio.run_process` does, with the same options.

        The program itself is the child of this process, not a wrapper, so that cancelling ends it.
        In a user namespace it runs as root.

        Raises:
            OSError: FileNotFoundError, PermissionError, NotADirectoryError: the command itself.
            subprocess.CalledProcessError: it failed, and ``check=False`` was not given.
            trio.ClosedResourceError: the namespace has ended.
        """
        given = self.command(command, options)
        try:
            result = await trio.run_process(given, **options)
        except subprocess.CalledProcessError as error:
            error.cmd = command
            error.args = (error.returncode, command)
            raise
        result.args = command
        return result

    async def open_process(
        self,
        command: Command,
        **options: Any,
    ) -> trio.Process:
        """Start a program in the namespace, as `trio.lowlevel.open_process` does.

        Raises:
            OSError: FileNotFoundError, PermissionError, NotADirectoryError: the command itself.
            trio.ClosedResourceError: the namespace has ended.
        """
        return await trio.lowlevel.open_process(self.command(command, options), **options)

    async def run_in_thread(
        self, function: Callable[..., Result], *args: Any, abandon_on_cancel: bool = False
    ) -> Result:
        """Call a function in a thread of its own that has entered the namespace.

        Every socket that it creates is in the namespace, by whatever library; threads that it
        starts are there too. Where programs find names (:attr:`resolv_conf`), it finds them by
        the resolver of the C library.

        Args:
            function: Called with `args`, in a copy of the caller's context. It must not create
                sockets that other threads expect on the machine.
            args: Its arguments.
            abandon_on_cancel: As of `trio.to_thread.run_sync`: whether the thread is left to itself
                when the caller is cancelled. Otherwise the caller waits for its end.

        Raises:
            SetupError: the machine does not allow it. It needs CAP_SYS_ADMIN on the machine, which
                another user than root has not, although it may create the namespace (in a user
                namespace, which setns refuses to a process with several threads).
            trio.ClosedResourceError: the namespace has ended.
        """
        self._check_open()
        inside = partial(run_inside, self.path, self.resolv_conf, function, args)
        return await trio.to_thread.run_sync(inside, abandon_on_cancel=abandon_on_cancel)

    def command(self, command: Command, options: dict[str, Any]) -> list[str]:
        """Return the command that runs a program in the namespace, for `subprocess.Popen`.

        Args:
            command: The program and its arguments.
            options: Those of `Popen`; ``shell`` is removed.

        Raises:
            OSError: FileNotFoundError, PermissionError, NotADirectoryError: the command itself.
            trio.ClosedResourceError: the namespace has ended.
        """
        return self._in_namespace(_as_list(command, options), options)

    def _in_namespace(self, command: list[str], options: dict[str, Any]) -> list[str]:
        """Prefix `command` with what runs it in the namespace."""
        self._check_open()
        _check_command(command[0], options.get("env"), options.get("cwd"))
        if self.resolv_conf is not None:
            command = [*_python("resolv_conf.py"), self.resolv_conf, *command]
        nsenter = shutil.which("nsenter")
        if nsenter is None:
            return [*_python("enter.py"), str(self.pid), *command]
        prefix = [nsenter, f"--net={self.path}"]
        if self._in_user_namespace:
            prefix += [f"--user=/proc/{self.pid}/ns/user", "--preserve-credentials"]
        return [*prefix, "--", *command]

    def _request(self, operation: str, *arguments: Plain) -> tuple[Any, list[int]]:
        """Send a request to the holder, and block for the reply, which takes milliseconds.

        Any thread may call it; one waits for the other.
        """
        with self._lock:
            self._check_open()
            number = next(self._numbers)
            try:
                self._channel.send(marshal.dumps((number, operation, *arguments)))
            except OSError:
                raise _holder_gone() from None
            return self._reply(number)

    def _reply(self, number: int) -> tuple[Any, list[int]]:
        """Return the reply to a request; those of requests that were interrupted are discarded."""
        while True:
            (of, outcome, *values), descriptors = self._receive()
            if of == number:
                break
            for descriptor in descriptors:
                os.close(descriptor)
        if outcome == "setup":
            raise SetupError(values[0])
        if outcome == "os":
            raise OSError(*values)
        return values[0], descriptors

    @trio.lowlevel.enable_ki_protection  # Ctrl-C must not lose descriptors.
    def _receive(self) -> tuple[tuple[Any, ...], list[int]]:
        # socket.recv_fds ignores its flags; MSG_CMSG_CLOEXEC keeps the descriptor from programs
        # that another thread starts meanwhile.
        try:
            message, control, _, _ = self._channel.recvmsg(
                MESSAGE_SIZE, socket.CMSG_SPACE(4 * MAX_QUEUES), socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            raise _holder_gone() from None
        if not message:
            raise _holder_gone()
        return marshal.loads(message), [
            each for _, _, data in control for each in memoryview(data).cast("i")
        ]

    async def _started(self) -> None:
        await trio.lowlevel.wait_readable(self._channel)
        try:
            (self._inode, self._in_user_namespace), _ = self._reply(0)
        except OSError as error:
            raise SetupError(
                "the process that should hold the namespace ended at once: see what it printed, "
                f"and whether {sys.executable} runs" + SEE_DOCTOR
            ) from error

    @trio.lowlevel.enable_ki_protection
    async def _end(self) -> None:
        """Close our descriptors, and wait until the holder has killed all processes and exited."""
        with self._lock:  # A thread may be in the middle of a request.
            self._ended = True
            with suppress(OSError):
                self._channel.send(marshal.dumps((0, "end")))
            self._channel.close()
        for each in self._opened:
            each.close()
        if self._cookie is not None:
            _shut_down_sockets(self._cookie)
        with trio.CancelScope(shield=True):
            status = await self._process.wait()
        if status != 0 and self._inode is not None:  # The holder was killed.
            kill_members(self._inode, self.pid)

    def _check_open(self) -> None:
        if self._ended:
            raise trio.ClosedResourceError("the namespace has ended")


def _python(script: str) -> list[str]:
    """What runs a script of this folder, without `site`."""
    return [sys.executable, "-I", "-S", str(_FOLDER / script)]


def _cookie_of(descriptor: int) -> bytes:
    """Return SO_NETNS_COOKIE, the number of a socket's namespace; nothing before Linux 5.14."""
    sock = socket.SocketType(fileno=descriptor)
    try:
        return sock.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    except OSError:
        return b""
    finally:
        sock.detach()


def _shut_down_sockets(cookie: bytes) -> None:
    """Shut down this process's sockets in a namespace: a thread that is blocked in one wakes up.

    They stay their owner's to close. Some were made of a descriptor of another, as an
    `ssl.SSLSocket`: so they are found by their descriptors.
    """
    for name in os.listdir("/proc/self/fd") if cookie else ():
        with suppress(OSError):
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            copy = os.dup(int(name))  # Another thread may close, and reuse, the number itself.
            blocking = os.get_blocking(copy)
            try:
                sock = socket.SocketType(fileno=copy)
            except OSError:
                os.close(copy)
                continue
            os.set_blocking(copy, blocking)  # As `socket.setdefaulttimeout` may have changed it.
            with closing(sock):
                if sock.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8) == cookie:
                    sock.shutdown(socket.SHUT_RDWR)


def _holder_gone() -> OSError:
    return OSError(errno.ESRCH, "the process that holds the namespace is gone")


def _as_list(command: Command, options: dict[str, Any]) -> list[str]:
    """Convert what `subprocess` accepts as a command to a list; removes `shell` from `options`."""
    if "executable" in options:
        raise TypeError(
            "the option 'executable' is not supported: put the program first in command"
        )
    if options.pop("shell", False):
        if not isinstance(command, str):
            raise TypeError("with shell=True the command must be a string")
        return ["/bin/sh", "-c", command]
    if isinstance(command, (str, os.PathLike)):
        return [os.fspath(command)]
    if not command:
        raise ValueError("the command is empty")
    return [os.fspath(word) for word in command]


def _check_command(program: str, env: Mapping[str, str] | None, cwd: str | None) -> None:
    """Raise the error of `exec` now: `nsenter` would report it as an exit status."""
    path = (os.environ if env is None else env).get("PATH", os.defpath)
    file = os.path.join(cwd or "", program) if os.sep in program else program
    if shutil.which(file, path=path) is None:
        raise _exec_error(file, [""] if os.sep in program else path.split(os.pathsep), program)


def _exec_error(file: str, folders: list[str], program: str) -> OSError:
    """The error of `exec` for a program that cannot be executed: ENOENT, or EACCES as in shells."""
    number = errno.ENOENT
    for folder in folders if program else ():
        try:
            os.stat(os.path.join(folder, file))
        except OSError as error:
            number = error.errno if os.sep in program and error.errno else number
        else:
            number = errno.EACCES
            break
    return OSError(number, os.strerror(number), program)
