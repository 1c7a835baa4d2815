"""A web page that shows a running host, served by the host itself.

:func:`serve_page` serves it on a port of the host: ``/`` is the page, with its style and its script
in it, and ``/data`` is what it asks for again and again, as JSON, which programs can read too. It
only shows: ``GET`` and ``HEAD``, and nothing else, and nothing of the host can be changed.

Each connection to ``/data`` is somebody who looks, with a :class:`~tunstack.live.View` of its own,
until it is closed or no longer asks. A viewer who is slow asks less often, and misses samples.
While nobody looks nothing is sampled or observed.

`document` makes the page of ``page.html``, ``page.css`` and ``page.js``; `requests` says what is
answered, as a function of the request; `looking` has those who look, and whose turn it is; `data`
makes the JSON; `server` has the connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tunstack.live.port import PORT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.host.host import Host
    from tunstack.socket import TcpListener


async def serve_page(
    host: Host,
    port: int = PORT,
    *,
    names: Iterable[str] = (),
    task_status: trio.TaskStatus[list[TcpListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a page that shows `host` at work, on a port of its own addresses, until cancelled.

    ::

        await nursery.start(serve_page, host)  # http://198.51.100.2:8000/

    The page only shows. While nobody has it open it costs nothing, and while somebody has, samples
    take at most 2 % of the time, whoever asks and however often. Its own connections are left out
    of what it shows, or marked.

    Args:
        host: The host.
        port: From 1 to 65535, or 0 for any that is free.
        names: The names under which browsers may reach it, beside its addresses: ``"peer.test"``,
            ``"*.peer.test"``. Requests for other names are refused: pages of other sites could
            have sent them.
        task_status: Started with the listeners, as of :meth:`Host.serve_tcp`.

    Raises:
        OSError: EADDRINUSE; ENETDOWN, the device is gone.
        SetupError: h11 is not installed (the extra ``http``).
    """
    from tunstack.live.page.server import Site  # It needs h11.

    await host.serve_tcp(Site(host, names).serve, port, task_status=task_status)


__all__ = ["PORT", "serve_page"]
