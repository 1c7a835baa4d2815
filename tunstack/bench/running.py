"""The processes of a measurement: measured servers, load generators, holders of connections."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, final

import trio

from tunstack.bench.generators import GeneratorError, hold
from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tunstack.bench.generators import Generator
    from tunstack.deploy.namespace import Namespace

BACKENDS: Final = ("tunstack", "kernel")
"""What is compared: the TCP stack below trio's sockets."""

_REPLY_TIMEOUT: Final = 60.0
"""Seconds that a process may take to print a line."""

HELD_PORTS: Final = range(6000, 57_000)
"""Local ports of held connections; the ephemeral ports of other clients follow.

They must not include the ports of `SERVICES`, on which the kernel's backend listens.
"""

MARGIN: Final = 1000
"""Descriptors that a server may need beside its connections."""

_DEFAULT_CONNECTIONS: Final = 30_000
"""Connections that a server supports with tunstack's default limits and RLIMIT_NOFILE."""

_MAX_PER_CLIENT: Final = 12_000
"""Connections of one client process, below the usual RLIMIT_NOFILE."""


@asynccontextmanager
async def open_server(
    namespace: Namespace,
    backend: str,
    number: int = 0,
    *,
    ipv6: bool = False,
    connections: int = 0,
    options: Sequence[str] = (),
) -> AsyncIterator[Server]:
    """Start a server in the namespace; it ends with the block.

    Args:
        namespace: Of the server and its clients.
        backend: One of `BACKENDS`.
        number: Distinguishes servers of the same backend, from 0 to 15.
        ipv6: Whether its address is of IPv6; the kernel's backend has only one of that.
        connections: The number of connections it must support.
        options: More command-line options of the server.

    Raises:
        SetupError: its device cannot be created.
    """
    own = 16 * number + 2
    if backend == "tunstack":
        address = f"2001:db8::{own:x}" if ipv6 else f"198.51.100.{own}"
    else:
        address = "::1" if ipv6 else f"127.0.0.{number + 1}"
    command = [sys.executable, "-m", "tunstack.bench.server", backend, address, *options]
    if connections > _DEFAULT_CONNECTIONS:
        command += ["--crowd", "--files", str(connections + MARGIN)]
    async with _open_process(namespace, command) as process:
        yield Server(namespace, backend, address, process)


@asynccontextmanager
async def _open_process(namespace: Namespace, command: list[str]) -> AsyncIterator[JsonProcess]:
    opened = await namespace.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us, who end it.
    )
    process = JsonProcess(opened)
    try:
        await process.wait_started()
        yield process
    finally:
        with trio.CancelScope(shield=True):
            await process.stop()


@final
class JsonProcess:
    """A process that prints a line of JSON when it has started, and one for each line of input."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._pending = bytearray()

    async def wait_started(self) -> None:
        """Wait for the first line.

        Raises:
            SetupError: the line has an error.
            GeneratorError: the process ended.
        """
        await self._line()

    async def query(self) -> dict[str, float]:
        """Request one more line.

        Raises:
            GeneratorError: the process ended.
        """
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(b"\n")
        except trio.BrokenResourceError:
            raise await self._ended() from None
        return await self._line()

    async def _line(self) -> dict[str, float]:
        assert self._process.stdout is not None
        with trio.move_on_after(_REPLY_TIMEOUT) as scope:
            while b"\n" not in self._pending:
                data = await self._process.stdout.receive_some()
                if not data:
                    raise await self._ended()
                self._pending += data
        if scope.cancelled_caught:
            raise GeneratorError(f"{self._process.args!r} printed nothing")
        line, _, self._pending = self._pending.partition(b"\n")
        figures = json.loads(line)
        if "error" in figures:
            raise SetupError(figures["error"])
        return dict(figures)

    async def _ended(self) -> GeneratorError:
        status = await self._process.wait()
        return GeneratorError(f"{self._process.args!r} ended with status {status}")

    async def stop(self) -> None:
        """Close its input, and kill it if it does not exit within 5 s."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdin.aclose()
        with trio.move_on_after(5):
            await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._process.stdout.aclose()


@final
class Server:
    """A running server and its clients; returned by :func:`open_server`.

    Attributes:
        backend: One of `BACKENDS`.
        address: The server's.
    """

    def __init__(
        self, namespace: Namespace, backend: str, address: str, process: JsonProcess
    ) -> None:
        self.backend = backend
        self.address = address
        self._namespace = namespace
        self._process = process
        self._next_port = HELD_PORTS.start

    async def usage(self) -> dict[str, float]:
        """Return the server's resource usage.

        Returns:
            ``cpu`` seconds so far, resident ``memory`` in octets, and connections ``accepted``.
        """
        return await self._process.query()

    async def load(self, generator: Generator) -> dict[str, float]:
        """Run a load generator to its end.

        Returns:
            Its figures, and as ``server_cpu`` the server's CPU seconds meanwhile.

        Raises:
            GeneratorError: it failed.
        """
        before = await self.usage()
        finished = await self._namespace.run_process(
            generator.command,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            start_new_session=True,
        )
        if finished.returncode:
            message = finished.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise GeneratorError(f"{generator.name} over {self.backend}: {message}")
        figures = generator.read(finished.stdout.decode())
        return figures | {"server_cpu": (await self.usage())["cpu"] - before["cpu"]}

    @asynccontextmanager
    async def holding(self, port: int, amount: int) -> AsyncIterator[None]:
        """Hold `amount` idle connections open."""
        if amount <= 0:
            yield
            return
        here = min(amount, _MAX_PER_CLIENT)
        before = (await self.usage())["accepted"]
        first, self._next_port = self._next_port, self._next_port + here
        async with _open_process(self._namespace, hold(self.address, port, first, here).command):
            # All are ESTABLISHED by now, but not all accepted.
            while (await self.usage())["accepted"] < before + here:  # noqa: ASYNC110
                await trio.sleep(0.05)
            async with self.holding(port, amount - here):
                yield
