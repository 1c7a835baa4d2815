"""What ``tunstack bridge`` does: two networks, the path between them, and the command."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

import tunstack
from tunstack.cli.options.host import stdout_beside
from tunstack.cli.output.files import open_output, output_title
from tunstack.cli.output.keylog import key_log
from tunstack.cli.running.execution import execute, in_foreground, run_inside
from tunstack.cli.status import Failure, OutputClosed, print_error
from tunstack.deploy.bridge import LEFT, RIGHT

if TYPE_CHECKING:
    from tunstack.path.impair import Impairments

_LISTEN_TIMEOUT: Final = 2.0
"""Seconds to wait for the server to listen; then the command runs anyway."""
_LISTEN: Final = "0A"
"""TCP_LISTEN in /proc/net/tcp."""


def bridge(
    command: tuple[str, ...],
    impair: tuple[Impairments, Impairments],
    *,
    server: str | None,
    mtu: int | None,
    ipv6: bool,
    pcap: str | None,
    seed: int | None,
) -> int:
    """Run `command`; returns its exit status.

    Args:
        command: The program and its arguments.
        impair: Of packets from its network, and to it.
        server: The option.
        mtu: The option.
        ipv6: The option.
        pcap: The option.
        seed: The option.
    """
    running = False
    stdout = stdout_beside(pcap)

    async def main() -> int:
        nonlocal running
        keys = None if pcap is None else key_log()
        with ExitStack() as stack:
            capture = None if pcap is None else stack.enter_context(open_output(pcap))
            async with (
                tunstack.open_bridge(
                    impair, seed=seed, mtu=mtu or 1500, ipv6=ipv6, capture=capture
                ) as joined,
                trio.open_nursery() as nursery,
            ):
                _check_capture(joined.statistics(), pcap)
                if server is not None:
                    shell = ["sh", "-c", server]
                    run = partial(joined.right.run_process, shell, stdout=stdout, check=False)
                    await _wait_until_it_listens(joined.right, await nursery.start(run))
                begun = trio.current_time()
                running = True
                status = await run_inside(joined.left, command, RIGHT, stdout=stdout)
                running = False
                counts = joined.statistics()
                _report(counts, trio.current_time() - begun)
                if missing := counts.get("unrecorded"):
                    why = os.strerror(counts["unrecorded_errno"])
                    print_error("tunstack bridge", f"the capture lacks {missing} packets: {why}")
                nursery.cancel_scope.cancel()
        if pcap is not None and keys is not None:
            keys.put_first(pcap)
        return status

    def is_for_the_command(number: int) -> bool:
        return number == signal.SIGINT and running and in_foreground()

    return execute("tunstack bridge", main, ignore=is_for_the_command)


async def _wait_until_it_listens(namespace: tunstack.Namespace, server: trio.Process) -> None:
    """Wait until the server listens or has exited, with a timeout.

    Raises:
        Failure: it has failed.
    """
    with trio.move_on_after(_LISTEN_TIMEOUT):
        # Polling: the kernel has no notification of it.
        while server.poll() is None and not _listens(namespace):  # noqa: ASYNC110
            await trio.sleep(0.01)
    if server.returncode:
        raise Failure(f"the server failed with exit status {server.returncode}")


def _listens(namespace: tunstack.Namespace) -> bool:
    """Whether any TCP socket in the namespace listens."""
    for name in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/{namespace.pid}/net/{name}").read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        if any(row.split()[3] == _LISTEN for row in rows):
            return True
    return False


def _check_capture(statistics: dict[str, int], pcap: str | None) -> None:
    """Check that the capture's header was written.

    Raises:
        Failure: it was not.
        OutputClosed: standard output was closed by its reader.
    """
    if pcap is not None and (number := statistics.get("unrecorded_errno")):
        if number == errno.EPIPE:
            raise OutputClosed
        raise Failure(f"cannot write {output_title(pcap)}: {os.strerror(number)}")


def _report(statistics: dict[str, int], seconds: float) -> None:
    """Print the path's counters of each direction."""
    for way, name in (("out", f"{LEFT} -> {RIGHT}"), ("in", f"{RIGHT} -> {LEFT}")):
        counts = {
            key.removeprefix(f"{way}_"): value
            for key, value in statistics.items()
            if key.startswith(f"{way}_")
        }
        size = counts.pop("delivered_bytes")
        packets = ", ".join(f"{value} {what}" for what, value in counts.items() if value)
        print(
            f"{name}: {size} bytes, {size * 8 / max(seconds, 1e-9) / 1e6:.2f} Mbit/s;"
            f" packets: {packets or 'none'}",
            file=sys.stderr,
        )
