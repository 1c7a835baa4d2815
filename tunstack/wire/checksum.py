"""The Internet checksum (RFC 1071), as one division of a large integer.

Because 2**16 is 1 modulo 0xffff, the one's-complement sum of the 16-bit words of a buffer is the
whole buffer, read as one big-endian integer, modulo 0xffff. One's complement has two zeros, and the
remainder has one, so the sum of a buffer that is not all zeros is 0xffff where the remainder is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunstack.ip.datagram import Buffer


def _fold(value: int) -> int:
    return value and (value % 0xFFFF or 0xFFFF)


def ones_sum(buffer: Buffer) -> int:
    """Return the one's-complement sum of the big-endian 16-bit words of `buffer`.

    An odd buffer counts as padded with a zero octet. The result is 0 for nothing but zeros, else
    1 to 0xffff, as the addition with end-around carry gives it.
    """
    folded = _fold(int.from_bytes(buffer, "big"))
    return _fold(folded << 8) if len(buffer) & 1 else folded


def _sum_of_parts(parts: tuple[Buffer, ...]) -> int:
    total = end = 0
    for part in parts:
        end += len(part)
        folded = _fold(int.from_bytes(part, "big"))
        # A part that ends on the high octet of a word stands eight bits higher than it reads.
        total += folded << 8 if end & 1 else folded
    return _fold(total)


def checksum(*parts: Buffer) -> int:
    """Return the 16-bit checksum of the concatenation of `parts`, whatever their lengths."""
    return 0xFFFF - _sum_of_parts(parts)


def verifies(*parts: Buffer) -> bool:
    """Tell whether the concatenation of `parts`, its checksum field included, is intact."""
    return _sum_of_parts(parts) == 0xFFFF
