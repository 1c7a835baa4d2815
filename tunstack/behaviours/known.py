"""All behaviours, as they are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.behaviours import ending, opening, path, program, segments, selecting

if TYPE_CHECKING:
    from tunstack.behaviours.base import Behaviour

CLASSES: Final[tuple[type[Behaviour], ...]] = (
    opening.Silent,
    opening.Refuse,
    opening.Unreachable,
    opening.DropSyn,
    opening.SlowAccept,
    opening.FullBacklog,
    opening.FailFirst,
    program.SlowAnswer,
    program.Trickle,
    program.SlowReader,
    program.Nonsense,
    ending.ResetOnAccept,
    ending.CloseOnAccept,
    ending.ResetAfter,
    ending.CloseAfter,
    ending.HalfClose,
    ending.ResetAtEnd,
    ending.LateFin,
    ending.StallAfter,
    ending.VanishAfter,
    ending.HalfOpen,
    ending.CloseIdle,
    ending.ResetIdle,
    ending.VanishIdle,
    path.Loss,
    path.Delay,
    path.Jitter,
    path.Duplicate,
    path.Reorder,
    path.Corrupt,
    path.Rate,
    path.Flapping,
    path.SmallMtu,
    path.PmtuBlackhole,
    segments.ZeroWindowAfter,
    segments.StopAcknowledging,
    segments.TinyMss,
    segments.NoOptions,
    segments.Damage,
    segments.Overlap,
    segments.OldDuplicate,
    segments.WrongAck,
    segments.BlindReset,
    segments.IcmpNoise,
    segments.Urgent,
    segments.KeepAliveDeaf,
    selecting.First,
    selecting.Every,
    selecting.Share,
)
"""A behaviour is added by adding its class here."""

BY_NAME: Final = {each.name: each for each in CLASSES}
