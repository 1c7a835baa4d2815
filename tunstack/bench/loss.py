"""Goodput across lossy paths: tunstack, and the kernel with several congestion controls.

All transfers use the same kind of bridge (:mod:`tunstack.deploy.bridge`), in fresh namespaces each
time, without cached route metrics; with the same seeds, so that the same packets are lost as long
as the same packets are sent; and with default buffers. Each transfer lasts a fixed time; the octets
that the receiving application has read count.

The path has a bottleneck with a queue of one bandwidth-delay product: the cells without loss show
the use of the bottleneck, the others the response to loss.
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
from tunstack.bench.pool import open_pool
from tunstack.bench.transfer import Outcome, Transfer
from tunstack.path.impair import Impairments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunstack.bench.pool import Worker

_MTU: Final = 1500
_MSS: Final = 1448
_MAX_TRANSFERS: Final = 3 * (os.cpu_count() or 1)
"""Transfers at a time; more would disturb each other."""

_SHORT_RTT: Final = 0.02
"""Seconds: at shorter round trips, delays of the machine distort results if many transfers run."""


@dataclass(slots=True, frozen=True)
class Contender:
    """A sender and a receiver.

    Attributes:
        name: In the table.
        sender: ``kernel`` or ``tunstack``.
        receiver: ``kernel`` or ``tunstack``.
        congestion: The sender's congestion control.
        offload: Whether both ends, and the path, take segments of up to 64 KiB.
    """

    name: str
    sender: str
    receiver: str
    congestion: str
    offload: bool = False

    @property
    def ignores_loss(self) -> bool:
        """Whether its congestion control does not reduce its rate on loss."""
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
        rtt: Round-trip time in seconds, without queueing.
        loss: Probability of packet loss in each direction.
        rate: Bits per second of the bottleneck.
    """

    rtt: float
    loss: float
    rate: float

    @property
    def impairments(self) -> Impairments:
        """The impairments of each direction."""
        queue = max(10, round(self.rate * self.rtt / 8 / _MTU))
        return Impairments(loss=self.loss, delay=self.rtt / 2, rate=self.rate, limit=queue)

    @property
    def expected(self) -> float:
        """Reno's expected throughput in bits per second (Mathis et al., 1997)."""
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
            nothing is random, and one is enough.
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
        """The seeds of all contenders in a cell."""
        return range(1, 1 + (self.repeats if cell.loss else 1))


QUICK: Final = Plan(losses=(0.0, 0.01), seconds=3.0, repeats=3)


@dataclass(slots=True)
class Result:
    """The outcomes of a contender in a cell."""

    cell: Cell
    contender: Contender
    seconds: float
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def load(self) -> float:
        """Its load on the machine, in bits per second, for the limit on concurrent transfers.

        At least the share of a short round trip: concurrent transfers delay a path's packets, which
        matters the more the shorter the round trip is.
        """
        if self.contender.ignores_loss:
            return self.cell.rate
        return max(self.cell.expected, self.cell.rate * min(1.0, _SHORT_RTT / self.cell.rtt))

    @property
    def goodputs(self) -> list[float]:
        """Bits per second of each transfer."""
        return [outcome.octets * 8 / self.seconds for outcome in self.outcomes]

    @property
    def goodput(self) -> float:
        """The median of `goodputs`."""
        return median(self.goodputs)


async def run_plan(plan: Plan, progress: Callable[[float], None]) -> list[Result]:
    """Run a plan; contenders whose congestion control the kernel lacks are left out.

    Transfers run concurrently, each over a path of its own, up to the load of two at full rate.

    Args:
        plan: What to run.
        progress: Called with the share that is done, from 0 to 1.

    Raises:
        tunstack.SetupError: a namespace cannot be created.
        tunstack.bench.pool.TransferError: a transfer failed.
    """
    available = await available_controls()
    contenders = [
        each for each in CONTENDERS if each.sender == "tunstack" or each.congestion in available
    ]
    results = [Result(cell, each, plan.seconds) for cell in plan.cells for each in contenders]
    # Alternately, so that a busier machine affects all contenders alike.
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
        result.outcomes.append(await worker.run(_transfer(result, seed)))
        done += 1
        progress(done / len(turns))

    async with open_pool(_MAX_TRANSFERS, 2 * plan.rate) as pool:
        for result, seed in turns:
            await pool.start(result.load, partial(run, result=result, seed=seed))
    return results


def _transfer(result: Result, seed: int) -> Transfer:
    return Transfer(
        sender=result.contender.sender,
        receiver=result.contender.receiver,
        congestion=result.contender.congestion,
        impair=str(result.cell.impairments),
        seed=seed,
        seconds=result.seconds,
    )


def ratio(results: Iterable[Result], result: Result) -> float | None:
    """A result's goodput divided by the kernel's Reno's on the same path; None without that."""
    for each in results:
        if each.cell == result.cell and each.contender == REFERENCE:
            return result.goodput / each.goodput if each.goodput else None
    return None


def as_json(plan: Plan, results: list[Result], fast: dict[str, Any] | None = None) -> str:
    """All figures and counters as JSON; `fast` is those of fast paths."""
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
    """The congestion controls that the kernel offers to us."""
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
