"""A host on which scripts speak TCP, and another whose TCP they speak with,."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.socket.network import OURS, THEIRS
from tunstack import Config, Host, memory_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def hosts() -> AsyncIterator[tuple[Host, Host]]:
    """The script's host, and the other; both with an address of each family."""
    left, right = memory_pair()
    config = Config(tail_loss_probe=False)
    async with (
        Host(left, [f"{OURS}/24", "2001:db8::2/64"], seed=1) as ours,
        Host(right, [f"{THEIRS}/24", "2001:db8::1/64"], seed=2, config=config) as theirs,
    ):
        yield ours, theirs
