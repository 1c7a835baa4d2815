"""Congestion control: how much may be on its way at once (RFC 5681, RFC 9293 section 3.8.2).

Your own is any class, or function, that makes something which does what :class:`CongestionControl`
says: give it as ``congestion=`` to a host, a listener or a connection. Those that are here have
names as well.
"""

from __future__ import annotations

from tunstack.tcp.congestion.base import Acknowledgement, CongestionControl
from tunstack.tcp.congestion.cubic import Cubic
from tunstack.tcp.congestion.registry import CongestionFactory, congestion_control, name_of
from tunstack.tcp.congestion.reno import Reno

__all__ = [
    "Acknowledgement",
    "CongestionControl",
    "CongestionFactory",
    "Cubic",
    "Reno",
    "congestion_control",
    "name_of",
]
