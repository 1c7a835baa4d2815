"""The switch between the hosts of a network: a wire for each pair and direction."""

from __future__ import annotations

import random
from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, final

import trio

from tunstack.link.port import MemoryPort
from tunstack.path.impair import Impairer, Impairments

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.ip.datagram import Address
    from tunstack.link.base import Buffer

_DESTINATION: Final[dict[int, slice]] = {4: slice(16, 20), 6: slice(24, 40)}
"""By IP version: where a packet has its destination address."""

COUNTERS: Final = (
    "sent",
    "lost",
    "queue_full",
    "partitioned",
    "no_such_address",
    "unplugged",
    "duplicated",
    "corrupted",
)
"""``unplugged``: of or to a host that has crashed or ended."""


class Sent(NamedTuple):
    """A packet when it was sent.

    Attributes:
        time: By trio's clock, in seconds.
        source: The host that sent it.
        target: The host that it is for; None if nobody has its destination address.
        data: The IP packet.
        arrivals: When it and its copies arrive; none if it is dropped.
        held: Whether it is held.
        dropped: Why it is dropped; empty if it is not.
    """

    time: float
    source: str
    target: str | None
    data: bytes
    arrivals: tuple[float, ...]
    held: bool
    dropped: str = ""

    @property
    def fate(self) -> str:
        """What becomes of it, for people; empty if it just arrives."""
        if self.dropped:
            return f"dropped: {self.dropped}"
        if self.held:
            return "held"
        return "duplicated" if len(self.arrivals) > 1 else ""

    @property
    def comment(self) -> str:
        """The same with the hosts and the delay, for a capture."""
        times = [f"{at - self.time:.6f}".rstrip("0").rstrip(".") for at in self.arrivals]
        delay = "" if self.held or times in ([], ["0"]) else f"arrives after {', '.join(times)} s"
        parts = f"{self.source} -> {self.target or 'nobody'}", self.fate, delay
        return ": ".join(filter(None, parts))


@final
class Wire:
    """What carries the packets of one host to another.

    Attributes:
        impairer: Decides what is lost, and when the others arrive.
        cut: Whether it carries none: a partition.
        held: The packets that are held, each with when it would arrive; None: none are.
    """

    def __init__(self, impairments: Impairments, rng: random.Random) -> None:
        self.impairer = Impairer(impairments, rng)
        self.cut = False
        self.held: list[tuple[float, Buffer]] | None = None


@final
class Switch:
    """Carries packets between ports by their destination address.

    Args:
        mtu: Of each port.
        seed: Of what is lost, delayed...; each wire has a generator of its own.
        impairments: Of each wire at first.
        owner: Tells which port an address is at; None: at none.
        seen: Called with each packet, when it is sent.

    Attributes:
        counters: Packets by what became of them; see `COUNTERS`.
    """

    def __init__(
        self,
        mtu: int,
        seed: object,
        impairments: Impairments,
        owner: Callable[[Address], str | None],
        seen: Callable[[Sent], None],
    ) -> None:
        self.counters = Counter(dict.fromkeys(COUNTERS, 0))
        self._impairments = impairments
        self._mtu = mtu
        self._seed = seed
        self._owner = owner
        self._seen = seen
        self._ports: dict[str, MemoryPort] = {}
        self._wires: dict[tuple[str, str], Wire] = {}

    def plug(self, name: str) -> MemoryPort:
        """Return a port for a host, which replaces the one that it had; its wires remain."""
        port = MemoryPort(name, self._mtu, lambda packet: self._carry(name, port, packet))
        self._ports[name] = port
        return port

    def unplug(self, name: str) -> None:
        """Let nothing more arrive at a port, or leave it."""
        self.counters["unplugged"] += len(self._ports[name].withdraw())
        self._ports[name] = MemoryPort(name, self._mtu, lambda packet: None)
        self._ports[name].close()

    def _wire(self, source: str, target: str) -> Wire:
        wire = self._wires.get((source, target))
        if wire is None:
            rng = random.Random(f"wire {self._seed} {source} {target}")
            wire = self._wires[source, target] = Wire(self._impairments, rng)
        return wire

    def impair(self, source: str, target: str, impairments: Impairments) -> None:
        """Impair the packets from one host to another from now on."""
        self._wire(source, target).impairer.impairments = impairments

    def cut(self, source: str, target: str) -> None:
        """Drop the packets from one host to another, those on their way and held included."""
        wire = self._wire(source, target)
        lost = len(self._ports[target].withdraw(source)) + len(wire.held or ())
        self.counters["partitioned"] += lost
        wire.cut = True
        if wire.held:
            wire.held.clear()

    def repair(self, source: str, target: str) -> None:
        """Undo :meth:`cut`."""
        self._wire(source, target).cut = False

    def hold(self, source: str, target: str) -> None:
        """Keep the packets from one host to another, those on their way included."""
        wire = self._wire(source, target)
        if wire.held is None:
            wire.held = self._ports[target].withdraw(source)

    def release(self, source: str, target: str) -> None:
        """End :meth:`hold`: deliver what has arrived meanwhile, and the others in their time."""
        wire = self._wire(source, target)
        held, wire.held = wire.held or [], None
        for at, packet in sorted(held, key=itemgetter(0)):
            self._deliver(source, target, packet, at)

    def held(self, source: str, target: str) -> int:
        """How many packets from one host to another are held."""
        return len(self._wire(source, target).held or ())

    # Packets

    def _carry(self, source: str, port: MemoryPort, packet: bytes) -> None:
        now = trio.current_time()
        self.counters["sent"] += 1
        if self._ports[source] is not port:
            self._drop(now, source, None, packet, "unplugged")
            return
        target = self._owner(packet[_DESTINATION[packet[0] >> 4]])
        if target is None:
            self._drop(now, source, None, packet, "no such address")
            return
        wire = self._wire(source, target)
        if wire.cut:
            self._drop(now, source, target, packet, "partitioned")
        else:
            self._admit(now, source, target, wire, packet)

    def _admit(self, now: float, source: str, target: str, wire: Wire, packet: bytes) -> None:
        before = wire.impairer.counts["overflowed"]
        arrivals = wire.impairer.admit(now, len(packet))
        if not arrivals:
            full = wire.impairer.counts["overflowed"] > before
            self._drop(now, source, target, packet, "queue full" if full else "lost")
            return
        self._seen(Sent(now, source, target, packet, tuple(arrivals), wire.held is not None))
        self.counters["duplicated"] += len(arrivals) - 1
        for at in arrivals:
            arriving = wire.impairer.corrupt(packet)
            self.counters["corrupted"] += arriving is not packet
            if wire.held is None:
                self._deliver(source, target, arriving, at)
            else:
                wire.held.append((at, arriving))

    def _deliver(self, source: str, target: str, packet: Buffer, at: float) -> None:
        port = self._ports[target]
        if not port.deliver(packet, at, source):
            self.counters["unplugged" if port.closed else "queue_full"] += 1

    def _drop(self, now: float, source: str, target: str | None, packet: bytes, why: str) -> None:
        self.counters[why.replace(" ", "_")] += 1
        self._seen(Sent(now, source, target, packet, (), False, why))
