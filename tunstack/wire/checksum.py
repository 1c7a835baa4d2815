"""The Internet checksum (RFC 1071), as one division of a large integer.

Since 2**16 is 1 modulo 0xffff, the one's-complement sum of the 16-bit words of a buffer is the
whole buffer, as one big-endian integer, modulo 0xffff. One's complement has two zeros, the
remainder has one: the sum of a buffer that is not all zeros is 0xffff where the remainder is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer


def _fold(value: int) -> int:
    return value and (value % 0xFFFF or 0xFFFF)


def ones_sum(buffer: Buffer) -> int:
    """Return the one's-complement sum of the big-endian 16-bit words of `buffer`.

    An odd buffer is padded with a zero octet. The result is 0 for all zeros, else 1 to 0xffff, as
    by addition with end-around carry.
    """
    folded = _fold(int.from_bytes(buffer, "big"))
    return _fold(folded << 8) if len(buffer) & 1 else folded


def _sum_of_parts(parts: tuple[Buffer, ...]) -> int:
    total = end = 0
    for part in parts:
        end += len(part)
        folded = _fold(int.from_bytes(part, "big"))
        # A part that ends on the high octet of a word is shifted by eight bits.
        total += folded << 8 if end & 1 else folded
    return _fold(total)


def checksum(*parts: Buffer) -> int:
    """Return the 16-bit checksum of the concatenation of `parts`, of any lengths."""
    return 0xFFFF - _sum_of_parts(parts)


def verifies(*parts: Buffer) -> bool:
    """Whether the checksum of the concatenation of `parts`, checksum field included, is right."""
    return _sum_of_parts(parts) == 0xFFFF
