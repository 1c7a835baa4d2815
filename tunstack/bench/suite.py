"""Run the suite: start the servers, and run the cases alternately over both backends.

Each group of cases has a private namespace, with servers of both backends. Cases with different
numbers of idle connections have a server each, so that they alternate too: a machine that gets
busier must not look like the cost of idle connections.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tunstack.bench.cases import GROUPS, Plan
from tunstack.bench.ports import HTTP
from tunstack.bench.rows import make_results
from tunstack.bench.running import BACKENDS, HELD_PORTS, open_server
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
    """The suite's progress.

    Attributes:
        what: The present run.
        done: The number of runs that are done.
        total: The number of all runs.
    """

    what: str
    done: int
    total: int


async def run_suite(
    plan: Plan, names: tuple[str, ...], progress: Callable[[Progress], None]
) -> list[Result]:
    """Measure group by group, each case after a short run to warm up.

    Args:
        plan: Repetitions and durations.
        names: Of `GROUPS`.
        progress: Called before each run.

    Raises:
        tunstack.SetupError: a namespace or a device cannot be created.
        GeneratorError: a load generator failed.
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
            # Ephemeral ports apart from those of held connections; and a backlog as long as
            # tunstack's, where the kernel permits it.
            namespace.sysctl("net.ipv4.ip_local_port_range", f"{HELD_PORTS.stop} 65535")
            with suppress(OSError):
                namespace.sysctl("net.core.somaxconn", 65535)
            runs = await _run_group(namespace, group, plan, step)
        results += make_results(group.rows, runs)
    return results


def _runs(group: Group, plan: Plan) -> int:
    # Starting a server counts as a run.
    places = {case.place: case for case in group.cases}
    return sum(len(group.backends_of(case)) for case in places.values()) + sum(
        len(group.backends_of(case)) * (1 if case.alone else plan.pairs + 1) for case in group.cases
    )


async def _run_group(
    namespace: Namespace, group: Group, plan: Plan, step: Callable[[str], None]
) -> dict[str, list[dict[str, float]]]:
    """Run a group; returns the figures of each run, by backend."""
    warming = Plan(seconds=min(_WARM_UP, plan.seconds), own=True)
    found: dict[str, list[dict[str, float]]] = {backend: [] for backend in BACKENDS}
    async with AsyncExitStack() as stack:
        servers: dict[tuple[str, str | int], Server] = {}
        places = {case.place: case for case in group.cases}
        for number, (key, case) in enumerate(places.items()):
            plain = case.plain or not plan.offload
            for backend in group.backends_of(case):
                step(f"starting to serve over {backend}")
                options = ["--no-offload"] if plain and backend == "tunstack" else []
                options += ["--tls"] if case.tls else []
                options += ["--uvloop"] if case.uvloop and backend == "kernel" else []
                server = await stack.enter_async_context(
                    open_server(
                        namespace,
                        backend,
                        number,
                        ipv6=case.ipv6,
                        connections=case.idle,
                        options=options,
                    )
                )
                await stack.enter_async_context(server.holding(HTTP, case.idle))
                servers[backend, key] = server
        for number in range(-1, plan.pairs):
            figures: dict[str, dict[str, float]] = defaultdict(dict)
            for case in group.cases:
                if case.alone and number != 0:
                    continue
                for backend in group.backends_of(case):
                    step(f"{case.name}: {backend}, {max(number, 0) + 1} of {plan.pairs}")
                    server = servers[backend, case.place]
                    figures[backend] |= await case.measure(server, plan if number >= 0 else warming)
            if number >= 0:
                for backend in group.backends:
                    found[backend].append(figures[backend])
    return found
