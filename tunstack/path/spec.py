"""The textual syntax of impairments: ``delay=20ms,out:loss=1%,in:rate=8mbit``.

Numbers are scaled as decimals, so that writing and reading a float gives the same float.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation, Overflow
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

PERFECT: Final = "none"
WAYS: Final = ("out", "in")


class Quantity(NamedTuple):
    """The kind of a value.

    Attributes:
        wanted: Its description, for errors.
        example: A valid value, for errors.
        units: The power of ten of each unit, the largest first.
    """

    wanted: str
    example: str
    units: dict[str, int]


SHARE: Final = Quantity("a percentage", "1%", {"%": -2})
TIME: Final = Quantity("a time in s, ms or us", "20ms", {"s": 0, "ms": -3, "us": -6})
RATE: Final = Quantity(
    "bits per second in gbit, mbit, kbit or bit",
    "100mbit",
    {"gbit": 9, "mbit": 6, "kbit": 3, "bit": 0},
)
_PACKETS: Final = Quantity("a number of packets, or bytes in MB, kB or B", "1000", {"": 0})
_BYTES: Final = _PACKETS._replace(units={"MB": 6, "kB": 3, "B": 0})

_KEYS: Final = {
    "loss": SHARE,
    "delay": TIME,
    "jitter": TIME,
    "reorder": SHARE,
    "duplicate": SHARE,
    "corrupt": SHARE,
    "rate": RATE,
    "limit": _PACKETS,
}
_FIELDS: Final = {**_KEYS, "limit_bytes": _BYTES}


def read(text: str) -> tuple[dict[str, float], dict[str, float]]:
    """Parse a text; returns the fields of the impairments of out and of in.

    Raises:
        ValueError: names the key and what was expected.
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
    """Write the fields of impairments, all finite, in the syntax of :func:`read`."""
    items = (
        f"{name.removesuffix('_bytes')}={write_value(value, _FIELDS[name].units)}"
        for name, value in fields.items()
    )
    return ",".join(items) or PERFECT


def _read_item(item: str) -> tuple[str, str, float]:
    """Parse ``KEY=VALUE``; returns the key, the name of the field, and the value."""
    key, equals, text = (part.strip() for part in item.partition("="))
    if key not in _KEYS:
        raise ValueError(f"there is no impairment {key!r}; there are {', '.join(_KEYS)}")
    name = "limit_bytes" if key == "limit" and text[-1:] in ("b", "B") else key
    quantity = _FIELDS[name]
    if not equals:
        raise ValueError(f"{key} needs a value, as in {key}={quantity.example}")
    value = read_value(text, quantity.units)
    if value is None or (key == "limit" and value % 1):
        raise ValueError(
            f"{key} must be {quantity.wanted}, as in {key}={quantity.example}, not {text!r}"
        )
    return key, name, int(value) if key == "limit" else value


def read_value(text: str, units: dict[str, int]) -> float | None:
    """Parse a number with a unit, which only a zero may lack; None if it is invalid."""
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


def write_value(value: float, units: dict[str, int]) -> str:
    """Write `value` with the largest unit that leaves no leading zero."""
    exact = Decimal(repr(value))
    smallest = [*units][-1]
    unit = next((unit for unit, power in units.items() if exact.scaleb(-power) >= 1), smallest)
    digits = f"{exact.scaleb(-units[unit]):f}"
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits + unit
