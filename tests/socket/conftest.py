"""No test here waits for a real clock, or is judged by it."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HERE = f"{Path(__file__).parent}{os.sep}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        function = getattr(item, "obj", None)
        if str(item.path).startswith(HERE) and inspect.iscoroutinefunction(function):
            item.add_marker(pytest.mark.trio(run=run_on_a_virtual_clock))


def run_on_a_virtual_clock(
    test: Callable[[], Awaitable[object]], *, clock: trio.abc.Clock | None, **options: Any
) -> object:
    """As `trio.run`, but that time passes only when everybody waits for it; then it jumps."""
    return trio.run(test, clock=clock or MockClock(autojump_threshold=0), **options)
