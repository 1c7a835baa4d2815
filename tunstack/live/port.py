"""Where the page is."""

from __future__ import annotations

from typing import Final

PORT: Final = 8000
"""The page's port, if no other is given."""
