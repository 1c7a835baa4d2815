"""Goodput across fast paths without loss, with and without offload: tunstack and the kernel.

As in :mod:`tunstack.bench.loss`: the same kind of bridge, fresh namespaces each time, a queue of
one bandwidth-delay product, default buffers. The last part of each transfer counts, after slow
start and its recovery. Transfers run one at a time, as each may need more than one processor.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import tunstack
from tunstack.bench.loss import Contender, available_controls
from tunstack.bench.pool import open_pool
from tunstack.bench.transfer import Outcome, Transfer
from tunstack.path.impair import Impairments
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.bench.pool import Worker

_MTU: Final = 1500
_MSS: Final = 1448
_SKIPPED: Final = 0.6
"""The share of a transfer, at its beginning, that is not counted."""

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
        rtt: Round-trip time in seconds, without queueing.
        rate: Bits per second of the bottleneck, IP headers included.
    """

    rtt: float
    rate: float

    @property
    def impairments(self) -> Impairments:
        """The impairments of each direction, with a queue in octets, as offload requires."""
        queue = max(10 * _MTU, round(self.rate * self.rtt / 8))
        return Impairments(delay=self.rtt / 2, rate=self.rate, limit_bytes=queue)

    @property
    def payload(self) -> float:
        """The path's capacity for application data in bits per second, with packets of the MTU."""
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
    """The outcomes of a contender in a cell.

    Attributes:
        cell: The path.
        contender: The sender and the receiver.
        counted: The seconds that count, at the end of each transfer.
        window: The octets in flight at most, as limited by both buffers.
        outcomes: Of each transfer.
    """

    cell: FastCell
    contender: Contender
    counted: float
    window: int
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Bits per second in the part that counts."""
        octets = sum(outcome.octets - outcome.early for outcome in self.outcomes)
        return octets * 8 / self.counted / len(self.outcomes)

    @property
    def share(self) -> float:
        """The goodput as a share of the path's capacity."""
        return self.goodput / self.cell.payload

    @property
    def bound(self) -> float:
        """The share of the path's rate that the window permits, at most 1."""
        return min(1.0, self.window * 8 / self.cell.rtt / self.cell.rate)


async def run_fast(plan: FastPlan, progress: Callable[[float], None]) -> list[FastResult]:
    """Run a plan; the kernel's rows are left out where it lacks CUBIC.

    Args:
        plan: What to run.
        progress: Called with the share that is done, from 0 to 1.

    Raises:
        tunstack.SetupError: a namespace cannot be created, or offload is not available.
        tunstack.bench.pool.TransferError: a transfer failed.
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
        result.outcomes.append(await worker.run(_transfer(plan, result)))
        progress(sum(bool(each.outcomes) for each in results) / len(results))

    async with open_pool(1, plan.rates[0]) as pool:
        for result in results:
            await pool.start(result.cell.rate, partial(run, result=result))
    return results


def figures(plan: FastPlan, results: list[FastResult]) -> dict[str, Any]:
    """All figures and counters."""
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


def _transfer(plan: FastPlan, result: FastResult) -> Transfer:
    return Transfer(
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
    """The limits of a new namespace's tcp_wmem and tcp_rmem, in octets."""
    async with tunstack.open_namespace() as namespace:
        sizes = [namespace.sysctl(f"net.ipv4.tcp_{name}") for name in ("wmem", "rmem")]
    send, receive = (int(each.split()[2]) for each in sizes)
    return send, receive


def _window(contender: Contender, kernel_send: int, kernel_receive: int) -> int:
    """The smaller of the send and the receive buffer's limits, in octets."""
    ours = Config()
    send = ours.send_buffer_max if contender.sender == "tunstack" else kernel_send
    receive = ours.receive_buffer_max if contender.receiver == "tunstack" else kernel_receive
    return min(send, receive)
