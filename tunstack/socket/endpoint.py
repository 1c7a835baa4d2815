"""The interface between sockets and a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from tunstack.ip.datagram import Buffer
    from tunstack.path.rules import Rule, Rules
    from tunstack.path.rules.packet import Direction
    from tunstack.socket.answers import Answers
    from tunstack.socket.reads import LargeReads
    from tunstack.stack.flow import Flow
    from tunstack.stack.stack import Stack
    from tunstack.stack.udp_route import Route
    from tunstack.udp.sock import UdpSock


class NameResolver(Protocol):
    """What looks up names, as a `trio.abc.HostnameResolver` that takes a `str` too."""

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look up a name, as `socket.getaddrinfo` does."""

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
        """Look up the name of an address, as `socket.getnameinfo` does."""


class SocketMaker(Protocol):
    """What makes the sockets of a task, and looks up names for it: a host.

    Attributes:
        resolver: What looks up names; None for trio's.
    """

    @property
    def resolver(self) -> NameResolver | None: ...  # noqa: D102

    def check_speaks(self, family: int, type: int, proto: int) -> None:
        """Raise OSError (EAFNOSUPPORT, EPROTONOSUPPORT) for what is not supported."""

    def has_family(self, family: int) -> bool:
        """Whether it has addresses of a family."""

    def socket(
        self, family: int = ..., type: int = ..., proto: int = ...
    ) -> trio.socket.SocketType:
        """Create a socket."""


class Endpoint(SocketMaker, Protocol):
    """A stack, and the I/O after calls to it.

    After any call to `stack` that changes a connection, call :meth:`flush`.

    Attributes:
        stack: The endpoint, sans-IO.
        ended: Whether it has ended.
        answers: Those that are held until their connection is closed.
        large_reads: How many streams may read much at a time.
        rules: The rules on its packets.
    """

    stack: Stack
    ended: bool
    answers: Answers
    large_reads: LargeReads

    @property
    def rules(self) -> Rules: ...  # noqa: D102

    def silence(self, flow: Flow, directions: tuple[Direction, ...]) -> None:
        """Drop the packets of a connection from now on."""

    def end_with(self, flow: Flow, rule: Rule) -> None:
        """Remove a rule on packets of a connection some time after that is gone."""

    def check_link(self) -> None:
        """Raise OSError (ENETDOWN) if the host has ended or its device is gone."""

    def send(self, flow: Flow, data: Buffer, *, urgent: bool = False, more: bool = False) -> int:
        """Queue `data`, as `Stack.send` does, and transmit."""

    def send_datagram(
        self, sock: UdpSock, route: Route, data: Buffer, segment_size: int = 0
    ) -> None:
        """Send as `stack.datagrams` does, and write it, perhaps with what follows soon."""

    def write(self) -> None:
        """Write all outgoing packets, as far as the link takes them."""

    async def wait_drained(self) -> None:
        """Wait until the link has taken what it could not take at once."""

    def flush(self) -> None:
        """Transmit after calls to `stack`."""

    def add_listener(self, close: Callable[[], None]) -> None:
        """Call `close` at the end of the host, or when its device is gone."""

    def remove_listener(self, close: Callable[[], None]) -> None:
        """Undo :meth:`add_listener`."""
