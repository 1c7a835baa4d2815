"""Numbers as the view writes them: short, and of a bounded width."""

from __future__ import annotations

from typing import Final

_PREFIXES: Final = ("", "k", "M", "G", "T", "P")


def short(number: float) -> str:
    """At most five characters, with a decimal prefix: ``0``, ``999``, ``1.25k``, ``12.5M``."""
    for prefix in _PREFIXES:
        if abs(number) < 999.5 or prefix == _PREFIXES[-1]:
            break
        number /= 1000
    if not prefix and number == int(number):
        return str(int(number))
    digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0
    return f"{number:.{digits}f}{prefix}"


def bits(rate: float) -> str:
    """Octets per second as bits per second, as :func:`short`."""
    return short(rate * 8)


def with_unit(number: float, unit: str) -> str:
    """As :func:`short`, with a unit: ``512 B``, ``1.25 MB``."""
    text = short(number)
    if text[-1] in _PREFIXES:
        return f"{text[:-1]} {text[-1]}{unit}"
    return f"{text} {unit}"


def milliseconds(seconds: float | None) -> str:
    """At most six characters; empty for None."""
    if seconds is None:
        return ""
    time = seconds * 1000
    for most, digits in ((9.9995, 3), (99.995, 2), (999.95, 1)):
        if time < most:
            return f"{time:.{digits}f}"
    return f"{time:.0f}"


def duration(seconds: float | None) -> str:
    """At most six characters: ``9.5s``, ``12m34s``, ``1h02m``, ``3d04h``; empty for None."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 24 * 3600:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{whole // 86400}d{whole // 3600 % 24:02}h"


def count(number: int, what: str) -> str:
    """``1 connection``, ``1,024 connections``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
