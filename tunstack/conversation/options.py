"""The options of a segment that is sent, from words to octets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.tcp.segment import Segment
from tunstack.tcp.sequence import MASK
from tunstack.wire import encode_options

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOM: Final = 40
"""Octets of options that a header has room for."""
_BLOCK: Final = 8
"""Octets of a SACK block."""


def option_octets(
    *,
    mss: int | None,
    window_scale: int | None,
    sack_permitted: bool,
    timestamps: tuple[int, int] | None,
    sack: Sequence[tuple[int, int]],
) -> bytes:
    """The options in Linux's layout.

    Args:
        mss: The MSS option.
        window_scale: The window scale option.
        sack_permitted: Whether there is a SACK-permitted option.
        timestamps: TSval and TSecr.
        sack: SACK blocks, with numbers as on the wire.

    Raises:
        ValueError: A value does not fit into its field, or the options into the header.
    """
    _check("mss", mss, 0xFFFF)
    _check("window_scale", window_scale, 0xFF)
    segment = Segment(0, mss=mss, wscale=window_scale, sack_permitted=sack_permitted)
    if timestamps is not None:
        for value in timestamps:
            _check("timestamps", value, MASK)
        segment.ts_val, segment.ts_ecr = timestamps
    without_sack = encode_options(segment)
    if not sack:
        return without_sack
    if len(without_sack) + 4 + _BLOCK * len(sack) > _ROOM:
        raise ValueError(f"{len(sack)} SACK blocks do not fit into the {_ROOM} octets of options")
    segment.sack = tuple(sack)
    return encode_options(segment)


def _check(name: str, value: int | None, largest: int) -> None:
    if value is not None and not 0 <= value <= largest:
        raise ValueError(f"{name} must be from 0 to {largest}, not {value}")
