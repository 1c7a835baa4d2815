"""The options of a device, as :func:`tunstack.open_host` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from tunstack.path.impair import Impairments


class Common(TypedDict):
    """Of any device."""

    mtu: int | None
    seed: int | None
    impair: tuple[Impairments, Impairments]
    offload: bool


class Device(Common):
    """Of one in the current network namespace."""

    name: str | None
    peer: tuple[str, ...] | None
