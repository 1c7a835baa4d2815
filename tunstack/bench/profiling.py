"""CPU profiles of the benchmark's server under load.

``python -m tunstack.bench.profiling DIRECTORY [LOAD...]`` runs each load twice, for two files:

    LOAD.folded   sampled microseconds by call stack, for speedscope or flamegraph.pl; the printed
                  tables are made from it
    LOAD.prof     cProfile's data, for snakeviz or ``python -m pstats``: its call counts are exact,
                  its times are distorted
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

import tunstack
from tunstack.bench import generators
from tunstack.bench.running import open_server
from tunstack.bench.sampling import by_layer, own_time, unfold

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tunstack.bench.generators import Generator
    from tunstack.bench.sampling import Stack

_LOADS: Final[dict[str, Callable[[str, float], Generator]]] = {
    "bulk-to-us": lambda address, seconds: generators.bulk(address, seconds, 1, to_us=True),
    "bulk-from-us": lambda address, seconds: generators.bulk(address, seconds, 1, to_us=False),
    "requests": lambda address, seconds: generators.requests(address, seconds, 16),
    "connections": lambda address, seconds: generators.connections(address, seconds, 16),
}
_TOP: Final = 25


async def profile(load: str, backend: str, seconds: float, folder: Path) -> Path:
    """Run a load twice; returns the file of samples.

    Raises:
        tunstack.SetupError: a namespace or a device cannot be created.
        GeneratorError: the load failed.
    """
    async with tunstack.open_namespace() as namespace:
        samples = (folder / f"{load}.folded").absolute()
        calls = (folder / f"{load}.prof").absolute()
        for number, option in enumerate((["--samples", str(samples)], ["--calls", str(calls)])):
            async with open_server(namespace, backend, number, options=option) as server:
                await server.load(_LOADS[load](server.address, seconds))
    return samples


def describe(load: str, samples: Counter[Stack]) -> str:
    """Format tables of samples: by layer, and the functions with the most own time.

    Args:
        load: The load's name.
        samples: At least one.
    """
    total = sum(samples.values())
    lines = [f"{load}: {total / 1e6:.2f} s of CPU; own time", ""]
    lines += [f"{count / total:7.1%}  {layer}" for layer, count in by_layer(samples).most_common()]
    lines.append("")
    for function, count in own_time(samples).most_common(_TOP):
        lines.append(f"{count / total:7.1%}  {function}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(prog="python -m tunstack.bench.profiling")
    parser.add_argument("folder", type=Path, help="for the files; made if it is not there")
    parser.add_argument("loads", nargs="*", metavar="LOAD", help=f"of {', '.join(_LOADS)}")
    backends = ["tunstack", "kernel"]
    parser.add_argument("--lane", dest="backend", choices=backends, default=backends[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run [3]")
    arguments = parser.parse_args()
    for unknown in set(arguments.loads) - set(_LOADS):
        parser.error(f"there is no load {unknown}; there are {', '.join(_LOADS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for load in arguments.loads or _LOADS:
        file = trio.run(profile, load, arguments.backend, arguments.seconds, arguments.folder)
        with file.open() as lines:
            print(describe(load, unfold(lines)))
        print(f"stacks in {file}, calls in {file.with_suffix('.prof')}\n")


if __name__ == "__main__":
    main()
