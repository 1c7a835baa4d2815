"""Serves names over UDP and TCP (RFC 1035 section 4.2, RFC 7766), on any trio sockets."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.dns.sizes import LONGEST_QUERY

if TYPE_CHECKING:
    from tunstack.dns.answers import Responder
    from tunstack.dns.names import Names

PORT: Final = 53

_IP_PKTINFO: Final = 8  # `socket` has it since Python 3.14.
_ANCILLARY: Final = 64
"""Octets for the destination address of a datagram."""
_READ_SIZE: Final = 4096
_LATE: Final = 1000
"""Replies at most that wait for their delay to pass; further ones are dropped."""


@final
class DnsServer:
    """The handlers of a DNS server, for `Host.serve_udp` and `Host.serve_tcp`, or `trio.serve_tcp`.

    All of its sockets share the counts, and the first queries of a fault. Example::

        server = DnsServer(Names({"www.test": "198.51.100.2"}))
        await nursery.start(host.serve_udp, server.datagram_handler, 53)
        await nursery.start(host.serve_tcp, server.handler, 53)

    Args:
        names: What it knows.
        max_connections: TCP connections at a time; further ones are closed at once.
        idle_timeout: Seconds in which a query must have come, and a reply been taken, over TCP.
    """

    def __init__(
        self, names: Names, *, max_connections: int = 200, idle_timeout: float = 10.0
    ) -> None:
        self._names = names
        if names.ready:
            _ = self._responder
        self._max_connections = max_connections
        self._idle_timeout = idle_timeout
        self._connections = 0
        self._late = 0

    @cached_property
    def _responder(self) -> Responder:
        from tunstack.dns.answers import Responder

        return Responder(self._names)

    def statistics(self) -> dict[str, int]:
        """Return all counters: those of `Responder.counts`, and of connections.

        These are ``connections``, ``connections_refused``, ``connections_idle``,
        ``connections_too_long`` (a length that no query has), ``dropped_late``, ``not_sent``.
        """
        return dict(self._responder.counts)

    def _count(self, what: str) -> None:
        self._responder.counts[what] += 1

    async def datagram_handler(self, sock: trio.socket.SocketType) -> None:
        """Answer the datagrams of a bound socket, until cancelled; from where they were sent to."""
        pktinfo = _told_destination(sock)
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    query, ancillary, _, source = await sock.recvmsg(LONGEST_QUERY + 1, _ANCILLARY)
                except ConnectionError:
                    continue  # An ICMP error about an earlier answer.
                reply = self._responder.respond(query, stream=False)
                if reply is None:
                    continue
                datagram = (
                    [reply.octets],
                    [each for each in ancillary if each[:2] == pktinfo],
                    0,
                    source,
                )
                if not reply.delay:
                    await self._send(sock, datagram)
                elif self._late < _LATE:
                    self._late += 1
                    nursery.start_soon(self._send_late, sock, datagram, reply.delay)
                else:
                    self._count("dropped_late")

    async def _send(self, sock: trio.socket.SocketType, datagram: tuple[Any, ...]) -> None:
        try:
            await sock.sendmsg(*datagram)
        except OSError:
            self._count("not_sent")
            sock.getsockname()  # Raises, if it is the socket that is at fault.

    async def _send_late(
        self, sock: trio.socket.SocketType, datagram: tuple[Any, ...], delay: float
    ) -> None:
        try:
            await trio.sleep(delay)
            await self._send(sock, datagram)
        finally:
            self._late -= 1

    async def handler(self, stream: trio.abc.Stream) -> None:
        """Answer the queries of a connection, in their order, until the client ends or idles."""
        self._count("connections")
        if self._connections >= self._max_connections:
            self._count("connections_refused")
            await stream.aclose()
            return
        self._connections += 1
        try:
            with suppress(trio.BrokenResourceError):
                await self._serve(stream)
        finally:
            self._connections -= 1

    async def _serve(self, stream: trio.abc.Stream) -> None:
        unread = bytearray()
        while True:
            with trio.move_on_after(self._idle_timeout) as idle:
                query = await _next_query(stream, unread)
            if idle.cancelled_caught:
                self._count("connections_idle")
                return
            if query is None:
                return
            if len(query) > LONGEST_QUERY:
                self._count("connections_too_long")
                return
            reply = self._responder.respond(query, stream=True)
            if reply is None:
                continue
            if reply.delay:
                await trio.sleep(reply.delay)
            with trio.move_on_after(self._idle_timeout) as idle:
                await stream.send_all(len(reply.octets).to_bytes(2, "big") + reply.octets)
            if idle.cancelled_caught:
                self._count("connections_idle")
                return


def _told_destination(sock: trio.socket.SocketType) -> tuple[int, int]:
    """Ask for the destinations of datagrams; returns level and type of what tells them."""
    if sock.family == trio.socket.AF_INET6:
        level = trio.socket.IPPROTO_IPV6
        sock.setsockopt(level, trio.socket.IPV6_RECVPKTINFO, 1)
        return level, trio.socket.IPV6_PKTINFO
    sock.setsockopt(trio.socket.IPPROTO_IP, _IP_PKTINFO, 1)
    return trio.socket.IPPROTO_IP, _IP_PKTINFO


async def _next_query(stream: trio.abc.Stream, unread: bytearray) -> bytes | None:
    """Read the next message; None at the end of the stream.

    Of one that is longer than a query can be, only so much is returned that this is seen.
    """
    while True:
        if len(unread) >= 2:
            size = min(int.from_bytes(unread[:2], "big"), LONGEST_QUERY + 1)
            if len(unread) >= 2 + size:
                query = bytes(unread[2 : 2 + size])
                del unread[: 2 + size]
                return query
        data = await stream.receive_some(_READ_SIZE)
        if not data:
            return None
        unread += data
