"""Congestion control: the congestion window, by pluggable algorithms (RFC 5681).

base      the interface that the sender calls
reno      Reno (RFC 5681)
cubic     CUBIC (RFC 9438)
hystart   HyStart++, CUBIC's slow start (RFC 9406)
registry  algorithms by name, for TCP_CONGESTION

To add your own, write a class that implements :class:`CongestionControl`, and pass it, or a factory
of it, as ``congestion=`` to a host, a listener or a connection.
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
