"""The Internet checksum (RFC 1071), by arithmetic of large integers.

Since 2**16 is 1 modulo 0xffff, the one's-complement sum of the 16-bit words of a buffer is the
whole buffer, as one big-endian integer, modulo 0xffff. One's complement has two zeros, the
remainder has one: the sum of a buffer that is not all zeros is 0xffff where the remainder is 0.

Python divides such an integer one digit of 30 bits after the other. An addition costs far less, and
adding the upper half to the lower one leaves the remainder as it is, if the lower half is of whole
words: so the integer is halved three times before it is divided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer

_LARGE: Final = 512
"""Octets from which it pays."""
_LARGEST: Final = 1536
"""Octets up to which one integer is made of a buffer: those of the usual packet. Of a larger one it
is made in parts, which are added in the nearest cache."""
_PART: Final = 1440
"""Octets of a part, of whole words."""

# Bits and masks of the halves, of whole words and of whole digits of Python's.
_HALF: Final = 5760
_QUARTER: Final = 2880
_EIGHTH: Final = 1440
_HALF_MASK: Final[int] = (1 << _HALF) - 1
_QUARTER_MASK: Final[int] = (1 << _QUARTER) - 1
_EIGHTH_MASK: Final[int] = (1 << _EIGHTH) - 1


def ones_sum(buffer: Buffer) -> int:
    """Return the one's-complement sum of the big-endian 16-bit words of `buffer`.

    An odd buffer is padded with a zero octet. The result is 0 for all zeros, else 1 to 0xffff, as
    by addition with end-around carry.
    """
    size = len(buffer)
    value = int.from_bytes(buffer, "big") if size <= _LARGEST else _sum_of_large(buffer, size)
    if size > _LARGE:
        value = (value & _HALF_MASK) + (value >> _HALF)
        value = (value & _QUARTER_MASK) + (value >> _QUARTER)
        value = (value & _EIGHTH_MASK) + (value >> _EIGHTH)
    if size & 1:
        value <<= 8
    return value and (value % 0xFFFF or 0xFFFF)


def _sum_of_large(buffer: Buffer, size: int) -> int:
    """Return an integer of about `_PART` octets that has the remainder of the whole."""
    last = size - size % _PART
    value = 0
    for at in range(0, last, _PART):
        value += int.from_bytes(buffer[at : at + _PART], "big")
    if size & 1:
        value <<= 8
    return value + int.from_bytes(buffer[last:], "big")


def _sum_of_parts(parts: tuple[Buffer, ...]) -> int:
    total = end = 0
    for part in parts:
        # A part that begins on the low octet of a word is shifted by eight bits.
        total += ones_sum(part) << 8 if end & 1 else ones_sum(part)
        end += len(part)
    return total and (total % 0xFFFF or 0xFFFF)


def checksum(*parts: Buffer) -> int:
    """Return the 16-bit checksum of the concatenation of `parts`, of any lengths."""
    return 0xFFFF - _sum_of_parts(parts)


def verifies(*parts: Buffer) -> bool:
    """Whether the checksum of the concatenation of `parts`, checksum field included, is right."""
    return _sum_of_parts(parts) == 0xFFFF
