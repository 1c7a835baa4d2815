"""The processes of a measurement: servers that are measured, clients, connections that are held."""

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

LANES: Final = ("tunstack", "kernel")
"""What is compared: the stack below trio's sockets."""

_PATIENCE: Final = 60.0
"""Seconds that a process may take to answer."""

HELD_PORTS: Final = range(6000, 57_000)
"""The clients' ports for connections that are held, to one server; other clients have what follows.

They must not meet the ports of `SERVICES`: what listens in the kernel's lane shares its port with
nobody.
"""

MARGIN: Final = 1000
"""Files that a server may need beside its connections."""

_USUAL: Final = 30_000
"""Connections that a server bears, with tunstack's own limits, and with kernel sockets' files."""

_HOLDER: Final = 12_000
"""Connections that one client process holds: fewer than the files it may commonly open."""


@asynccontextmanager
async def open_server(
    namespace: Namespace,
    lane: str,
    number: int = 0,
    *,
    connections: int = 0,
    options: Sequence[str] = (),
) -> AsyncIterator[Server]:
    """Start a server in the namespace; it ends with the block.

    Args:
        namespace: Where it serves, and where its clients run.
        lane: One of `LANES`.
        number: To tell several of the same lane apart, from 0 to 15.
        connections: How many it has to bear.
        options: More options of the server's.

    Raises:
        SetupError: it cannot have its device.
    """
    address = f"198.51.100.{16 * number + 2}" if lane == "tunstack" else f"127.0.0.{number + 1}"
    command = [sys.executable, "-m", "tunstack.bench.server", lane, address, *options]
    if connections > _USUAL:
        command += ["--crowd", "--files", str(connections + MARGIN)]
    async with _process(namespace, command) as process:
        yield Server(namespace, lane, address, process)


@asynccontextmanager
async def _process(namespace: Namespace, command: list[str]) -> AsyncIterator[Talker]:
    process = await namespace.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a terminal's interrupt is for us, who end it
    )
    talker = Talker(process)
    try:
        await talker.listen()
        yield talker
    finally:
        with trio.CancelScope(shield=True):
            await talker.end()


@final
class Talker:
    """A process that prints lines of JSON, some of them when it is asked to."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._pending = bytearray()
        self.first: dict[str, float] = {}

    async def listen(self) -> None:
        """Wait for the first line.

        Raises:
            SetupError: that is what the line says.
            GeneratorError: the process ended.
        """
        self.first = await self._line()

    async def ask(self) -> dict[str, float]:
        """Ask for one more line.

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
        with trio.move_on_after(_PATIENCE) as scope:
            while b"\n" not in self._pending:
                data = await self._process.stdout.receive_some()
                if not data:
                    raise await self._ended()
                self._pending += data
        if scope.cancelled_caught:
            raise GeneratorError(f"{self._process.args!r} says nothing")
        line, _, self._pending = self._pending.partition(b"\n")
        said = json.loads(line)
        if "error" in said:
            raise SetupError(said["error"])
        return dict(said)

    async def _ended(self) -> GeneratorError:
        status = await self._process.wait()
        return GeneratorError(f"{self._process.args!r} ended with status {status}")

    async def end(self) -> None:
        """End it, gently at first."""
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
    """A server that runs, and its clients; made by :func:`open_server`.

    Attributes:
        lane: One of `LANES`.
        address: Where it serves.
    """

    def __init__(self, namespace: Namespace, lane: str, address: str, talker: Talker) -> None:
        self.lane = lane
        self.address = address
        self._namespace = namespace
        self._talker = talker
        self._next_port = HELD_PORTS.start

    async def usage(self) -> dict[str, float]:
        """How it goes.

        Returns:
            Its CPU seconds so far as ``cpu``, the octets of its resident memory as ``memory``, and
            how many connections it has ``accepted``.
        """
        return await self._talker.ask()

    async def load(self, generator: Generator) -> dict[str, float]:
        """Run a load to its end.

        Returns:
            Its figures, and as ``server_cpu`` the CPU seconds that the server spent meanwhile.

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
            said = finished.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise GeneratorError(f"{generator.name} over {self.lane}: {said}")
        figures = generator.read(finished.stdout.decode())
        return figures | {"server_cpu": (await self.usage())["cpu"] - before["cpu"]}

    @asynccontextmanager
    async def holding(self, port: int, amount: int) -> AsyncIterator[None]:
        """Hold so many idle connections open."""
        if amount <= 0:
            yield
            return
        here = min(amount, _HOLDER)
        before = (await self.usage())["accepted"]
        first, self._next_port = self._next_port, self._next_port + here
        async with _process(self._namespace, hold(self.address, port, first, here).command):
            # The stack has answered them all by now; the program accepts them in its own time.
            while (await self.usage())["accepted"] < before + here:  # noqa: ASYNC110
                await trio.sleep(0.05)
            async with self.holding(port, amount - here):
                yield
