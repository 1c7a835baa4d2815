"""Actions that let a packet go on later: delay, hold, postpone, impair."""

from __future__ import annotations

import random
from collections import deque
from math import inf
from typing import TYPE_CHECKING, final

from tunstack.path.impair import Impairer, both_ways
from tunstack.path.rules.actions import Action
from tunstack.path.rules.numbers import is_real, is_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunstack.path.impair import ImpairmentsLike
    from tunstack.path.rules.actions import Stage
    from tunstack.path.rules.packet import Packet


@final
class Delay(Action):
    """Delays the packet by some seconds, or by a random time between two.

    Raises:
        ValueError: a time that is negative, or a least above the most.
    """

    word = "delayed"

    def __init__(self, seconds: float | tuple[float, float], rng: random.Random) -> None:
        given: tuple[object, ...] = seconds if isinstance(seconds, tuple) else (seconds, seconds)
        times = [each for each in given if is_real(each)]
        if not (len(given) == len(times) == 2 and 0 <= times[0] <= times[1] < inf):
            raise ValueError(f"delay must be 0 or more seconds, or (least, most), not {seconds!r}")
        self._least, self._most = map(float, times)
        self._rng = rng

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        least, most = self._least, self._most
        delay = least if least == most else self._rng.uniform(least, most)
        stage.wait(packet, now + delay, rule, self.word)
        return ()

    def __str__(self) -> str:
        if self._least == self._most:
            return f"delay {self._least:g} s"
        return f"delay {self._least:g} to {self._most:g} s"


@final
class Hold(Action):
    """Holds the packet until it is released."""

    word = "held"

    def __init__(self) -> None:
        self.held: deque[Packet] = deque()

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        if stage.hold(packet, self.word):
            self.held.append(packet)
        return ()

    def __str__(self) -> str:
        return "hold"


@final
class Postpone(Action):
    """Lets some more packets of the same direction pass before.

    Raises:
        ValueError: a number below 1.
    """

    word = "postponed"

    def __init__(self, after: int) -> None:
        if not (is_whole(after) and after >= 1):
            raise ValueError(f"a packet is sent after 1 more or several, not after {after!r}")
        self._after = after

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        stage.postpone(packet, self._after, rule)
        return ()

    def __str__(self) -> str:
        return f"postpone after {self._after}"


@final
class Impair(Action):
    """Lets the packet take an impaired path (:mod:`tunstack.path.impair`), of each direction.

    Raises:
        ValueError: what cannot be parsed.
    """

    word = "delayed"

    def __init__(self, impairments: ImpairmentsLike, rng: random.Random) -> None:
        there, back = self._ways = both_ways(impairments)
        self._out = Impairer(there, random.Random(rng.random()))
        self._in = Impairer(back, random.Random(rng.random()))

    def apply(self, packet: Packet, now: float, stage: Stage, rule: int) -> Sequence[Packet]:  # noqa: D102
        impairer = self._out if packet.direction == "out" else self._in
        arrivals = impairer.admit(now, len(packet.data))
        if not arrivals:
            stage.took(packet, "lost")
        passing: list[Packet] = []
        for number, arrival in enumerate(arrivals):
            data = impairer.corrupt(packet.data)
            copy = packet if data is packet.data else packet.with_data(bytes(data))
            if number:
                stage.made(packet, "duplicated", [copy])
            if copy is not packet:
                stage.made(packet, "damaged", [copy])
            if arrival <= now:
                passing.append(copy)
            else:
                stage.wait(copy, arrival, rule, self.word)
        return passing

    def __str__(self) -> str:
        there, back = self._ways
        return f"impair {there}" if there == back else f"impair out {there}, in {back}"
