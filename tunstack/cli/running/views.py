"""What shows or records a running host, each if it is wanted.

Packets, for ``--pcap``, ``--trace`` and ``--stats``; the terminal, for ``--watch``; and the page,
for ``--page``. What draws them is imported only then.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import click
import trio

from tunstack.cli.options.page import NAMES
from tunstack.deploy.naming import own_addresses
from tunstack.socket.addresses import printed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from os import PathLike

    from tunstack import Host
    from tunstack.stack.observation import Observation

    Tap: TypeAlias = Callable[[Observation], None]


@asynccontextmanager
async def watching(
    program: str = "tunstack",
    *,
    pcap: str | PathLike[str] | None,
    trace: bool,
    stats: bool = False,
    names: tuple[str, str] = ("peer", "tunstack"),
) -> AsyncIterator[Tap | None]:
    """Create the tap for a host; the end of the block writes and prints all of its packets.

    Args:
        program: The prefix of messages.
        pcap: The file for the capture, `-` for standard output, or None.
        trace: Whether to draw the ladder on standard error.
        stats: Whether to print the times of connections on standard error, at the end.
        names: Of its columns.

    Raises:
        Failure: the file cannot be written.
    """
    if pcap is None and not trace and not stats:
        yield None
        return
    from tunstack.cli.output.observing import Capture, Watcher
    from tunstack.ladder.timing import Timings

    capture = None if pcap is None else Capture(pcap, program)
    watcher = Watcher(capture, names if trace else None, program, Timings() if stats else None)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.draw_continuously)
            yield watcher.tap
            nursery.cancel_scope.cancel()
    finally:
        watcher.finish()


@asynccontextmanager
async def watched(
    host: Host, watch: bool, program: str, quit: Callable[[], None], *, page: int | None = None
) -> AsyncIterator[None]:
    """Show a host while the block runs, if that is wanted.

    Args:
        host: The host.
        watch: The option.
        program: What is written in the first line.
        quit: Called when the user wants to leave.
        page: The port of the host's own page, whose connections are left out.
    """
    if not watch:
        yield
        return
    from tunstack.cli.top.showing import show

    async with show(host, program, quit, without=page):
        yield


@asynccontextmanager
async def page_served(
    host: Host, page: int | None, names: Iterable[str] = NAMES
) -> AsyncIterator[None]:
    """Serve the page on its port while the block runs, if there is to be one, and say where."""
    if page is None:
        yield
        return
    from tunstack.live.page import serve_page

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_page, host, page, names=names))
        address = own_addresses(map(str, host.addresses))[0]
        click.echo(f"page on http://{printed((address, page))}/", err=True)
        yield
        nursery.cancel_scope.cancel()
