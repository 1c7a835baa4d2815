"""IPv6 flow labels (RFC 6437)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

LARGEST: Final = 0xFFFFF
"""A flow label has 20 bits; 0 is none (section 2)."""

_PURPOSE: Final = b"flow label"


class FlowLabels:
    """Labels that are uniformly distributed and cannot be guessed (sections 3 and 6.1).

    A label is a keyed hash of the four-tuple, as with Linux's auto_flowlabels: all packets of a
    flow have the same, whoever sends them, and no state is kept.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def label(self, flow: bytes) -> int:
        """Return the label of the flow of a packed four-tuple (`FourTuple.packed`): never 0."""
        digest = blake2b(flow, digest_size=4, key=self._secret, person=_PURPOSE).digest()
        return int.from_bytes(digest, "big") % LARGEST + 1
