"""Behaviours of the opening of a connection: no answer, a refusal, a late one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import trio

from tunstack.behaviours.base import TCP_AND_UDP, Behaviour, Parameter
from tunstack.behaviours.port import PerConnection
from tunstack.behaviours.values import COUNT, NUMBER, SECONDS, choice

if TYPE_CHECKING:
    from tunstack.behaviours.port import Port
    from tunstack.path.rules import Packet

SYN: Final = "SYN,!ACK"


@dataclass(frozen=True)
class Silent(Behaviour):
    """No packet is answered, as by a firewall that drops."""

    name = "silent"
    summary = "SYNs and datagrams are dropped: connect() times out"
    example = "silent"
    copes = "Limit connecting to seconds, not to the system's two minutes; try the next address."
    part = "opening"
    protocols = TCP_AND_UDP
    excludes_all = True

    def install(self, port: Port) -> None:
        """Drop what comes."""
        port.add(port.rules.drop, direction="in")


@dataclass(frozen=True)
class Refuse(Behaviour):
    """Each SYN is answered with a RST, as where no program listens."""

    name = "refuse"
    summary = "a SYN is answered with RST, a datagram with port unreachable: ECONNREFUSED"
    example = "refuse"
    copes = (
        "Try the next address at once; retry later, with pauses that grow and are partly random."
    )
    part = "opening"
    protocols = TCP_AND_UDP
    excludes_all = True

    def install(self, port: Port) -> None:
        """Answer in the stack's place."""
        _refuse(port)


def _refuse(port: Port) -> None:
    if port.protocol == "udp":
        port.add(port.rules.answer, "port-unreachable", direction="in")
    else:
        port.add(port.rules.answer, "reset", direction="in", flags=SYN)


@dataclass(frozen=True)
class Unreachable(Behaviour):
    """Each SYN or datagram is answered with an ICMP error, as by a router or a firewall.

    Attributes:
        what: ``"host"``, ``"network"``, ``"port"``, or ``"prohibited"`` by a rule of a firewall.
    """

    what: Literal["host", "network", "port", "prohibited"] = "host"

    name = "unreachable"
    summary = "a SYN is answered with ICMP: EHOSTUNREACH, ENETUNREACH or ECONNREFUSED"
    example = "unreachable=network"
    copes = "Treat every errno of connect() as the same failure: refused, unreachable, timed out."
    part = "opening"
    places = ((Parameter("what", choice("host", "network", "port", "prohibited"), "WHAT"),),)
    protocols = TCP_AND_UDP
    excludes_all = True

    def install(self, port: Port) -> None:
        """Answer in the stack's place."""
        error = self.what if self.what == "prohibited" else f"{self.what}-unreachable"
        if port.protocol == "udp":
            port.add(port.rules.answer, error, direction="in")
        else:
            port.add(port.rules.answer, error, direction="in", flags=SYN)


@dataclass(frozen=True)
class DropSyn(Behaviour):
    """The first SYNs of each connection are lost, so that it opens a second or more later.

    Linux sends a SYN again after 1, 2, 3 and 4 s (tcp_syn_linear_timeouts), others after 1, 3 and
    7 s (RFC 6298 section 2).

    Attributes:
        syns: How many; the client's retransmissions are SYNs too.
    """

    syns: int

    name = "drop-syn"
    summary = "the first N SYNs of a connection are lost: connect() takes seconds"
    example = "drop-syn=1"
    copes = "Allow more than a second for connecting: only then a lost SYN is sent again."
    part = "opening"
    places = ((Parameter("syns", COUNT, "N"),),)
    needed = 1

    def install(self, port: Port) -> None:
        """Drop them."""
        seen = PerConnection(list[None])

        def is_early(packet: Packet) -> bool:
            dropped = seen.of(packet)
            if len(dropped) >= self.syns:
                return False
            dropped.append(None)
            return True

        port.add(port.rules.drop, direction="in", flags=SYN, where=is_early)


@dataclass(frozen=True)
class SlowAccept(Behaviour):
    """The SYN,ACK comes late.

    Attributes:
        seconds: How late.
    """

    seconds: float

    name = "slow-accept"
    summary = "the SYN,ACK is sent after TIME: connect() takes as long"
    example = "slow-accept=200ms"
    copes = "Race the addresses of a name (RFC 8305); limit the time for connecting."
    part = "opening"
    places = ((Parameter("seconds", SECONDS, "TIME"),),)
    needed = 1

    def install(self, port: Port) -> None:
        """Delay the first SYN of each connection, and drop its retransmissions meanwhile."""
        opened = PerConnection(_Attempt)

        def is_first(packet: Packet) -> bool:
            attempt = opened.of(packet)
            if attempt.until is not None:
                return False
            attempt.until = trio.current_time() + self.seconds
            return True

        def is_early(packet: Packet) -> bool:
            return trio.current_time() < (opened.of(packet).until or 0.0)

        port.add(port.rules.delay, self.seconds, direction="in", flags=SYN, where=is_first)
        port.add(port.rules.drop, direction="in", flags=SYN, where=is_early)


@dataclass
class _Attempt:
    """When the SYN of a connection passes; None before it has come."""

    until: float | None = None


@dataclass(frozen=True)
class FullBacklog(Behaviour):
    """Some connections are opened and never served; further SYNs are dropped, as by Linux.

    Attributes:
        connections: How many are opened.
    """

    connections: int = 0

    name = "full-backlog"
    summary = "N connections open and are not served; SYNs of others are dropped"
    example = "full-backlog=2"
    copes = "Limit the time for connecting, and the time until the first octet of an answer."
    part = "opening"
    places = ((Parameter("connections", NUMBER, "N"),),)
    one_process = True
    excludes_all = True
    usable_for_some = False

    def install(self, port: Port) -> None:
        """Drop the SYNs of connections beyond those."""
        opened = set[object]()
        each = PerConnection(object)

        def is_late(packet: Packet) -> bool:
            connection = each.of(packet)
            if connection in opened:
                return False
            if len(opened) < self.connections:
                opened.add(connection)
                return False
            return True

        port.add(port.rules.drop, direction="in", flags=SYN, where=is_late)

    async def serve(self, _port: Port, *_: object) -> None:
        """Never serve it."""
        await trio.sleep_forever()


@dataclass(frozen=True)
class FailFirst(Behaviour):
    """The first connections are refused, further ones served.

    Attributes:
        connections: How many are refused.
    """

    connections: int

    name = "fail-first"
    summary = "the first N connections are refused, later ones served"
    example = "fail-first=2"
    copes = "Retry, with pauses that grow and are partly random."
    part = "opening"
    places = ((Parameter("connections", COUNT, "N"),),)
    needed = 1
    protocols = TCP_AND_UDP
    one_process = True
    usable_for_some = False

    def install(self, port: Port) -> None:
        """Answer their SYNs in the stack's place."""
        refused = set[object]()
        each = PerConnection(object)

        def is_early(packet: Packet) -> bool:
            connection = each.of(packet)
            if connection not in refused and len(refused) < self.connections:
                refused.add(connection)
            return connection in refused

        if port.protocol == "udp":
            port.add(port.rules.answer, "port-unreachable", direction="in", where=is_early)
        else:
            port.add(port.rules.answer, "reset", direction="in", flags=SYN, where=is_early)
