"""The connection log of ``serve``: a line at open and close, and totals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import trio

from tunstack.cli.output.counting import CountedStream, describe
from tunstack.link.plan import parse_place
from tunstack.socket.addresses import printed

if TYPE_CHECKING:
    from collections.abc import Iterable

    import tunstack
    from tunstack.apps import App, Handler


class Report:
    """Prints the connection log, and counts totals.

    Args:
        scope: Cancelled when standard output is closed by its reader.
        stderr: Whether to print on standard error.

    Attributes:
        closed: Whether standard output was closed.
    """

    def __init__(self, scope: trio.CancelScope, *, stderr: bool = False) -> None:
        self._scope = scope
        self._stderr = stderr
        self._connections = self._broken = self._received = self._sent = 0
        self.closed = False

    def say(self, line: str) -> None:
        """Print a line."""
        if self.closed:
            return
        try:
            click.echo(line, err=self._stderr)
        except BrokenPipeError:
            self.closed = True
            self._scope.cancel()

    def serves(self, app: App, addresses: Iterable[str], port: int) -> None:
        """Print an app and its addresses."""
        for place in map(parse_place, addresses):
            where = f"all of {place}, port {port}"
            if place.address is not None:
                where = printed((str(place.address), port))
            self.say(f"{app} on {where}")

    def count(self, received: int, sent: int, *, broken: bool) -> None:
        """Add a closed connection to the totals, with its octets in each direction."""
        self._connections += 1
        self._broken += broken
        self._received += received
        self._sent += sent

    def handle_message(self, _number: int, what: tuple[Any, ...]) -> None:
        """Process a message of a worker's `RemoteReport`."""
        match what:
            case ("say", line):
                self.say(line)
            case ("count", received, sent, broken):
                self.count(received, sent, broken=broken)

    def print_totals(self) -> None:
        """Print the totals, if there were connections."""
        if self._connections:
            plural = "" if self._connections == 1 else "s"
            self.say(
                f"{self._connections} connection{plural}, {self._broken} of them broken;"
                f" {self._received} bytes in, {self._sent} bytes out"
            )


class RemoteReport:
    """A worker's :class:`Report`, which sends everything to the parent's."""

    def __init__(self, worker: tunstack.Worker) -> None:
        self._worker = worker

    def say(self, line: str) -> None:
        """Print a line in the parent."""
        self._worker.tell(("say", line))

    def count(self, received: int, sent: int, *, broken: bool) -> None:
        """Add a closed connection to the parent's totals."""
        self._worker.tell(("count", received, sent, broken))


class Reported:
    """A handler that wraps an app's, and reports the opening and closing of each connection.

    Args:
        app: The app.
        port: Its port.
        report: Where to report.
        handler: The app's; by default that of an app without TLS.
    """

    def __init__(
        self, app: App, port: int, report: Report | RemoteReport, handler: Handler | None = None
    ) -> None:
        self._label = f"{app.name}:{port}"
        self._handler = app.handler if handler is None else handler
        self._report = report

    async def __call__(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        who = f"{_peer_of(stream)} {self._label}"
        counted = CountedStream(stream)
        begun = trio.current_time()
        self._report.say(f"{who} open")
        how = "closed"
        try:
            await self._handler(counted)
        except trio.Cancelled:
            how = "interrupted"
            raise
        except BaseException as error:
            how = f"failed: {error!r}"
            raise
        finally:
            if counted.broken is not None:
                how = describe(counted.broken)
            self._report.count(counted.received, counted.sent, broken=how != "closed")
            self._report.say(
                f"{who} {how}: {counted.received} bytes in, {counted.sent} bytes out,"
                f" {trio.current_time() - begun:.3f} s"
            )


def _peer_of(stream: trio.SocketStream) -> str:
    try:
        address, port = stream.socket.getpeername()[:2]
    except OSError:  # The connection was reset before it was accepted.
        return "(gone)"
    return printed((address, port))
