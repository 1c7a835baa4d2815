"""Numbers for `fileno`."""

from __future__ import annotations

import itertools
from typing import Final

_numbers: Final = itertools.count(1 << 30)


def next_descriptor() -> int:
    """Return a number that no other socket has, and no real descriptor."""
    return next(_numbers)
