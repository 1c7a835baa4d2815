"""A run in virtual time: its clock, its scheduling, its random numbers, and what it restores."""

from __future__ import annotations

import os
import random
import secrets
import threading
import uuid
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

import tunstack
from tunstack.virtual.run import deterministic

if TYPE_CHECKING:
    from collections.abc import Callable


async def order(count: int = 20) -> list[int]:
    """In which order trio runs tasks that are all runnable."""
    ran: list[int] = []

    async def note(number: int) -> None:
        await trio.lowlevel.checkpoint()
        ran.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(note, number)
    return ran


def test_the_scheduling_follows_from_the_seed() -> None:
    ran = [tunstack.run_virtual(order, seed=1) for _ in range(10)]
    assert ran.count(ran[0]) == 10
    assert sorted(ran[0]) == [*range(20)]
    assert tunstack.run_virtual(order, seed=2) != ran[0]


def test_arguments_and_results_pass() -> None:
    assert len(tunstack.run_virtual(order, 3)) == 3


def test_time_begins_at_0_and_jumps() -> None:
    async def main() -> tuple[float, float]:
        began = trio.current_time()
        with trio.move_on_after(180):
            await trio.sleep_forever()
        return began, trio.current_time()

    assert tunstack.run_virtual(main) == (0, 180)


@pytest.mark.parametrize(
    "draw",
    [
        random.random,
        lambda: os.urandom(8),
        lambda: secrets.token_hex(8),
        uuid.uuid4,
        random.SystemRandom().random,
    ],
    ids=["random", "urandom", "secrets", "uuid", "SystemRandom"],
)
def test_random_numbers_follow_from_the_seed(draw: Callable[[], object]) -> None:
    async def main() -> list[object]:
        return [draw() for _ in range(3)]

    first = tunstack.run_virtual(main, seed=1)
    assert tunstack.run_virtual(main, seed=1) == first
    assert tunstack.run_virtual(main, seed=2) != first
    assert [draw() for _ in range(3)] != first


def test_afterwards_all_is_as_before() -> None:
    async def fail() -> None:
        random.random()
        raise KeyError

    urandom, state = os.urandom, random.getstate()
    scheduling = trio._core._run._r, trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING
    with pytest.raises(KeyError):
        tunstack.run_virtual(fail)
    assert os.urandom is urandom
    assert random.getstate() == state
    assert scheduling == (trio._core._run._r, trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING)


def test_within_a_run_the_outer_one_goes_on() -> None:
    async def main() -> tuple[list[int], bytes]:
        with pytest.raises(RuntimeError, match="inside"):
            tunstack.run_virtual(order, seed=3)
        return await order(), os.urandom(4)

    async def plain() -> tuple[list[int], bytes]:
        return await order(), os.urandom(4)

    assert tunstack.run_virtual(main, seed=1) == tunstack.run_virtual(plain, seed=1)


def test_threads_with_runs_of_their_own_change_nothing() -> None:
    drawn: list[bytes] = []

    def elsewhere() -> None:
        trio.run(order)
        drawn.append(os.urandom(8))

    async def main() -> tuple[list[int], list[int], bytes]:
        first = await order()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return first, await order(), os.urandom(8)

    assert tunstack.run_virtual(main) == tunstack.run_virtual(main)
    assert drawn[0] != drawn[1]


def test_the_clock_can_be_another() -> None:
    async def main() -> float:
        await trio.sleep(0.001)
        return trio.current_time()

    clock = MockClock(rate=1000)
    assert tunstack.run_virtual(main, clock=clock) > 0


def test_a_trio_that_cannot_be_seeded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("trio._core._run._r")
    with pytest.raises(RuntimeError, match=r"the scheduling of trio .* cannot be seeded"):
        tunstack.run_virtual(order)


def test_guest_mode_can_be_deterministic() -> None:
    with deterministic(1):
        ran = trio.run(order)
    with deterministic(1):
        assert trio.run(order) == ran


async def octets() -> bytes:
    return os.urandom(8)


@pytest.mark.trio(run=tunstack.run_virtual)
async def test_pytest_trio_runs_a_test_so() -> None:
    assert trio.current_time() == 0
    assert await octets() == OCTETS


OCTETS = tunstack.run_virtual(octets)
