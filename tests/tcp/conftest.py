"""What the tests of the TCP core share: no segment goes unnoticed, and numbers wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tcp.harness import Numbers, Trace

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Whatever a test's connections sent, it has expected or drained by its end."""
    Trace.unfinished.clear()
    yield
    for trace in Trace.unfinished:
        trace.expect_nothing()


@pytest.fixture(params=[(0, 0), (2**31 - 1, 2**31 - 1), (2**32 - 3, 2**32 - 3), (2**32 - 3, 7)])
def numbers(request: pytest.FixtureRequest) -> Numbers:
    """Initial sequence numbers for `Bench`: plain ones, and such that wrap in different ways."""
    iss, irs = request.param
    return {"iss": iss, "irs": irs}
