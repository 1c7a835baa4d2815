"""Measure what a SYN flood does to a web server: ``python -m tests.attack.flood [SYNS [RATE]]``.

All of it happens in a network namespace of its own. `ab` makes its requests while the flood lasts,
again and again if it is done earlier. TIME-WAIT is short here: with 4 KB for each request of a
minute, it would be all that one sees.
"""

from __future__ import annotations

import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

import tunstack
from tunstack.apps import APPS

SENDER: Final = Path(__file__).with_name("syns.py")
URL: Final = "http://198.51.100.2/"
SYNS: Final = 100_000
RATE: Final = 10_000
"""A second: what a slow machine can take, so that they all arrive."""
REQUESTS: Final = 2000
CONFIG: Final = tunstack.Config(msl=0.1)


@dataclass
class Figures:
    """What came out; sizes in octets, times in seconds.

    Attributes:
        seconds: How long the flood lasted.
        rounds: How often `ab` made its requests.
        complete: How many were answered, in all.
        failed: How many were not.
        slowest: The slowest of them.
        calm: How much the process held before, when `ab` had run once.
        after: How much it holds now.
        statistics: The host's, all that are not 0.
    """

    seconds: float
    rounds: int
    complete: int
    failed: int
    slowest: float
    calm: int
    after: int
    statistics: dict[str, int]

    @property
    def growth(self) -> int:
        """What the flood made the process grow by."""
        return self.after - self.calm


def resident() -> int:
    """What this process holds, in octets."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def bench(namespace: tunstack.Namespace, ab: str, requests: int) -> tuple[int, int, float]:
    """One round of `ab`: how many requests were answered, how many failed, the slowest."""
    command = [ab, "-n", str(requests), "-c", "20", URL]
    done = await namespace.run_process(command, capture_stdout=True, capture_stderr=True)
    report = done.stdout.decode()

    def number(what: str) -> int:
        found = re.search(rf"{what}\D+(\d+)", report)
        assert found is not None, report
        return int(found[1])

    return number("Complete requests:"), number("Failed requests:"), number("100%") / 1000


async def flood(
    syns: int,
    requests: int,
    *,
    rate: float = RATE,
    ab: str = "ab",
    limits: tunstack.Limits | None = None,
) -> Figures:
    """Run a server, a flood of `syns` and meanwhile rounds of `requests`."""
    async with (
        tunstack.open_namespace() as namespace,
        namespace.open_host(config=CONFIG, limits=limits) as host,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(host.serve_tcp, APPS["http"].handler, 80)
        await bench(namespace, ab, requests)
        calm = resident()
        seconds: list[float] = []

        async def attack() -> None:
            command = [sys.executable, "-I", "-S", str(SENDER), str(syns), str(rate)]
            done = await namespace.run_process(command, capture_stdout=True)
            seconds.append(float(done.stdout))

        rounds = complete = failed = 0
        slowest = 0.0
        async with trio.open_nursery() as attackers:
            attackers.start_soon(attack)
            while not seconds:
                answered, refused, longest = await bench(namespace, ab, requests)
                rounds += 1
                complete += answered
                failed += refused
                slowest = max(slowest, longest)
        after = resident()
        statistics = {name: count for name, count in host.statistics().items() if count}
        nursery.cancel_scope.cancel()
    return Figures(seconds[0], rounds, complete, failed, slowest, calm, after, statistics)


def main() -> None:
    """Measure, and print the figures."""
    syns = int(sys.argv[1]) if len(sys.argv) > 1 else SYNS
    rate = float(sys.argv[2]) if len(sys.argv) > 2 else RATE
    figures = trio.run(lambda: flood(syns, REQUESTS, rate=rate))
    print(f"{syns} SYNs in {figures.seconds:.1f} s ({syns / figures.seconds:,.0f} a second)")
    print(f"ab -n {REQUESTS} -c 20: {figures.rounds} times meanwhile")
    print(f"requests: {figures.complete} answered, {figures.failed} failed,", end=" ")
    print(f"the slowest in {figures.slowest:.2f} s")
    print(f"memory: {figures.calm >> 20} MiB before, {figures.after >> 20} MiB after", end=" ")
    print(f"({figures.growth >> 10:+} KiB)")
    for name, count in sorted(figures.statistics.items()):
        print(f"  {name:24}{count:>10}")
    sys.exit(figures.failed > 0)


if __name__ == "__main__":
    main()
