"""OSError by number."""

from __future__ import annotations

import os


def os_error(number: int) -> OSError:
    """Return an OSError with the system's message."""
    return OSError(number, os.strerror(number))
