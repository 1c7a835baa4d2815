"""Network emulation, sans-IO: loss, delay, jitter, reordering, duplication, corruption, rate limit.

Time is an argument, and randomness comes from a seeded generator: the simulator,
:class:`~tunstack.path.impaired.ImpairedLink` under trio, and the forwarding process of a bridge
(:mod:`tunstack.path.crossing`) all use this code.

A path is written as ``loss=1%,delay=20ms,rate=100mbit``, which holds for both directions. An item
of one direction alone begins with ``out:`` or ``in:``: ``delay=20ms,out:loss=1%,in:rate=8mbit``.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, fields
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, TypeAlias, final

from tunstack.path import spec

if TYPE_CHECKING:
    import random

    from tunstack.link.base import Buffer

_MIN_REORDER_DELAY: Final = 0.001
"""Seconds by which a packet is reordered on a path without jitter and delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairments:
    """The impairments of one direction of a path.

    ``str()`` writes them in the syntax of :meth:`parse`, without loss of precision.

    Attributes:
        loss: Probability that a packet is dropped.
        delay: Seconds of constant one-way delay.
        jitter: Seconds of additional delay at most, uniformly distributed. It changes the spacing
            of packets, but does not reorder them.
        reorder: Probability that a packet (or copy) is delayed so that later ones overtake it.
        duplicate: Probability that a packet is duplicated.
        corrupt: Probability that a packet (or copy) arrives with one bit flipped: anywhere in it,
            and only one, so that every checksum that covers it detects it.
        rate: Bits per second of the bottleneck, IP headers included.
        limit: Packets in the bottleneck's queue, the one being sent included; a full queue drops
            (drop-tail). Without effect without a rate.
        limit_bytes: Octets in the queue instead; None where `limit` counts packets. An empty queue
            accepts a packet of any size.

    Raises:
        ValueError: a probability outside 0..1, a time that is negative or not finite, a rate or a
            limit that is not above 0.
    """

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    rate: float = math.inf
    limit: int = 1000
    limit_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate", "corrupt"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be a probability from 0 to 1, not {value}")
        for name in ("delay", "jitter"):
            value = getattr(self, name)
            if not (value >= 0.0 and math.isfinite(value)):
                raise ValueError(f"{name} must be 0 or more seconds, not {value}")
        if not self.rate > 0.0:
            raise ValueError(f"rate must be above 0 bits per second, not {self.rate}")
        if not self.limit >= 1:
            raise ValueError(f"limit must be 1 packet or more, not {self.limit}")
        if self.limit_bytes is not None and not self.limit_bytes >= 1:
            raise ValueError(f"limit must be 1 byte or more, not {self.limit_bytes}")

    def __bool__(self) -> bool:
        """Whether the path is impaired at all."""
        return self != Impairments(limit=self.limit, limit_bytes=self.limit_bytes)

    def __str__(self) -> str:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.limit_bytes is not None:
            del given["limit"]
        perfect = Impairments()
        return spec.write(
            {name: value for name, value in given.items() if value != getattr(perfect, name)}
        )

    @classmethod
    def parse(cls, text: str) -> Impairments:
        """Parse the impairments of one direction, as ``loss=1%,delay=20ms,jitter=2ms``.

        The keys are the attributes'; probabilities are in percent, times in s, ms or us, the rate
        in gbit, mbit, kbit or bit (powers of 1000), the limit a number of packets, or bytes in B,
        kB or MB. ``none`` is a perfect path.

        Raises:
            ValueError: names the key and what was expected.
        """
        there, back = both_ways(text)
        if there != back:
            raise ValueError(f"{text!r} tells the two directions apart: give one only")
        return there


ImpairmentsLike: TypeAlias = str | Impairments | tuple[Impairments, Impairments] | None
"""A text, `Impairments` for both directions, a pair of them (out, in), or None."""


def both_ways(given: ImpairmentsLike) -> tuple[Impairments, Impairments]:
    """Return the impairments of the outgoing and of the incoming direction.

    Raises:
        ValueError: a text that cannot be parsed, as in :meth:`Impairments.parse`.
        TypeError: it is none of these.
    """
    if given is None:
        return Impairments(), Impairments()
    if isinstance(given, Impairments):
        return given, given
    if isinstance(given, tuple) and [*map(type, given)] == [Impairments, Impairments]:
        return given
    if not isinstance(given, str):
        raise TypeError(
            f"impairments are text, Impairments, or a pair of these (out, in), not {given!r}"
        )
    there, back = spec.read(given)
    return Impairments(**there), Impairments(**back)  # type: ignore[arg-type]


@final
class Impairer:
    """Computes the arrival times of each packet's copies, in one direction of a path.

    A packet is lost, or dropped by the bottleneck's queue, or passes it; after the bottleneck it
    may be duplicated. Packets arrive in the order of admission, except for those that are
    reordered: these take an extra half to one and a half times the jitter (or the delay if there is
    no jitter, or a millisecond if there is neither), and do not delay others.

    Args:
        impairments: The impairments, which may be replaced at any time.
        rng: The only source of randomness: the same seed and calls give the same results.

    Attributes:
        counts: Packets ``admitted``, and of these ``lost``, ``overflowed`` (the queue was full),
            ``duplicated``, ``reordered`` and ``corrupted`` (each copy counts).
    """

    __slots__ = ("_departures", "_free_at", "_last_arrival", "_rng", "counts", "impairments")

    def __init__(self, impairments: Impairments, rng: random.Random) -> None:
        self.impairments = impairments
        self._rng = rng
        self._last_arrival = -math.inf
        self._free_at = -math.inf
        self._departures: deque[float] = deque()
        self.counts = dict.fromkeys(
            ("admitted", "lost", "overflowed", "duplicated", "reordered", "corrupted"), 0
        )

    def admit(self, now: float, size: int = 0, packets: int = 1) -> list[float]:
        """Admit one packet of `size` octets at `now` (seconds, not decreasing between calls).

        It may be a large segment of several `packets`, of `size` octets together, which share one
        fate: they arrive together when the last of them has passed the bottleneck.

        Returns:
            The times at which its copies arrive, ascending; empty when it is lost. Equal times
            are to be delivered in the order of admission.
        """
        rng, path = self._rng, self.impairments
        self.counts["admitted"] += packets
        if rng.random() < path.loss:
            self.counts["lost"] += packets
            return []
        if path.rate != math.inf:
            if self._is_full(now, size):
                self.counts["overflowed"] += packets
                return []
            now = self._free_at = max(now, self._free_at) + size * 8 / path.rate
            self._departures.append(now)
        if rng.random() < path.duplicate:
            self.counts["duplicated"] += 1
            return sorted((self._arrival(now), self._arrival(now)))
        return [self._arrival(now)]

    def corrupt(self, packet: Buffer) -> Buffer:
        """Return `packet`, or with the probability of corruption a copy with one bit flipped."""
        corrupt = self.impairments.corrupt
        if not corrupt or self._rng.random() >= corrupt or not len(packet):
            return packet
        self.counts["corrupted"] += 1
        copy = bytearray(packet)
        bit = self._rng.randrange(8 * len(copy))
        copy[bit >> 3] ^= 1 << (bit & 7)
        return bytes(copy)

    def _is_full(self, now: float, size: int) -> bool:
        path, departures = self.impairments, self._departures
        while departures and departures[0] <= now:
            departures.popleft()
        if path.limit_bytes is None:
            return len(departures) >= path.limit
        waiting = (self._free_at - now) * path.rate / 8
        return bool(departures) and waiting + size > path.limit_bytes

    def _arrival(self, departure: float) -> float:
        rng, path = self._rng, self.impairments
        arrival = departure + path.delay + path.jitter * rng.random()
        if rng.random() < path.reorder:
            self.counts["reordered"] += 1
            hold = path.jitter or path.delay or _MIN_REORDER_DELAY
            return max(arrival, self._last_arrival) + hold * (0.5 + rng.random())
        self._last_arrival = max(arrival, self._last_arrival)
        return self._last_arrival


class PacketPath:
    """One direction of a path, with the packets in flight.

    Args:
        impairments: The path's impairments.
        rng: The only source of randomness.

    Attributes:
        impairer: Computes the packets' arrival times.
    """

    __slots__ = ("_heap", "_order", "impairer")

    def __init__(self, impairments: Impairments, rng: random.Random) -> None:
        self.impairer = Impairer(impairments, rng)
        self._heap: list[tuple[float, int, Buffer]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def counts(self) -> dict[str, int]:
        """What happened to packets; see `Impairer`."""
        return dict(self.impairer.counts)

    @property
    def next_arrival(self) -> float:
        """The time of the next arrival, in seconds; infinite when no packet is in flight."""
        return self._heap[0][0] if self._heap else math.inf

    def put(
        self, packet: Buffer, now: float, size: int | None = None, packets: int = 1
    ) -> list[float]:
        """Put a packet on the path; returns the arrival times of its copies.

        The buffer must not change. A large segment of several `packets` has the `size` that all of
        them have on a wire.
        """
        impairer = self._impairer_of(packet)
        arrivals = impairer.admit(now, len(packet) if size is None else size, packets)
        for arrival in arrivals:
            self._order += 1
            heappush(self._heap, (arrival, self._order, impairer.corrupt(packet)))
        return arrivals

    def _impairer_of(self, packet: Buffer) -> Impairer:
        """Return what impairs a packet: the same for all, but in derived classes."""
        return self.impairer

    def first(self, now: float) -> Buffer | None:
        """Return the first packet that has arrived by `now`, without removing it, or None."""
        heap = self._heap
        return heap[0][2] if heap and heap[0][0] <= now else None

    def pop(self) -> None:
        """Remove the first packet."""
        heappop(self._heap)
