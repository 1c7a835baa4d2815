"""Impairments as people write them: ``delay=20ms,out:loss=1%,in:rate=8mbit``.

Numbers are scaled as decimals, so that what is written from a float is read back as the same float.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation, Overflow
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

PERFECT: Final = "none"
WAYS: Final = ("out", "in")


class _Quantity(NamedTuple):
    """Of what kind a value is.

    Attributes:
        wanted: What to ask the user for.
        example: One that will do.
        units: The power of ten of each unit, the largest first.
    """

    wanted: str
    example: str
    units: dict[str, int]


_SHARE: Final = _Quantity("a percentage", "1%", {"%": -2})
_TIME: Final = _Quantity("a time in s, ms or us", "20ms", {"s": 0, "ms": -3, "us": -6})
_RATE: Final = _Quantity(
    "bits per second in gbit, mbit, kbit or bit",
    "100mbit",
    {"gbit": 9, "mbit": 6, "kbit": 3, "bit": 0},
)
_PACKETS: Final = _Quantity("a number of packets, or bytes in MB, kB or B", "1000", {"": 0})
_BYTES: Final = _PACKETS._replace(units={"MB": 6, "kB": 3, "B": 0})

_KEYS: Final = {
    "loss": _SHARE,
    "delay": _TIME,
    "jitter": _TIME,
    "reorder": _SHARE,
    "duplicate": _SHARE,
    "corrupt": _SHARE,
    "rate": _RATE,
    "limit": _PACKETS,
}
_FIELDS: Final = {**_KEYS, "limit_bytes": _BYTES}


def read(text: str) -> tuple[dict[str, float], dict[str, float]]:
    """Read a text; returns the fields of both directions' impairments, of out and of in.

    Raises:
        ValueError: with what was expected, and of which key.
    """
    given: dict[str, dict[str, tuple[str, float]]] = {way: {} for way in WAYS}
    for item in [] if text.strip() == PERFECT else text.split(","):
        way, colon, rest = item.strip().partition(":")
        if colon and way not in given:
            raise ValueError(f"{way!r} is no direction: write out: or in: before {rest!r}")
        key, name, value = _read_item(rest if colon else way)
        for each in [way] if colon else WAYS:
            if key in given[each]:
                raise ValueError(f"{key} is given twice for {each}:")
            given[each][key] = name, value
    there, back = (dict(fields.values()) for fields in given.values())
    return there, back


def write(fields: Mapping[str, float]) -> str:
    """Write the fields of impairments, all of which are finite, so that :func:`read` reads them."""
    items = (
        f"{name.removesuffix('_bytes')}={_write_value(value, _FIELDS[name].units)}"
        for name, value in fields.items()
    )
    return ",".join(items) or PERFECT


def _read_item(item: str) -> tuple[str, str, float]:
    """Read ``KEY=VALUE``; returns the key, the name of the field, and the value."""
    key, equals, text = (part.strip() for part in item.partition("="))
    if key not in _KEYS:
        raise ValueError(f"there is no impairment {key!r}; there are {', '.join(_KEYS)}")
    name = "limit_bytes" if key == "limit" and text[-1:] in ("b", "B") else key
    quantity = _FIELDS[name]
    if not equals:
        raise ValueError(f"{key} needs a value, as in {key}={quantity.example}")
    value = _read_value(text, quantity.units)
    if value is None or (key == "limit" and value % 1):
        raise ValueError(
            f"{key} must be {quantity.wanted}, as in {key}={quantity.example}, not {text!r}"
        )
    return key, name, int(value) if key == "limit" else value


def _read_value(text: str, units: dict[str, int]) -> float | None:
    """Read a number with a unit, which only a zero may lack; None when it is something else."""
    number = text.rstrip("%abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ").strip()
    unit = text.removeprefix(number).strip().lower()
    powers = {name.lower(): power for name, power in units.items()}
    try:
        value = Decimal(number)
        exact = value.scaleb(powers.get(unit, 0))
    except (InvalidOperation, Overflow):
        return None
    if unit in powers:
        scaled = float(exact)
        return scaled if isfinite(scaled) else None
    return 0.0 if value == 0 and not unit else None


def _write_value(value: float, units: dict[str, int]) -> str:
    """Write `value` with the largest unit that leaves no leading zero."""
    exact = Decimal(repr(value))
    smallest = [*units][-1]
    unit = next((unit for unit, power in units.items() if exact.scaleb(-power) >= 1), smallest)
    digits = f"{exact.scaleb(-units[unit]):f}"
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits + unit
