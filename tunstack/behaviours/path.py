"""Behaviours of the network before a port: impairments, its MTU, a cable that is pulled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import trio

from tunstack.behaviours.base import TCP_AND_UDP, Behaviour, Direction, Parameter
from tunstack.behaviours.values import COUNT, RATE, SECONDS, SHARE, Kind
from tunstack.path.spec import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunstack.behaviours.port import Port
    from tunstack.path.rules import Packet

_SIZE: Final = Kind(Quantity("a number of octets", "1280", {"": 0}), 68, 65535, whole=True)


@dataclass(frozen=True)
class Impairment(Behaviour):
    """An impairment of the path, as `tunstack.Impairments` has it; all of a port are one path.

    Attributes:
        impairs: The impairment's key, where it is not the name.
    """

    part = "path"
    protocols = TCP_AND_UDP
    needed = 1
    impairs: ClassVar[str] = ""

    def items(self) -> str:
        """Return it in the syntax of impairments."""
        way = getattr(self, "way", "both")
        values = str(self).removeprefix(f"{way}:").partition("=")[2].split("/")
        keys = (self.impairs or self.name, "limit")
        prefix = "" if way == "both" else f"{way}:"
        return ",".join(f"{prefix}{key}={each}" for key, each in zip(keys, values, strict=False))


def install_impairments(port: Port, impairments: Iterable[Impairment]) -> None:
    """Impair the packets of a port by all of them together."""
    spec = ",".join(each.items() for each in impairments)
    if spec:
        port.add(port.rules.impair, spec)


@dataclass(frozen=True)
class Loss(Impairment):
    """Packets are lost.

    Attributes:
        share: Of the packets, from 0 to 1.
        way: In which direction.
    """

    share: float
    way: Direction = "both"

    name = "loss"
    summary = "SHARE of the packets is lost"
    example = "loss=5%"
    copes = "Set time limits above the first retransmissions: 1 s for a SYN, 0.2 s for data."
    places = ((Parameter("share", SHARE, "SHARE"),),)


@dataclass(frozen=True)
class Delay(Impairment):
    """Packets are late.

    Attributes:
        seconds: How late, each way.
        way: In which direction.
    """

    seconds: float
    way: Direction = "both"

    name = "delay"
    summary = "each packet is TIME late, in each direction or in one"
    example = "delay=50ms"
    copes = "Batch or pipeline requests, and run independent ones at the same time."
    places = ((Parameter("seconds", SECONDS, "TIME"),),)


@dataclass(frozen=True)
class Jitter(Impairment):
    """Packets are late by different times; their order stays.

    Attributes:
        seconds: How late at most.
        way: In which direction.
    """

    seconds: float
    way: Direction = "both"

    name = "jitter"
    summary = "each packet is up to TIME late; their order stays"
    example = "jitter=20ms"
    copes = "Do not take one late answer for a failure."
    places = ((Parameter("seconds", SECONDS, "TIME"),),)


@dataclass(frozen=True)
class Duplicate(Impairment):
    """Packets come twice.

    Attributes:
        share: Of the packets, from 0 to 1.
        way: In which direction.
    """

    share: float
    way: Direction = "both"

    name = "duplicate"
    summary = "SHARE of the packets comes twice"
    example = "duplicate=10%"
    copes = "Over TCP nothing is needed; over UDP match answers by an id, and ignore repeats."
    places = ((Parameter("share", SHARE, "SHARE"),),)


@dataclass(frozen=True)
class Reorder(Impairment):
    """Packets are overtaken by later ones.

    Attributes:
        share: Of the packets, from 0 to 1.
        way: In which direction.
    """

    share: float
    way: Direction = "both"

    name = "reorder"
    summary = "SHARE of the packets is overtaken by later ones"
    example = "reorder=10%"
    copes = "Over TCP nothing is needed; over UDP do not count on the order."
    places = ((Parameter("share", SHARE, "SHARE"),),)


@dataclass(frozen=True)
class Corrupt(Impairment):
    """A bit of a packet is flipped, which its checksum shows: the packet is dropped.

    Attributes:
        share: Of the packets, from 0 to 1.
        way: In which direction.
    """

    share: float
    way: Direction = "both"

    name = "corrupt"
    summary = "a bit is flipped in SHARE of the packets; their checksums fail: a loss"
    example = "corrupt=5%"
    copes = "As for loss: checksums turn damage into loss."
    places = ((Parameter("share", SHARE, "SHARE"),),)


@dataclass(frozen=True)
class Rate(Impairment):
    """All connections of the port share a slow link.

    Attributes:
        rate: Bits per second.
        packets: That fit in the queue before it; further ones are dropped.
        way: In which direction.
    """

    rate: float
    packets: int | None = None
    way: Direction = "both"

    name = "rate"
    summary = "a bottleneck of RATE for the whole port, with a queue of PACKETS"
    example = "rate=1mbit/20"
    copes = "Limit the time without progress, not that of the whole transfer."
    places = ((Parameter("rate", RATE, "RATE"),), (Parameter("packets", COUNT, "PACKETS"),))
    one_process = True


@dataclass(frozen=True)
class Flapping(Behaviour):
    """The cable is plugged in and pulled, again and again.

    Attributes:
        up: Seconds for which packets pass.
        down: Seconds for which all are lost.
    """

    up: float
    down: float

    name = "flapping"
    summary = "packets pass for UP, are all lost for DOWN, and so on"
    example = "flapping=1s/200ms"
    copes = "Wait through short breaks, as TCP sends again; reconnect after long ones."
    part = "path"
    places = (
        (Parameter("up", SECONDS, "UP"),),
        (Parameter("down", SECONDS, "DOWN"),),
    )
    needed = 2
    protocols = TCP_AND_UDP

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.up + self.down <= 0:
            raise ValueError(f"{self.name}: give times that are not both 0")

    def install(self, port: Port) -> None:
        """Drop what is sent or comes while it is down."""
        began = trio.current_time()

        def is_down(_packet: Packet) -> bool:
            return (trio.current_time() - began) % (self.up + self.down) >= self.up

        port.add(port.rules.drop, where=is_down)


@dataclass(frozen=True)
class SmallMtu(Behaviour):
    """A router on the path has a small MTU, and says so (RFC 1191, RFC 8201).

    Attributes:
        mtu: In octets.
    """

    mtu: int

    name = "small-mtu"
    summary = "packets above OCTETS are answered with ICMP fragmentation needed"
    example = "small-mtu=1300"
    copes = "Over TCP nothing is needed; over UDP expect EMSGSIZE, and send smaller datagrams."
    part = "path"
    places = ((Parameter("mtu", _SIZE, "OCTETS"),),)
    needed = 1
    protocols = TCP_AND_UDP

    def install(self, port: Port) -> None:
        """Answer large packets in the stack's place."""
        port.add(
            port.rules.answer,
            f"fragmentation-needed({self.mtu})",
            direction="in",
            where=lambda packet: _is_larger(packet, self.mtu),
        )


@dataclass(frozen=True)
class PmtuBlackhole(Behaviour):
    """A router on the path has a small MTU, and a firewall eats what it says (RFC 2923).

    Attributes:
        mtu: In octets.
        way: Of which direction.
    """

    mtu: int
    way: Direction = "both"

    name = "pmtu-blackhole"
    summary = "packets above OCTETS are lost silently: connect() succeeds, data hang"
    example = "pmtu-blackhole=1300"
    copes = "Limit the time of a write; let the system probe (net.ipv4.tcp_mtu_probing=1)."
    part = "path"
    places = ((Parameter("mtu", _SIZE, "OCTETS"),),)
    needed = 1
    protocols = TCP_AND_UDP

    def install(self, port: Port) -> None:
        """Drop large packets."""
        direction = {} if self.way == "both" else {"direction": self.way}
        port.add(port.rules.drop, **direction, where=lambda packet: _is_larger(packet, self.mtu))


def _is_larger(packet: Packet, mtu: int) -> bool:
    return len(packet.data) > mtu
