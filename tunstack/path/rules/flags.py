"""TCP's control bits by name: ``"SYN,ACK"``; in a selection also ``"SYN,!ACK"``."""

from __future__ import annotations

from typing import Final

from tunstack.tcp.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

_BITS: Final = {
    "FIN": FIN,
    "SYN": SYN,
    "RST": RST,
    "PSH": PSH,
    "ACK": ACK,
    "URG": URG,
    "ECE": ECE,
    "CWR": CWR,
}


def flag_bits(text: str) -> int:
    """Return the bits of ``"SYN,ACK"``; ``""`` and ``"none"`` have none.

    Raises:
        ValueError: an unknown name.
    """
    if text in ("", "none"):
        return 0
    bits = 0
    for name in _names(text):
        bits |= _bit(name)
    return bits


def flag_test(text: str) -> tuple[int, int]:
    """Return the bits that ``"SYN,!ACK"`` wants set, and those that it wants not to be set.

    Raises:
        ValueError: an unknown name, none at all, or one that is wanted both ways.
    """
    wanted = unwanted = 0
    for name in _names(text):
        if name.strip().startswith("!"):
            unwanted |= _bit(name.strip()[1:])
        else:
            wanted |= _bit(name)
    if wanted & unwanted:
        raise ValueError(f"flags={text!r} can never match: one of them is wanted set and not set")
    return wanted, unwanted


def _names(text: str) -> list[str]:
    if not isinstance(text, str):
        raise ValueError(f'flags must be text such as "SYN,ACK", not {text!r}')
    return text.split(",")


def _bit(name: str) -> int:
    bit = _BITS.get(name.strip().upper())
    if bit is None:
        raise ValueError(f"TCP has no flag {name.strip()!r}; it has {', '.join(_BITS)}")
    return bit
