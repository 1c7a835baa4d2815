"""One connection to an ASGI application: HTTP/1.1, HTTP/2 or WebSocket, by hypercorn's protocols.

hypercorn's `TCPServer` does the same for its own sockets; this takes any stream. What it does
otherwise:

- A write that the peer does not take ends when the server ends.
- The end of the peer's half does not end the request in hand, for some seconds.
- A fault that a peer's frames find in the protocol ends their connection, with a line in the log.
- Frames without use are limited (:mod:`tunstack.apps.asgi.frames`).
"""

from __future__ import annotations

import logging
import math
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

import trio
from h2.settings import SettingCodes, Settings
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState

from tunstack.apps.asgi.buffers import Buffers
from tunstack.apps.asgi.frames import Flood, FrameCredit
from tunstack.apps.asgi.http2 import Http2
from tunstack.apps.asgi.tasks import Tasks

if TYPE_CHECKING:
    from hypercorn.events import Event

    from tunstack.apps.asgi.shared import Shared
    from tunstack.apps.asgi.tasks import Send

_Protocol = TypeVar("_Protocol", H11Protocol, Http2)

logger = logging.getLogger("tunstack")

_READ_SIZE: Final = 65536
_EOF_SECONDS: Final = 5.0
"""Seconds for the answer to a peer that has ended its half."""
_END_SECONDS: Final = 3.0
"""Seconds for the application to notice that a connection has ended."""
_FIRST_WINDOW: Final = 65535
_WINDOW: Final = 1 << 20
"""Octets of a body on their way, of a stream and of all; TCP holds back what is not read."""
_GOAWAY: Final = struct.Struct("!BHBBIII")
"""The frame (RFC 9113 section 6.8)."""
_GOAWAY_SECONDS: Final = 1.0
_INTERNAL_ERROR: Final = 0x2


@final
class Connection:
    """One connection of a server.

    Args:
        shared: The application, and how it is served.
        stream: What carries it; the caller closes it.
        tls: Whether that is TLS.
        alpn: The protocol that TLS has chosen (RFC 7301).
    """

    def __init__(
        self, shared: Shared, stream: trio.abc.Stream, *, tls: bool, alpn: str | None = None
    ) -> None:
        self._shared = shared
        self._stream = stream
        self._tls = tls
        self._sending = trio.Lock()
        self._writes: set[trio.CancelScope] = set()
        self._reading = trio.CancelScope()
        self._idle = trio.Event()
        self._idle.set()
        self._credit: FrameCredit | None = None
        self._http2 = alpn == "h2"
        self._protocol: H11Protocol | Http2

    async def run(self) -> None:
        """Serve requests until either side ends the connection."""
        try:
            async with trio.open_nursery() as nursery:
                self._tasks = Tasks(nursery, self._abandon)
                nursery.start_soon(self._free_writes)
                await self._serve()
                with trio.move_on_after(_END_SECONDS):
                    await self._tasks.wait_ended()
                nursery.cancel_scope.cancel()
        except Exception as error:
            self._shared.refused["fault"] += 1
            logger.warning("HTTP connection ended: %s", _name(error))

    async def _serve(self) -> None:
        if self._http2:
            await self._switch(b"")
        else:
            self._protocol = self._make(H11Protocol)
        try:
            with self._reading:
                self._reading.deadline = trio.current_time() + self._shared.idle_seconds
                await self._read()
        except Flood as flood:
            await self._go_away(flood)
        await self._handle(Closed())

    def _make_http2(self) -> Http2:
        protocol = self._make(Http2)
        protocol.streams = _Streams()
        protocol.stream_buffers = Buffers()
        settings = protocol.connection.local_settings
        protocol.connection.local_settings = Settings(
            client=False,
            initial_values={
                **{SettingCodes(code): value for code, value in settings.items()},
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
            },
        )
        self._credit = FrameCredit(trio.current_time())
        return protocol

    def _make(self, kind: type[_Protocol]) -> _Protocol:
        shared = self._shared
        return kind(
            shared.app,
            shared.config,
            shared.context,
            self._tasks,  # type: ignore[arg-type]
            ConnectionState(shared.state.copy()),
            self._tls,
            _address(self._stream, "getpeername"),
            _address(self._stream, "getsockname"),
            self._send,
        )

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.receive_some(_READ_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            await self._handle(RawData(bytes(data)))
            if not data:
                break
        with trio.move_on_after(_EOF_SECONDS):
            await self._idle.wait()

    async def _handle(self, event: Event) -> None:
        if isinstance(event, RawData) and self._credit is not None:
            self._credit.receive(event.data, trio.current_time())
        try:
            await self._protocol.handle(event)
        except H2ProtocolAssumedError as error:
            await self._switch(error.data)
        except H2CProtocolRequiredError as error:
            await self._switch(error.data, error.headers, error.settings)
        if self._tasks.too_many and not isinstance(event, Closed):
            raise Flood("too many requests at a time")

    async def _switch(
        self,
        data: bytes,
        headers: list[tuple[bytes, bytes]] | None = None,
        settings: bytes | None = None,
    ) -> None:
        """Go on with HTTP/2 (RFC 9113 section 3.3; RFC 7540 section 3.2)."""
        self._http2 = True
        self._protocol = protocol = self._make_http2()
        await protocol.initiate(headers, settings)
        protocol.connection.increment_flow_control_window(_WINDOW - _FIRST_WINDOW)
        await self._write(protocol.connection.data_to_send())
        if headers is None:  # What was taken for a request was the preface.
            await self._send(Updated(idle=True))
        if data:
            await self._handle(RawData(data))

    async def _send(self, event: Event) -> None:
        """Do what the protocol wants done."""
        if isinstance(event, RawData):
            if not await self._write(event.data):
                self._reading.cancel()
        elif isinstance(event, Closed):
            self._idle.set()
            self._reading.cancel()
        elif isinstance(event, Updated):
            if event.idle:
                self._idle.set()
                self._reading.deadline = trio.current_time() + self._shared.idle_seconds
            else:
                self._idle = trio.Event()
                self._reading.deadline = math.inf

    async def _write(self, data: bytes) -> bool:
        """Write, whole even if the caller is cancelled; returns whether the stream still works.

        An application may give up a send, but part of a record or of a frame would ruin all
        others.
        """
        async with self._sending:
            with trio.CancelScope(shield=True) as scope:
                self._writes.add(scope)
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return False
                finally:
                    self._writes.discard(scope)
            if scope.cancelled_caught:
                return False
        if self._credit is not None:
            self._credit.sent(len(data))
        return True

    async def _free_writes(self) -> None:
        """When the connection is cancelled, cancel the writes that hold it up."""
        try:
            await trio.sleep_forever()
        finally:
            for scope in self._writes:
                scope.cancel()

    async def _abandon(self, send: Send) -> None:
        """Reset the stream of a response that does not go on; HTTP/1.1 closes the connection."""
        owner = getattr(send, "__self__", None)
        if isinstance(owner, HTTPStream) and isinstance(self._protocol, Http2):
            with suppress(Exception):  # The peer may have ended it.
                self._protocol.connection.reset_stream(owner.stream_id, _INTERNAL_ERROR)
                await self._write(self._protocol.connection.data_to_send())

    async def _go_away(self, flood: Flood) -> None:
        self._shared.refused["flood"] += 1
        logger.info("HTTP connection refused: %s", flood)
        if not self._http2:
            return
        frame = _GOAWAY.pack(0, 8, 7, 0, 0, (1 << 31) - 1, flood.code)
        with trio.move_on_after(_GOAWAY_SECONDS), suppress(trio.BrokenResourceError):
            async with self._sending:
                await self._stream.send_all(frame)


class _Streams(dict[int, Any]):
    """The streams of a connection; those that have ended take events too, and discard them.

    DATA may follow the end of a response, and hypercorn looks its stream up all the same.
    """

    def __missing__(self, number: int) -> _Ended:
        return _Ended()


class _Ended:
    idle = True

    async def handle(self, event: object) -> None:
        await trio.lowlevel.checkpoint()


def _address(stream: trio.abc.Stream, which: str) -> tuple[str, int] | None:
    """The address and port of one end of a stream, through TLS; None if it has none."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    sock = getattr(stream, "socket", None)
    try:
        address = getattr(sock, which)()
    except (AttributeError, OSError):
        return None
    return address[0], address[1]


def _name(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_name(each) for each in error.exceptions)
    return repr(error)
