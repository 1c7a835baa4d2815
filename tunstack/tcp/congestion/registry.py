"""Congestion controls by name, as TCP_CONGESTION has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from tunstack.tcp.congestion.base import CongestionControl
from tunstack.tcp.congestion.cubic import Cubic
from tunstack.tcp.congestion.reno import Reno

CongestionFactory: TypeAlias = Callable[[], CongestionControl]
"""Makes the congestion control of one connection: a class or a function."""

BY_NAME: Final[dict[str, CongestionFactory]] = {"cubic": Cubic, "reno": Reno}


def congestion_control(what: str | CongestionFactory) -> CongestionFactory:
    """Return the factory for a name, or `what` itself if it is one.

    Raises:
        ValueError: No congestion control has that name.
    """
    if not isinstance(what, str):
        return what
    try:
        return BY_NAME[what]
    except KeyError:
        known = ", ".join(sorted(BY_NAME))
        raise ValueError(f"no congestion control is called {what!r}; there are {known}") from None


def name_of(factory: CongestionFactory) -> str:
    """Return the name of a factory: a registered one, else its `name`, else its Python name."""
    for name, known in BY_NAME.items():
        if known is factory:
            return name
    return str(getattr(factory, "name", getattr(factory, "__name__", "unnamed").lower()))
