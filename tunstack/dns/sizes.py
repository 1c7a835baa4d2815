"""Sizes of messages."""

from __future__ import annotations

from typing import Final

UDP_SIZE: Final = 1232
"""Octets of the largest reply over UDP, whatever the client takes: it is not to be fragmented."""
LONGEST_QUERY: Final = 2048
"""Octets: a name has at most 255, and EDNS options as much as this leaves."""
