"""What this process has allocated is counted, small and large."""

from __future__ import annotations

import os
import sys

import pytest

from tests.allocated import allocated


@pytest.mark.parametrize(("count", "size"), [(20_000, 40), (2000, 700), (1000, 1500), (3, 5 << 20)])
def test_what_is_allocated_is_counted_and_what_is_freed_is_not(count: int, size: int) -> None:
    before = allocated()
    held = [bytes(size) for _ in range(count)]
    taken = allocated() - before
    exact = sys.getsizeof(held) + sum(map(sys.getsizeof, held))
    assert exact <= taken < exact * 1.1 + 20_000
    del held
    assert abs(allocated() - before) < 20_000


def test_what_refers_to_itself_is_collected_first_unless_it_shall_not_be() -> None:
    before = allocated()
    itself: list[object] = [bytes(100_000)]
    itself.append(itself)
    del itself
    assert allocated(collect=False) - before > 100_000
    assert allocated() - before < 20_000


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    allocated()
    os.write(2, b"after it")
    assert capfd.readouterr() == ("", "after it")
