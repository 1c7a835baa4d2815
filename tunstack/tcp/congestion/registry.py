"""Congestion controls by name, as TCP_CONGESTION speaks of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from tunstack.tcp.congestion.base import CongestionControl
from tunstack.tcp.congestion.cubic import Cubic
from tunstack.tcp.congestion.reno import Reno

CongestionFactory: TypeAlias = Callable[[], CongestionControl]
"""Makes the congestion control of one connection: its class, or a function."""

BY_NAME: Final[dict[str, CongestionFactory]] = {"cubic": Cubic, "reno": Reno}


def congestion_control(what: str | CongestionFactory) -> CongestionFactory:
    """What makes it, from that or from its name.

    Raises:
        ValueError: no congestion control has that name.
    """
    if not isinstance(what, str):
        return what
    try:
        return BY_NAME[what]
    except KeyError:
        known = ", ".join(sorted(BY_NAME))
        raise ValueError(f"no congestion control is called {what!r}; there are {known}") from None


def name_of(factory: CongestionFactory) -> str:
    """Its name; that of one that is not ours is its own `name`, or what it is called in Python."""
    for name, known in BY_NAME.items():
        if known is factory:
            return name
    return str(getattr(factory, "name", getattr(factory, "__name__", "unnamed").lower()))
