"""Goodput across a lossy path: tunstack, and the kernel with several congestion controls.

All go through one and the same kind of bridge (:mod:`tunstack.deploy.bridge`), in fresh namespaces
each time, so that no route remembers anything; with the same seeds, so that the same packets are
lost as long as the same packets are sent; with the kernel's and tunstack's default buffers. Each
transfer lasts a fixed time, and what the receiving application got is what counts.

The path has a bottleneck with a queue of one bandwidth-delay product before it. So the cells
without loss tell who fills the bottleneck, and the others who copes with the loss.
"""

from __future__ import annotations

import errno
import json
import math
import os
import socket
import sys
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import tunstack
from tunstack.bench.crew import open_crew
from tunstack.bench.lane import Lane, Outcome
from tunstack.path.impair import Impairments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.bench.crew import Worker

_MTU: Final = 1500
_MSS: Final = 1448
_MOST_LANES: Final = 3 * (os.cpu_count() or 1)
"""Transfers at a time; more would get in each other's way."""

_SENSITIVE: Final = 0.02
"""A round trip, in seconds, of which so little is noticed that no more than two run at a time."""


@dataclass(slots=True, frozen=True)
class Contender:
    """Who sends to whom.

    Attributes:
        name: For the table.
        sender: ``kernel`` or ``tunstack``.
        receiver: Likewise.
        congestion: The sender's congestion control.
        offload: Whether both ends, and the path, take segments of up to 64 KiB.
    """

    name: str
    sender: str
    receiver: str
    congestion: str
    offload: bool = False

    @property
    def fills_the_path(self) -> bool:
        """Whether loss hardly slows it down."""
        return self.congestion == "bbr"


REFERENCE: Final = Contender("kernel reno", "kernel", "kernel", "reno")
CONTENDERS: Final = (
    REFERENCE,
    Contender("kernel cubic", "kernel", "kernel", "cubic"),
    Contender("kernel bbr", "kernel", "kernel", "bbr"),
    Contender("tunstack", "tunstack", "kernel", "cubic"),
    Contender("tunstack reno", "tunstack", "kernel", "reno"),
    Contender("reno to tunstack", "kernel", "tunstack", "reno"),
)


@dataclass(slots=True, frozen=True)
class Cell:
    """One path.

    Attributes:
        rtt: Seconds there and back, without any queue.
        loss: Probability that a packet is lost, in either direction.
        rate: Bits per second of the bottleneck.
    """

    rtt: float
    loss: float
    rate: float

    @property
    def impairments(self) -> Impairments:
        """What happens in each direction."""
        queue = max(10, round(self.rate * self.rtt / 8 / _MTU))
        return Impairments(loss=self.loss, delay=self.rtt / 2, rate=self.rate, limit=queue)

    @property
    def expected(self) -> float:
        """What Reno may reach, in bits per second (Mathis et al., 1997)."""
        if not self.loss:
            return self.rate
        return min(self.rate, 1.22 * _MSS * 8 / (self.rtt * math.sqrt(self.loss)))


@dataclass(slots=True, frozen=True)
class Plan:
    """What to run.

    Attributes:
        rtts: Of the cells, in seconds.
        losses: Of the cells.
        rate: Of the bottleneck, in bits per second.
        seconds: Of each transfer.
        repeats: Transfers of each contender in each cell with loss, with a seed each. Without loss
            there is no chance in it, and one is enough.
    """

    rtts: tuple[float, ...] = (0.02, 0.1)
    losses: tuple[float, ...] = (0.0, 0.001, 0.01, 0.03)
    rate: float = 20e6
    seconds: float = 6.0
    repeats: int = 3

    @property
    def cells(self) -> list[Cell]:
        """Every path, in the order of the table."""
        return [Cell(rtt, loss, self.rate) for rtt in self.rtts for loss in self.losses]

    def seeds(self, cell: Cell) -> range:
        """The seeds that all contenders get in a cell."""
        return range(1, 1 + (self.repeats if cell.loss else 1))


QUICK: Final = Plan(losses=(0.0, 0.01), seconds=3.0, repeats=3)


@dataclass(slots=True)
class Result:
    """What came out of a contender in a cell."""

    cell: Cell
    contender: Contender
    seconds: float
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def load(self) -> float:
        """What it may bring, in bits per second; more where it must not be kept waiting.

        Others who run make a path longer, by so much the more as it is short; and one with an end
        outside the kernel more than another.
        """
        if self.contender.fills_the_path:
            return self.cell.rate
        return max(self.cell.expected, self.cell.rate * min(1.0, _SENSITIVE / self.cell.rtt))

    @property
    def goodputs(self) -> list[float]:
        """Bits per second of each transfer."""
        return [outcome.octets * 8 / self.seconds for outcome in self.outcomes]

    @property
    def goodput(self) -> float:
        """Their median."""
        return median(self.goodputs)


async def run_plan(plan: Plan, progress: Callable[[float], None]) -> list[Result]:
    """Run all of a plan; contenders whose congestion control the kernel lacks are left out.

    Transfers run side by side as far as two fast ones would: what a slow path leaves idle is used
    for another transfer over a path of its own.

    Args:
        plan: What to run.
        progress: Called with the share that is done, from 0 to 1.

    Raises:
        tunstack.SetupError: there is no namespace to be had.
        tunstack.bench.crew.LaneError: a transfer failed.
    """
    available = await available_controls()
    contenders = [
        each for each in CONTENDERS if each.sender == "tunstack" or each.congestion in available
    ]
    results = [Result(cell, each, plan.seconds) for cell in plan.cells for each in contenders]
    # In turns, so that contenders meet the same moments.
    turns = [
        (result, seed)
        for cell in plan.cells
        for seed in plan.seeds(cell)
        for result in results
        if result.cell == cell
    ]
    done = 0

    async def run(worker: Worker, result: Result, seed: int) -> None:
        nonlocal done
        result.outcomes.append(await worker.run(_lane(result, seed)))
        done += 1
        progress(done / len(turns))

    async with open_crew(_MOST_LANES, 2 * plan.rate) as crew:
        for result, seed in turns:
            await crew.begin(result.load, partial(run, result=result, seed=seed))
    return results


def _lane(result: Result, seed: int) -> Lane:
    return Lane(
        sender=result.contender.sender,
        receiver=result.contender.receiver,
        congestion=result.contender.congestion,
        impair=str(result.cell.impairments),
        seed=seed,
        seconds=result.seconds,
    )


def ratio(results: Iterable[Result], result: Result) -> float | None:
    """A result's goodput in units of the kernel's Reno on the same path; None without that."""
    for each in results:
        if each.cell == result.cell and each.contender == REFERENCE:
            return result.goodput / each.goodput if each.goodput else None
    return None


def as_json(plan: Plan, results: list[Result], fast: dict[str, Any] | None = None) -> str:
    """Every figure, with what the paths and tunstack counted; `fast` is those of fast paths."""
    figures = [
        {
            "rtt": result.cell.rtt,
            "loss": result.cell.loss,
            "path": str(result.cell.impairments),
            **asdict(result.contender),
            "goodput": result.goodput,
            "ratio": ratio(results, result),
            "goodputs": result.goodputs,
            "outcomes": [asdict(outcome) for outcome in result.outcomes],
        }
        for result in results
    ]
    document = {"python": sys.version, "plan": asdict(plan), "results": figures, "fast": fast}
    return json.dumps(document, indent=2) + "\n"


async def available_controls() -> set[str]:
    """The congestion controls that the kernel lets us use."""
    available = set()
    async with tunstack.open_namespace() as namespace:
        for name in {each.congestion for each in CONTENDERS}:
            with namespace.socket() as sock:
                try:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EPERM):
                        raise
                else:
                    available.add(name)
    return available
