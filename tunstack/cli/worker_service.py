"""The service of the workers of ``serve`` and ``run``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from tunstack.cli.reporting import RemoteReport, Reported

if TYPE_CHECKING:
    import tunstack
    from tunstack.apps import App


async def serve_apps(
    worker: tunstack.Worker,
    *,
    apps: tuple[tuple[App, int], ...],
    reports: bool,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the apps, each on its port.

    Args:
        worker: The worker.
        apps: The apps and their ports.
        reports: Whether to report each connection to the parent.
        task_status: Started when all apps listen.
    """
    logging.basicConfig(format=f"tunstack {'serve' if reports else 'run'}: %(message)s")
    report = RemoteReport(worker)
    async with trio.open_nursery() as nursery:
        for app, port in apps:
            handler = Reported(app, port, report) if reports else app.handler
            await nursery.start(worker.host.serve_tcp, handler, port)
            if app.datagram_handler is not None:
                await nursery.start(worker.host.serve_udp, app.datagram_handler, port)
        task_status.started()
