"""Runs of trio in virtual time that can be repeated: the clock, the scheduling, and all randomness.

Private names of trio are used, the same as by Hypothesis' plugin in trio itself: its scheduler
sorts each batch of tasks if ``_ALLOW_DETERMINISTIC_SCHEDULING`` is true, and shuffles it with the
generator ``_r``.
"""

from __future__ import annotations

import os
import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple, final

import trio
from trio.testing import MockClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_seed_of_run: Final = trio.lowlevel.RunVar[object]("tunstack seed", 0)


def run_virtual(
    main: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    seed: object = 0,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> T:
    """Run a trio program in virtual time, so that the same seed gives the same run.

    Time passes only when all tasks wait, and then jumps to the next deadline: a timeout of three
    minutes takes a millisecond. It begins at 0. trio's scheduling follows from the seed, and so
    does what this thread takes from `random`, `os.urandom`, `secrets` and `uuid`; the generators
    are restored afterwards. The networks of :func:`tunstack.open_network` have the seed too.

    What remains the machine's: `time.time` and `datetime` (as in an HTTP ``Date``), the randomness
    of OpenSSL, the order of sets of strings (PYTHONHASHSEED), threads, processes and files. The
    clock does not wait for these: while all tasks wait for a thread of `trio.to_thread`, say, it
    jumps to the next timeout.

    With pytest-trio: ``@pytest.mark.trio(run=tunstack.run_virtual)``.

    Args:
        main: The program, an async function.
        args: Its arguments.
        seed: Any int or str.
        clock: Another clock than trio's `MockClock` with an `autojump_threshold` of 0.
        instruments: As of `trio.run`.

    Returns:
        What `main` returns.

    Raises:
        BaseException: What `main` raises.
        RuntimeError: It is called from within a trio run; or the trio that is installed cannot be
            made deterministic.
    """

    async def seeded() -> T:
        _seed_of_run.set(seed)
        return await main(*args)

    with deterministic(seed):
        return trio.run(
            seeded,
            clock=clock or MockClock(autojump_threshold=0),
            instruments=instruments,
        )


def seed_of_run() -> object:
    """Return the seed of :func:`run_virtual` within it; 0 in any other trio run."""
    return _seed_of_run.get()


@contextmanager
def deterministic(seed: object) -> Iterator[None]:
    """Within the block, let trio's scheduling and random numbers of this thread follow from a seed.

    For trio runs that :func:`run_virtual` does not begin, as in guest mode. Other threads, which
    may have trio runs of their own, see no difference; but for `random.seed`, as the functions of
    `random` have one generator for all threads.
    """
    ident = threading.get_ident()
    outer = _by_thread.get(ident)
    with _lock:
        if not _by_thread:
            _replace()
        _by_thread[ident] = _Generators(
            random.Random(f"scheduling {seed}"), random.Random(f"urandom {seed}")
        )
    before = random.getstate()
    random.seed(f"random {seed}")
    try:
        yield
    finally:
        with _lock:
            if outer is not None:
                _by_thread[ident] = outer
            else:
                del _by_thread[ident]
                if not _by_thread:
                    _restore()
        random.setstate(before)


# What is replaced while there is a block

_TRIO: Final[Any] = trio._core._run
_RANDOM: Final[Any] = random
_lock: Final = threading.Lock()
_urandom: Final = os.urandom


@final
class _Generators:
    """The generators of a thread.

    Attributes:
        scheduling: That of trio.
        octets: That of `os.urandom`.
    """

    def __init__(self, scheduling: random.Random, octets: random.Random) -> None:
        self.scheduling = scheduling
        self.octets = octets


_by_thread: Final[dict[int, _Generators]] = {}


@final
class _Scheduling:
    """Replaces trio's generator: each thread has its own, or else the original."""

    def __init__(self, original: random.Random) -> None:
        self.original = original
        self.sorted = _TRIO._ALLOW_DETERMINISTIC_SCHEDULING

    def __getattr__(self, name: str) -> Any:
        generators = _by_thread.get(threading.get_ident())
        return getattr(self.original if generators is None else generators.scheduling, name)


def _seeded_urandom(size: int, /) -> bytes:
    generators = _by_thread.get(threading.get_ident())
    return _urandom(size) if generators is None else generators.octets.randbytes(size)


def _replace() -> None:
    if not isinstance(getattr(_TRIO, "_r", None), random.Random) or not hasattr(
        _TRIO, "_ALLOW_DETERMINISTIC_SCHEDULING"
    ):
        raise RuntimeError(f"the scheduling of trio {trio.__version__} cannot be seeded")
    _TRIO._r = _Scheduling(_TRIO._r)
    _TRIO._ALLOW_DETERMINISTIC_SCHEDULING = True
    os.urandom = _RANDOM._urandom = _seeded_urandom


def _restore() -> None:
    scheduling = _TRIO._r
    _TRIO._r = scheduling.original
    _TRIO._ALLOW_DETERMINISTIC_SCHEDULING = scheduling.sorted
    os.urandom = _RANDOM._urandom = _urandom
