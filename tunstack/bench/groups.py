"""The groups of the suite's cases, by name: what ``--only`` takes."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    *("bulk", "requests", "connections", "serve_tcp", "protocol", "roundtrip"),
    *("udp", "tls", "ipv6", "memory", "idle", "crowd"),
)
DEFAULT: Final = tuple(name for name in NAMES if name != "crowd")
"""Without ``--only``: all but ``crowd``, which takes minutes."""
