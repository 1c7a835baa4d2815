"""What a view of a host shows at one moment, as values.

Sizes are in octets, times in seconds, rates in octets or packets per second. Moments are seconds
since the UNIX epoch, as in :class:`tunstack.Observation`. What `to_dict` returns can be written as
JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from tunstack.host.ss import numbers, state_name
from tunstack.socket.addresses import printed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunstack.tcp.info import TcpInfo

Order: TypeAlias = Literal["rate", "state", "retransmissions", "age"]
"""By what connections are sorted; see :class:`~tunstack.live.scan.Wanted`."""

_INFO_FIELDS: Final = (
    "rtt",
    "rttvar",
    "min_rtt",
    "rto",
    "snd_cwnd",
    "snd_ssthresh",
    "snd_wnd",
    "rcv_wnd",
    "snd_mss",
    "rcv_mss",
    "pmtu",
    "unacked",
    "notsent",
    "unread",
    "out_of_order",
    "bytes_acked",
    "bytes_received",
    "retransmits",
    "timestamps",
    "sack",
    "ecn",
    "congestion",
    "snd_wscale",
    "rcv_wscale",
)
"""Of `TcpInfo`, what can be written as JSON as it is."""


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """A connection.

    Attributes:
        id: Its number among all connections of the host, in order of creation, from 0: no other
            has it, also where ports are used again.
        info: Its numbers.
        age: Since the first sample that had it; None if that was the view's first, as it
            began at an unknown time before.
        rate_in: Octets of data received in order per second, since the sample before.
        rate_out: Octets of data acknowledged by the peer per second, likewise.
        phase: Of loss recovery: ``"open"``, ``"recovery"``, ``"loss"``; empty in TIME-WAIT.
    """

    id: int
    info: TcpInfo
    age: float | None
    rate_in: float
    rate_out: float
    phase: str

    @property
    def local(self) -> str:
        """Our end: ``198.51.100.2:80``, ``[2001:db8::2]:80``."""
        address, port = self.info.local
        return printed((str(address), port))

    @property
    def remote(self) -> str:
        """The peer's end."""
        address, port = self.info.remote
        return printed((str(address), port))

    @property
    def state(self) -> str:
        """What Linux's ss calls its state: ``"ESTAB"`` for ``"ESTABLISHED"``."""
        return state_name(self.info.state)

    @property
    def numbers(self) -> str:
        """The line that ``ss -ti`` has below a connection; empty in TIME-WAIT."""
        return numbers(self.info)

    def to_dict(self) -> dict[str, Any]:
        """All of it, flat, with `numbers`, and the fields of `TcpInfo` by their names.

        ``state`` is ss's name and ``rfc_state`` RFC 9293's. ``snd_ssthresh`` is None before the
        first loss, as are times before the first measurement.
        """
        info = self.info
        numbers = {name: getattr(info, name) for name in _INFO_FIELDS}
        if not has_threshold(info):
            numbers["snd_ssthresh"] = None
        return {
            "id": self.id,
            "local": self.local,
            "local_port": info.local[1],
            "remote": self.remote,
            "remote_port": info.remote[1],
            "state": self.state,
            "rfc_state": info.state,
            "age": self.age,
            "rate_in": self.rate_in,
            "rate_out": self.rate_out,
            "phase": self.phase,
            "numbers": self.numbers,
            "soft_error": info.soft_error and info.soft_error.strerror,
            **numbers,
        }


LEAST_UNLIMITED: Final = 1 << 30
"""Octets; the congestion controls' threshold before a loss."""


def has_threshold(info: TcpInfo) -> bool:
    """Whether a connection's slow start threshold was set by a loss."""
    return 0 < info.snd_ssthresh < LEAST_UNLIMITED


@dataclass(frozen=True, slots=True)
class ListenerRow:
    """A listener.

    Attributes:
        local: Its address, ``*`` for every one, and port.
        port: Its port.
        queued: Connections that wait to be accepted.
        half_open: Connections in SYN-RECEIVED.
        backlog: How many may wait.
    """

    local: str
    port: int
    queued: int
    half_open: int
    backlog: int

    def to_dict(self) -> dict[str, Any]:
        """All of it."""
        return _flat(self)


@dataclass(frozen=True, slots=True)
class DatagramRow:
    """A UDP socket.

    Attributes:
        local: Its address, ``*`` for every one, and port.
        port: Its port.
        remote: What it is connected to, or ``*:*``.
        queued: Octets in its receive queue, as SO_RCVBUF counts them.
        dropped: Datagrams that found the queue full.
    """

    local: str
    port: int
    remote: str
    queued: int
    dropped: int

    def to_dict(self) -> dict[str, Any]:
        """All of it."""
        return _flat(self)


@dataclass(frozen=True, slots=True)
class Totals:
    """The whole host. Each rate is of the time since the sample before; 0 in the first.

    Attributes:
        octets_in: Of data that TCP connections have received in order, closed ones included.
        octets_out: Of data that their peers have acknowledged, likewise.
        rate_in: Of `octets_in`.
        rate_out: Of `octets_out`.
        packets_in: Packets received.
        packets_out: Packets sent.
        packet_rate_in: Of `packets_in`.
        packet_rate_out: Of `packets_out`.
        dropped: Packets and connections dropped, for whatever reason of `Sample.drops`.
        drop_rate: Of `dropped`.
        retransmitted: Segments sent again.
        retransmission_rate: Of `retransmitted`.
        opened: TCP connections that were opened, or began to.
        open_rate: Of `opened`.
        memory: Octets of memory of connections.
        memory_limit: `Limits.memory`.
    """

    octets_in: int
    octets_out: int
    rate_in: float
    rate_out: float
    packets_in: int
    packets_out: int
    packet_rate_in: float
    packet_rate_out: float
    dropped: int
    drop_rate: float
    retransmitted: int
    retransmission_rate: float
    opened: int
    open_rate: float
    memory: int
    memory_limit: int

    def to_dict(self) -> dict[str, Any]:
        """All of it."""
        return _flat(self)


@dataclass(frozen=True, slots=True)
class Sample:
    """A host at one moment.

    Attributes:
        time: The moment.
        interval: Since the sample before, of which the rates are; 0 in the first.
        uptime: Since the view was made.
        name: The device's.
        addresses: The host's.
        mtu: The largest packet of the link.
        totals: Sums.
        states: How many connections there are in each state, by ss's name; all of them,
            whether or not they are shown.
        connections: As wanted, and those that are followed.
        matching: How many connections there are of those that are wanted.
        listeners: At most as many as connections.
        datagrams: Likewise.
        drops: What was dropped, by the names of `Host.statistics`; without those that are 0.
        counters: `Host.statistics`.
        counter_rates: Of the counters that have changed, per second.
    """

    time: float
    interval: float
    uptime: float
    name: str
    addresses: tuple[str, ...]
    mtu: int
    totals: Totals
    states: Mapping[str, int]
    connections: tuple[ConnectionRow, ...]
    matching: int
    listeners: tuple[ListenerRow, ...]
    datagrams: tuple[DatagramRow, ...]
    drops: Mapping[str, int]
    counters: Mapping[str, int]
    counter_rates: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as nested dicts and lists."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "addresses": list(self.addresses),
            "totals": self.totals.to_dict(),
            "states": dict(self.states),
            "connections": [row.to_dict() for row in self.connections],
            "listeners": [row.to_dict() for row in self.listeners],
            "datagrams": [row.to_dict() for row in self.datagrams],
            "drops": dict(self.drops),
            "counters": dict(self.counters),
            "counter_rates": dict(self.counter_rates),
        }


def _flat(row: ListenerRow | DatagramRow | Totals) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}
