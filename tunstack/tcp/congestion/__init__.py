"""Congestion control: how much may be on its way at once (RFC 5681, RFC 9293 section 3.8.2)."""

from __future__ import annotations

from .base import Acknowledgement, CongestionControl
from .cubic import Cubic
from .reno import Reno

__all__ = ["Acknowledgement", "CongestionControl", "Cubic", "Reno"]
