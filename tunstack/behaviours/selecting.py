"""Which connections misbehave: words that limit the other behaviours of a text."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tunstack.behaviours.base import TCP_AND_UDP, Behaviour, Parameter
from tunstack.behaviours.values import COUNT, SHARE

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


@dataclass(frozen=True)
class Choice(Behaviour):
    """A limit to some of the connections; over UDP, of those that a socket of the client makes."""

    part = "choice"
    protocols = TCP_AND_UDP
    one_process = True

    def chooser(self, rng: Random) -> Callable[[], bool]:
        """Return what is called once for each new connection."""
        raise NotImplementedError


@dataclass(frozen=True)
class First(Choice):
    """The first connections misbehave; all is well with later ones.

    Attributes:
        connections: How many.
    """

    connections: int

    name = "first"
    summary = "the rest of the text is for the first N connections only"
    example = "reset-after=100,first=2"
    copes = "Retry."
    places = ((Parameter("connections", COUNT, "N"),),)
    needed = 1

    def chooser(self, _rng: Random) -> Callable[[], bool]:
        """Return what is called once for each new connection."""
        numbers = count(1)
        return lambda: next(numbers) <= self.connections


@dataclass(frozen=True)
class Every(Choice):
    """Every n-th connection misbehaves.

    Attributes:
        connections: The number n.
    """

    connections: int

    name = "every"
    summary = "the rest of the text is for every N-th connection only"
    example = "vanish-after=0,every=3"
    copes = "Retry."
    places = ((Parameter("connections", COUNT, "N"),),)
    needed = 1

    def chooser(self, _rng: Random) -> Callable[[], bool]:
        """Return what is called once for each new connection."""
        numbers = count(1)
        return lambda: next(numbers) % self.connections == 0


@dataclass(frozen=True)
class Share(Choice):
    """Some connections misbehave, at random; by the host's seed.

    Attributes:
        share: Of the connections, from 0 to 1.
    """

    share: float

    name = "share"
    summary = "the rest of the text is for SHARE of the connections, by the host's seed"
    example = "refuse,share=30%"
    copes = "Retry."
    places = ((Parameter("share", SHARE, "SHARE"),),)
    needed = 1
    one_process = False

    def chooser(self, rng: Random) -> Callable[[], bool]:
        """Return what is called once for each new connection."""
        return lambda: rng.random() < self.share
