"""Running the suite: servers, turns, pairs of runs.

Each group of cases has a private namespace and servers of its own, both lanes' at once. Cases among
different numbers of idle connections have a server for each number, so that these take turns, too,
and a machine that gets busier does not pass for the price of a crowd.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tunstack.bench.cases import GROUPS, Plan
from tunstack.bench.rows import make_results
from tunstack.bench.running import HELD_PORTS, LANES, open_server
from tunstack.bench.server import HTTP
from tunstack.deploy.namespace import open_namespace

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.bench.cases import Group
    from tunstack.bench.rows import Result
    from tunstack.bench.running import Server
    from tunstack.deploy.namespace import Namespace

_WARM_UP: Final = 0.5
"""Seconds of a run before the first that counts."""


@dataclass(slots=True)
class Progress:
    """What goes on.

    Attributes:
        what: Is run now.
        done: Of `total` runs.
        total: Of all of them.
    """

    what: str
    done: int
    total: int


async def run_suite(
    plan: Plan, names: tuple[str, ...], progress: Callable[[Progress], None]
) -> list[Result]:
    """Measure, group by group, after a short run of each case to warm up.

    Args:
        plan: How thoroughly.
        names: Of `GROUPS`.
        progress: Called before each run.

    Raises:
        tunstack.SetupError: there is no namespace, or no device, to be had.
        GeneratorError: a load failed.
    """
    groups = [GROUPS[name](plan) for name in names]
    total = sum(_runs(group, plan) for group in groups)
    state = Progress("", 0, total)

    def step(what: str) -> None:
        state.what = what
        progress(state)
        state.done += 1

    results = []
    for group in groups:
        async with open_namespace() as namespace:
            # Ports beside those of the clients that hold connections; and a backlog as long as
            # tunstack's, where the kernel lets a user's namespace choose.
            namespace.sysctl("net.ipv4.ip_local_port_range", f"{HELD_PORTS.stop} 65535")
            with suppress(OSError):
                namespace.sysctl("net.core.somaxconn", 65535)
            runs = await _run_group(namespace, group, plan, step)
        results += make_results(group.rows, runs)
    return results


def _runs(group: Group, plan: Plan) -> int:
    # Servers have to be started, too.
    places = {case.place: case for case in group.cases}
    return sum(len(group.lanes_of(case)) for case in places.values()) + sum(
        len(group.lanes_of(case)) * (1 if case.alone else plan.pairs + 1) for case in group.cases
    )


async def _run_group(
    namespace: Namespace, group: Group, plan: Plan, step: Callable[[str], None]
) -> dict[str, list[dict[str, float]]]:
    """Run a group; returns the figures of each pair, by lane."""
    warming = Plan(seconds=min(_WARM_UP, plan.seconds), own=True)
    found: dict[str, list[dict[str, float]]] = {lane: [] for lane in LANES}
    async with AsyncExitStack() as stack:
        servers: dict[tuple[str, str | int], Server] = {}
        places = {case.place: case for case in group.cases}
        for number, (key, case) in enumerate(places.items()):
            plain = case.plain or not plan.offload
            for lane in group.lanes_of(case):
                step(f"starting to serve over {lane}")
                options = ("--no-offload",) if plain and lane == "tunstack" else ()
                server = await stack.enter_async_context(
                    open_server(namespace, lane, number, connections=case.idle, options=options)
                )
                await stack.enter_async_context(server.holding(HTTP, case.idle))
                servers[lane, key] = server
        for number in range(-1, plan.pairs):
            figures: dict[str, dict[str, float]] = defaultdict(dict)
            for case in group.cases:
                if case.alone and number != 0:
                    continue
                for lane in group.lanes_of(case):
                    step(f"{case.name}: {lane}, {max(number, 0) + 1} of {plan.pairs}")
                    server = servers[lane, case.place]
                    figures[lane] |= await case.measure(server, plan if number >= 0 else warming)
            if number >= 0:
                for lane in group.lanes:
                    found[lane].append(figures[lane])
    return found
