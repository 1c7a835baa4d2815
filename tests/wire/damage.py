"""What may happen to a packet on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator


def damaged(packet: bytes, data: st.DataObject) -> Iterator[bytes]:
    """The packet with a few octets changed, or swapped, which checksums may not see; and cut."""
    octets = bytearray(packet)
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(octets) - 1))
        other = data.draw(st.integers(0, 255))
        partner = index + data.draw(st.sampled_from((0, 2, -2)))
        if partner != index and 0 <= partner < len(octets):
            octets[index], octets[partner] = octets[partner], octets[index]
        else:
            octets[index] = other
    yield bytes(octets)
    yield bytes(octets[: data.draw(st.integers(0, len(octets)))])
