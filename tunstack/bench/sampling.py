"""A sampling profiler: the call stack of the main thread, every two milliseconds of CPU time.

cProfile's overhead per call distorts programs of many small functions; sampling has almost none.

The timer counts the process's own CPU time (ITIMER_PROF). A real-time timer also fires while
another process has the CPU, mostly one that our own write to the device has woken, and blames that
write for it: for half of all time on a busy machine. The timer has the resolution of the kernel's
tick, 1 to 10 ms, so each sample is weighted by the CPU time since the last one.
"""

from __future__ import annotations

import signal
import sysconfig
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

Stack: TypeAlias = "tuple[Function, ...]"
"""The outermost function first."""

_INTERVAL: Final = 0.002
"""Seconds of CPU time between samples, at least."""

_OURS: Final = Path(__file__).parent.parent
_SITES: Final = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]


class Function(NamedTuple):
    """A function in a stack.

    Attributes:
        layer: One of ours, ``tcp``, ``wire``, ``link``...; ``program`` for the server's own code;
            another package's name, as ``trio``; ``python`` for the standard library.
        module: The module, without the package: ``sender``.
        name: Its qualified name.
    """

    layer: str
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.layer}/{self.module}:{self.name}"


@contextmanager
def sample() -> Iterator[Counter[Stack]]:
    """Sample the main thread while the block runs.

    Yields:
        Microseconds of CPU time by call stack, filled in when the block ends.
    """
    raw: Counter[tuple[tuple[str, str], ...]] = Counter()

    last = time.thread_time_ns()

    def take(_: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.thread_time_ns()
        spent, last = now - last, now
        stack = []
        while frame is not None:
            stack.append((frame.f_code.co_filename, frame.f_code.co_qualname))
            frame = frame.f_back
        raw[tuple(reversed(stack))] += spent

    before = signal.signal(signal.SIGPROF, take)
    signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)
    samples: Counter[Stack] = Counter()
    try:
        yield samples
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        for stack, spent in raw.items():
            samples[tuple(locate(*each) for each in stack)] += round(spent / 1000)


def locate(file: str, name: str) -> Function:
    """Return a function's layer and module."""
    path = Path(file)
    if path.is_relative_to(_OURS):
        first, *rest = path.relative_to(_OURS).with_suffix("").parts
        layer = "program" if first == "bench" else first
        return Function(layer, ".".join(rest) or first, name)
    for folder in _SITES:
        if path.is_relative_to(folder):
            package = path.relative_to(folder).parts[0]
            return Function(package.removesuffix(".py"), path.stem, name)
    return Function("python", path.stem, name)


def own_time(samples: Counter[Stack]) -> Counter[Function]:
    """The microseconds of each function itself, with the C functions that it calls."""
    own: Counter[Function] = Counter()
    for stack, count in samples.items():
        own[stack[-1]] += count
    return own


def by_layer(samples: Counter[Stack]) -> Counter[str]:
    """The microseconds of each layer."""
    layers: Counter[str] = Counter()
    for function, count in own_time(samples).items():
        layers[function.layer] += count
    return layers


def fold(samples: Counter[Stack]) -> str:
    """Write stacks as flamegraph.pl and speedscope read them: ``a;b;c 12`` on a line each."""
    lines = sorted(f"{';'.join(map(str, stack))} {count}" for stack, count in samples.items())
    return "".join(f"{line}\n" for line in lines)


def unfold(lines: Iterable[str]) -> Counter[Stack]:
    """Parse the output of :func:`fold`."""
    samples: Counter[Stack] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        samples[tuple(map(_parse, stack.split(";")))] += int(count)
    return samples


def _parse(text: str) -> Function:
    layer, _, rest = text.partition("/")
    module, _, name = rest.partition(":")
    return Function(layer, module, name)
