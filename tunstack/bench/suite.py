"""What is measured, and how: pairs of runs, medians, ratios."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import trio

import tunstack
from tunstack.apps import APPS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SIDES: Final = {"tunstack": "198.51.100.2", "kernel": "127.0.0.1"}
"""Where each side serves."""

_LOAD: Final = Path(__file__).with_name("load.py")
_SERVED: Final = ("http", "discard")


@dataclass(slots=True, frozen=True)
class Measurement:
    """One thing to measure.

    Attributes:
        name: For the table.
        load: Which of :mod:`tunstack.bench.load`.
        app: What serves it.
        amount: Of octets, or of requests; `quick` stands for it in a quick run.
        connections: How many of them.
        unit: What a second of it is called.
        per_unit: How much of `amount` makes one unit.
    """

    name: str
    load: str
    app: str
    amount: int
    quick: int
    unit: str
    per_unit: float
    connections: int = 1


MEASUREMENTS: Final = (
    Measurement("bulk, kernel to us", "send", "discard", 256 << 20, 32 << 20, "Mbit/s", 1e6 / 8),
    Measurement("bulk, us to kernel", "receive", "http", 256 << 20, 32 << 20, "Mbit/s", 1e6 / 8),
    Measurement("requests, 1 connection", "requests", "http", 5000, 1000, "/s", 1),
    Measurement("requests, 16 connections", "requests", "http", 20000, 2000, "/s", 1, 16),
)


@dataclass(slots=True)
class Result:
    """What came out: rates in the measurement's unit, one for each run, by side."""

    measurement: Measurement
    rates: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})

    def median(self, side: str) -> float:
        """The median rate of a side."""
        return median(self.rates[side])

    @property
    def ratio(self) -> float:
        """tunstack's median in units of the kernel's."""
        return self.median("tunstack") / self.median("kernel")


@asynccontextmanager
async def _served() -> AsyncIterator[tunstack.Namespace]:
    """A namespace in which both sides serve all that is needed."""
    async with (
        tunstack.open_namespace() as namespace,
        namespace.open_host() as host,
        trio.open_nursery() as nursery,
    ):
        for name in _SERVED:
            app = APPS[name]
            await nursery.start(host.serve_tcp, app.handler, app.port)
            sock = namespace.socket()
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            await sock.bind((SIDES["kernel"], app.port))
            sock.listen(4096)
            nursery.start_soon(trio.serve_listeners, app.handler, [trio.SocketListener(sock)])
        yield namespace
        nursery.cancel_scope.cancel()


async def run_suite(*, pairs: int, quick: bool, progress: Callable[[str], None]) -> list[Result]:
    """Measure everything, `pairs` times on each side in turn, after a run of each to warm up.

    Args:
        pairs: How many runs count on each side.
        quick: Smaller amounts.
        progress: Called with what is measured next.

    Raises:
        tunstack.SetupError: there is no namespace to be had.
    """
    results = []
    async with _served() as namespace:
        for measurement in MEASUREMENTS:
            result = Result(measurement)
            for number in range(-1, pairs):
                for side, address in SIDES.items():
                    progress(f"{measurement.name}: {side}, {max(number, 0) + 1} of {pairs}")
                    amount = measurement.quick if quick or number < 0 else measurement.amount
                    seconds = await _load(namespace, measurement, address, amount)
                    if number >= 0:
                        result.rates[side].append(amount / seconds / measurement.per_unit)
            results.append(result)
    return results


async def _load(
    namespace: tunstack.Namespace, measurement: Measurement, address: str, amount: int
) -> float:
    arguments = [address, APPS[measurement.app].port, amount, measurement.connections]
    command = [sys.executable, "-I", "-S", str(_LOAD), measurement.load, *map(str, arguments)]
    finished = await namespace.run_process(command, capture_stdout=True)
    return float(finished.stdout)
