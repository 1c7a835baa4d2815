"""Goodput across fast paths without loss: with offload and without, tunstack and the kernel.

As :mod:`tunstack.bench.loss` has it: one and the same kind of bridge, fresh namespaces each time, a
queue of one bandwidth-delay product, default buffers. What counts is the last part of a transfer,
when slow start and the repair of what it overshot are over. Transfers run one after the other: each
may need more than one processor.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import tunstack
from tunstack.bench.crew import open_crew
from tunstack.bench.lane import Lane, Outcome
from tunstack.bench.loss import Contender, available_controls
from tunstack.path.impair import Impairments
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.bench.crew import Worker

_MTU: Final = 1500
_MSS: Final = 1448
_SKIPPED: Final = 0.6
"""Of a transfer; what comes in this part is not counted."""

CONTENDERS: Final = (
    Contender("kernel", "kernel", "kernel", "cubic"),
    Contender("kernel, offload", "kernel", "kernel", "cubic", offload=True),
    Contender("tunstack", "tunstack", "kernel", "cubic"),
    Contender("tunstack, offload", "tunstack", "kernel", "cubic", offload=True),
    Contender("kernel to tunstack", "kernel", "tunstack", "cubic"),
    Contender("kernel to tunstack, offload", "kernel", "tunstack", "cubic", offload=True),
)


@dataclass(slots=True, frozen=True)
class FastCell:
    """One path.

    Attributes:
        rtt: Seconds there and back, without any queue.
        rate: Bits per second of the bottleneck, IP headers included.
    """

    rtt: float
    rate: float

    @property
    def impairments(self) -> Impairments:
        """What happens in each direction: a queue in octets, as offload needs it."""
        queue = max(10 * _MTU, round(self.rate * self.rtt / 8))
        return Impairments(delay=self.rtt / 2, rate=self.rate, limit_bytes=queue)

    @property
    def payload(self) -> float:
        """Bits per second that applications can get, when each packet is as large as it may be."""
        return self.rate * _MSS / _MTU


@dataclass(slots=True, frozen=True)
class FastPlan:
    """What to run.

    Attributes:
        rates: Of the cells, in bits per second.
        rtts: Of the cells, in seconds.
        seconds: Of each transfer.
    """

    rates: tuple[float, ...] = (100e6, 1e9)
    rtts: tuple[float, ...] = (0.02, 0.066, 0.2)
    seconds: float = 5.0

    @property
    def cells(self) -> list[FastCell]:
        """Every path, in the order of the tables."""
        return [FastCell(rtt, rate) for rate in self.rates for rtt in self.rtts]

    @property
    def skipped(self) -> float:
        """The seconds at the beginning of each transfer that are not counted."""
        return self.seconds * _SKIPPED


QUICK: Final = FastPlan(rates=(100e6,), rtts=(0.02, 0.066), seconds=3.0)


@dataclass(slots=True)
class FastResult:
    """What came out of a contender in a cell.

    Attributes:
        cell: The path.
        contender: Who sends to whom.
        counted: The seconds that count, at the end of each transfer.
        window: The octets that buffers at both ends let be under way, at the most.
        outcomes: Of each transfer.
    """

    cell: FastCell
    contender: Contender
    counted: float
    window: int
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Bits per second while it counted."""
        octets = sum(outcome.octets - outcome.early for outcome in self.outcomes)
        return octets * 8 / self.counted / len(self.outcomes)

    @property
    def share(self) -> float:
        """The goodput, as a part of what the path can bring."""
        return self.goodput / self.cell.payload

    @property
    def bound(self) -> float:
        """What part of the path buffers let be used, 1 at the most, without any queue."""
        return min(1.0, self.window * 8 / self.cell.rtt / self.cell.rate)


async def run_fast(plan: FastPlan, progress: Callable[[float], None]) -> list[FastResult]:
    """Run all of a plan; the kernel's rows are left out where it lacks CUBIC.

    Args:
        plan: What to run.
        progress: Called with the share that is done, from 0 to 1.

    Raises:
        tunstack.SetupError: there is no namespace to be had, or no offload.
        tunstack.bench.crew.LaneError: a transfer failed.
    """
    available = await available_controls()
    kernel = await _kernel_buffers()
    contenders = [
        each for each in CONTENDERS if each.sender == "tunstack" or each.congestion in available
    ]
    results = [
        FastResult(cell, each, plan.seconds - plan.skipped, _window(each, *kernel))
        for cell in plan.cells
        for each in contenders
    ]

    async def run(worker: Worker, result: FastResult) -> None:
        result.outcomes.append(await worker.run(_lane(plan, result)))
        progress(sum(bool(each.outcomes) for each in results) / len(results))

    async with open_crew(1, plan.rates[0]) as crew:
        for result in results:
            await crew.begin(result.cell.rate, partial(run, result=result))
    return results


def figures(plan: FastPlan, results: list[FastResult]) -> dict[str, Any]:
    """Every figure, with what the paths and tunstack counted."""
    return {
        "plan": asdict(plan),
        "results": [
            {
                **asdict(result.cell),
                "path": str(result.cell.impairments),
                **asdict(result.contender),
                "window": result.window,
                "goodput": result.goodput,
                "share": result.share,
                "outcomes": [asdict(outcome) for outcome in result.outcomes],
            }
            for result in results
        ],
    }


def _lane(plan: FastPlan, result: FastResult) -> Lane:
    return Lane(
        sender=result.contender.sender,
        receiver=result.contender.receiver,
        congestion=result.contender.congestion,
        impair=str(result.cell.impairments),
        seed=1,
        seconds=plan.seconds,
        skipped=plan.skipped,
        offload=result.contender.offload,
    )


async def _kernel_buffers() -> tuple[int, int]:
    """How far a kernel's buffers grow in a new namespace, to send and to receive, in octets."""
    async with tunstack.open_namespace() as namespace:
        sizes = [namespace.sysctl(f"net.ipv4.tcp_{name}") for name in ("wmem", "rmem")]
    send, receive = (int(each.split()[2]) for each in sizes)
    return send, receive


def _window(contender: Contender, kernel_send: int, kernel_receive: int) -> int:
    """The octets that both ends' buffers hold, the smaller of the two."""
    ours = Config()
    send = ours.send_buffer_max if contender.sender == "tunstack" else kernel_send
    receive = ours.receive_buffer_max if contender.receiver == "tunstack" else kernel_receive
    return min(send, receive)
