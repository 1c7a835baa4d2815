"""A host on which scripts speak TCP, and another whose TCP they speak with, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.socket.network import OURS, THEIRS
from tunstack import Config, Host, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


@pytest.fixture
async def hosts(autojump_clock: MockClock) -> AsyncIterator[tuple[Host, Host]]:
    """The script's host, and the other; both with an address of each family."""
    left, right = memory_pair()
    config = Config(tail_loss_probe=False)
    async with (
        Host(left, [f"{OURS}/24", "2001:db8::2/64"], seed=1) as ours,
        Host(right, [f"{THEIRS}/24", "2001:db8::1/64"], seed=2, config=config) as theirs,
    ):
        yield ours, theirs
