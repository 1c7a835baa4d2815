"""Congestion control: how much may be on its way at once (RFC 5681, RFC 9293 section 3.8.2).

Your own is any class, or function, that makes something which does what :class:`CongestionControl`
says: give it as ``congestion=`` to a host, a listener or a connection. Those that are here have
names as well.
"""

from __future__ import annotations

from .base import Acknowledgement, CongestionControl
from .cubic import Cubic
from .registry import CongestionFactory, congestion_control, name_of
from .reno import Reno

__all__ = [
    "Acknowledgement",
    "CongestionControl",
    "CongestionFactory",
    "Cubic",
    "Reno",
    "congestion_control",
    "name_of",
]
