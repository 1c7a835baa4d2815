"""A port of a host while it is served: where behaviours put their rules, and what they share."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar, final

from tunstack.tcp.segment import ACK, SYN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Address, IPv6Address
    from types import TracebackType

    from tunstack.path.rules import Packet, Rule, Rules
    from tunstack.socket import TcpStream

_MOST_CONNECTIONS: Final = 10_000
"""Connections of which something is remembered; the oldest are forgotten first."""

End: TypeAlias = "tuple[IPv4Address | IPv6Address, int]"
Connection: TypeAlias = "tuple[End | None, End | None]"
"""Address and port: the local ones and the remote ones."""

T = TypeVar("T")


class Peer(Protocol):
    """What behaviours need of a host."""

    @property
    def rules(self) -> Rules:
        """Its rules on packets."""


def connection_of(packet: Packet) -> Connection:
    """Return which connection, or exchange of datagrams, a packet is of."""
    return packet.local, packet.remote


def connection_of_stream(stream: TcpStream) -> Connection | None:
    """Return which connection a stream is; None if it is gone already."""
    try:
        local, remote = stream.socket.getsockname(), stream.socket.getpeername()
    except OSError:
        return None
    return _end(*local[:2]), _end(*remote[:2])


def _end(address: str, port: int) -> End:
    return ip_address(address.partition("%")[0]), port


def selected(connection: Connection) -> dict[str, Any]:
    """Return the selection of a TCP connection's packets."""
    selection: dict[str, Any] = {"protocol": "tcp"}
    for name, end in zip(("local", "remote"), connection, strict=True):
        assert end is not None
        selection[name], selection[f"{name}_port"] = end
    return selection


@final
class PerConnection(Generic[T]):
    """A value for each connection of a port, made when its first packet is seen.

    The SYN of a new connection with the ports of an old one makes a new value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: OrderedDict[Connection, T] = OrderedDict()
        self._syns: dict[Connection, int | None] = {}

    def of(self, packet: Packet) -> T:
        """Return the value of a packet's connection."""
        connection = connection_of(packet)
        if is_syn(packet) and self._syns.get(connection) != packet.seq:
            self._values.pop(connection, None)
            self._syns[connection] = packet.seq
        return self.at(connection)

    def at(self, connection: Connection) -> T:
        """Return the value of a connection."""
        value = self._values.get(connection)
        if value is None:
            value = self._values[connection] = self._make()
            if len(self._values) > _MOST_CONNECTIONS:
                forgotten, _ = self._values.popitem(last=False)
                self._syns.pop(forgotten, None)
        return value


def is_syn(packet: Packet) -> bool:
    """Whether it is a SYN that the peer begins a connection with."""
    bits = packet.flag_bits
    return packet.direction == "in" and bits is not None and bits & (SYN | ACK) == SYN


@final
class Port:
    """A port of a host that is served: a context manager; its rules are removed at the end.

    Args:
        host: The host.
        protocol: ``"tcp"`` or ``"udp"``.
        number: The port's.
        addresses: Which of the host's addresses are concerned, or their prefixes; None for all.
        chosen: Whether something is to happen to a connection; None for all of them.
    """

    def __init__(
        self,
        host: Peer,
        protocol: str,
        number: int,
        addresses: Iterable[str | None],
        chosen: Callable[[], bool] | None = None,
    ) -> None:
        self.host = host
        self.number = number
        self.protocol = protocol
        self._addresses = [*dict.fromkeys(addresses)]
        self._chosen = None if chosen is None else PerConnection(chosen)
        self._stack = ExitStack()

    @property
    def rules(self) -> Rules:
        """The host's rules on packets."""
        return self.host.rules

    def __enter__(self) -> Port:
        if self._chosen is not None and self.protocol == "tcp":
            self._add(self.rules.call, (self._see_syn,), {"direction": "in", "flags": "SYN,!ACK"})
        return self

    def _see_syn(self, syn: Packet) -> Packet:
        """Let a connection be chosen or not by its SYN, whatever the behaviours look at."""
        assert self._chosen is not None
        self._chosen.of(syn)
        return syn

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add(self, make: Callable[..., Rule], *arguments: Any, **selection: Any) -> None:
        """Add a rule for packets of this port, and of the connections that are chosen.

        Args:
            make: What adds it, as ``host.rules.drop``.
            arguments: Its arguments.
            selection: Of which packets of the port.
        """
        where = self._where(selection.pop("where", None))
        if where is not None:
            selection["where"] = where
        self._add(make, arguments, selection)

    def _add(
        self, make: Callable[..., Rule], arguments: tuple[Any, ...], selection: dict[str, Any]
    ) -> None:
        selection |= {"protocol": self.protocol, "local_port": self.number}
        for address in self._addresses:
            local = {} if address is None else {"local": address}
            self._stack.enter_context(make(*arguments, **local, **selection))

    def _where(self, where: Callable[[Packet], bool] | None) -> Callable[[Packet], bool] | None:
        """Return a condition together with that of the connection."""
        chosen = self._chosen
        if chosen is None:
            return where
        if where is None:
            return chosen.of
        condition = where
        return lambda packet: chosen.of(packet) and condition(packet)

    def concerns_stream(self, stream: TcpStream) -> bool:
        """Whether something is to happen to the connection of a stream."""
        if self._chosen is None:
            return True
        connection = connection_of_stream(stream)
        return connection is not None and self._chosen.at(connection)
