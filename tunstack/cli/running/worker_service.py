"""The service of the workers of ``serve`` and ``run``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from tunstack.apps.serving import open_handlers, start_app
from tunstack.cli.output.reporting import RemoteReport, Reported

if TYPE_CHECKING:
    from collections.abc import Mapping

    import tunstack
    from tunstack.apps import App
    from tunstack.deploy.authority import Identity


async def serve_apps(
    worker: tunstack.Worker,
    *,
    apps: tuple[tuple[App, int], ...],
    identities: Mapping[str, Identity],
    reports: bool,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the apps, each on its port.

    Args:
        worker: The worker.
        apps: The apps and their ports.
        identities: The certificates that they show.
        reports: Whether to report each connection to the parent.
        task_status: Started when all apps listen.
    """
    logging.basicConfig(format=f"tunstack {'serve' if reports else 'run'}: %(message)s")
    for app, _ in apps:
        app.load()
    report = RemoteReport(worker)
    async with (
        open_handlers(apps, identities) as handlers,
        trio.open_nursery() as nursery,
    ):
        for (app, port), handler in zip(apps, handlers, strict=True):
            served = Reported(app, port, report, handler) if reports else handler
            await start_app(nursery, worker.host, app, port, served, by_protocol=not reports)
        task_status.started()
