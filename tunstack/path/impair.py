"""What a bad path does to packets, decided one by one without any I/O.

Loss, delay, jitter, reordering, duplication, damage, and a bottleneck with a queue before it. What
stands here knows no clock but the time that it is told, and no chance but a seeded one: the
simulator, :class:`~tunstack.path.impaired.ImpairedLink` under trio, and the bridge in a process of
its own all drive the same code.

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

_SHORTEST_HOLD: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairments:
    """What a bad path does to packets, in one direction.

    ``str()`` writes them as :meth:`parse` reads them, to the last digit.

    Attributes:
        loss: Probability that a packet vanishes, all copies of it.
        delay: Seconds that every packet takes.
        jitter: Seconds; each packet takes up to so much longer, uniformly. It spaces packets out
            and bunches them up, but a later one never passes an earlier one.
        reorder: Probability that a packet (or copy) is held back so that later ones pass it.
        duplicate: Probability that a packet arrives twice.
        corrupt: Probability that a packet (or copy) arrives with one bit flipped: anywhere in it,
            and no more than one, so that every checksum that covers it tells.
        rate: Bits per second that the path's bottleneck passes, IP headers included.
        limit: Packets that the bottleneck holds, the one on its way through it included; what
            comes while it is full is dropped. It means nothing without a rate.
        limit_bytes: The bytes that it holds instead; None where `limit` counts packets. A packet
            that finds it empty is taken whatever its size.

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
        """Whether there is any."""
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
        """Read what is the same in both directions, as ``loss=1%,delay=20ms,jitter=2ms``.

        The keys are the attributes'; probabilities are in percent, times in s, ms or us, the rate
        in gbit, mbit, kbit or bit (powers of 1000), the limit a number of packets, or bytes in B,
        kB or MB. ``none`` is a perfect path.

        Raises:
            ValueError: with what was expected, and of which key.
        """
        there, back = both_ways(text)
        if there != back:
            raise ValueError(f"{text!r} tells the two directions apart: give one only")
        return there


Wish: TypeAlias = str | Impairments | tuple[Impairments, Impairments] | None
"""What a caller may give: a text, one for both directions, one for each (out, in), or nothing."""


def both_ways(wish: Wish) -> tuple[Impairments, Impairments]:
    """Return what is wished for the way out, and for the way in.

    Raises:
        ValueError: a text that is none, as :meth:`Impairments.parse` has it.
    """
    if wish is None:
        return Impairments(), Impairments()
    if isinstance(wish, Impairments):
        return wish, wish
    if not isinstance(wish, str):
        return wish
    there, back = spec.read(wish)
    return Impairments(**there), Impairments(**back)  # type: ignore[arg-type]


@final
class Impairer:
    """Decides when the copies of each packet arrive; one object for each direction of a path.

    A packet is lost, or passes the bottleneck, or finds its queue full; behind the bottleneck it
    may be doubled. The path is a queue, so packets arrive in the order in which they were admitted.
    A packet that is reordered leaves the queue: it takes an extra half to one and a half times the
    jitter (or the delay where there is no jitter, or a millisecond where there is neither), and
    nobody waits for it.

    Args:
        impairments: What to do to packets. It may be replaced at any time.
        rng: The only source of chance: the same seed and calls give the same answers.

    Attributes:
        counts: How many packets were ``admitted``, and of these ``lost``, ``overflowed`` (the queue
            was full), ``duplicated``, ``reordered`` and ``corrupted`` (copies counted each).
    """

    __slots__ = ("_free_at", "_last_arrival", "_leaving", "_rng", "counts", "impairments")

    def __init__(self, impairments: Impairments, rng: random.Random) -> None:
        self.impairments = impairments
        self._rng = rng
        self._last_arrival = -math.inf
        self._free_at = -math.inf
        self._leaving: deque[float] = deque()
        self.counts = dict.fromkeys(
            ("admitted", "lost", "overflowed", "duplicated", "reordered", "corrupted"), 0
        )

    def admit(self, now: float, size: int = 0, packets: int = 1) -> list[float]:
        """Take in one packet of `size` bytes at `now` (seconds, not decreasing between calls).

        It may stand for several `packets`, of `size` bytes together, which share one fate: they
        arrive together once the last of them has passed the bottleneck, and are counted each.

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
            self._leaving.append(now)
        if rng.random() < path.duplicate:
            self.counts["duplicated"] += 1
            return sorted((self._arrival(now), self._arrival(now)))
        return [self._arrival(now)]

    def spoil(self, packet: Buffer) -> Buffer:
        """Return the copy of `packet` that arrives: itself, or another one with a bit flipped."""
        corrupt = self.impairments.corrupt
        if not corrupt or self._rng.random() >= corrupt or not len(packet):
            return packet
        self.counts["corrupted"] += 1
        copy = bytearray(packet)
        bit = self._rng.randrange(8 * len(copy))
        copy[bit >> 3] ^= 1 << (bit & 7)
        return bytes(copy)

    def _is_full(self, now: float, size: int) -> bool:
        path, leaving = self.impairments, self._leaving
        while leaving and leaving[0] <= now:
            leaving.popleft()
        if path.limit_bytes is None:
            return len(leaving) >= path.limit
        waiting = (self._free_at - now) * path.rate / 8
        return bool(leaving) and waiting + size > path.limit_bytes

    def _arrival(self, departure: float) -> float:
        rng, path = self._rng, self.impairments
        arrival = departure + path.delay + path.jitter * rng.random()
        if rng.random() < path.reorder:
            self.counts["reordered"] += 1
            hold = path.jitter or path.delay or _SHORTEST_HOLD
            return max(arrival, self._last_arrival) + hold * (0.5 + rng.random())
        self._last_arrival = max(arrival, self._last_arrival)
        return self._last_arrival


@final
class PacketPath:
    """One direction of a path, and the packets that are on their way.

    Args:
        impairments: What it does to them.
        rng: The only source of chance.

    Attributes:
        impairer: What decides.
    """

    __slots__ = ("_heap", "_order", "impairer")

    def __init__(self, impairments: Impairments, rng: random.Random) -> None:
        self.impairer = Impairer(impairments, rng)
        self._heap: list[tuple[float, int, Buffer]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_arrival(self) -> float:
        """When the next packet arrives, in seconds; infinite when none is on its way."""
        return self._heap[0][0] if self._heap else math.inf

    def put(
        self, packet: Buffer, now: float, size: int | None = None, packets: int = 1
    ) -> list[float]:
        """Take in a packet, which must never change; returns when its copies arrive.

        One that stands for several `packets` has the `size` that all of them have on a wire.
        """
        arrivals = self.impairer.admit(now, len(packet) if size is None else size, packets)
        for arrival in arrivals:
            self._order += 1
            heappush(self._heap, (arrival, self._order, self.impairer.spoil(packet)))
        return arrivals

    def first(self, now: float) -> Buffer | None:
        """The first packet that has arrived by `now`; None when there is none."""
        heap = self._heap
        return heap[0][2] if heap and heap[0][0] <= now else None

    def pop(self) -> None:
        """Remove the first packet."""
        heappop(self._heap)
