"""A TCP segment as a value: the input and output of the core (RFC 9293 section 3.1).

The codec in :mod:`tunstack.wire` decodes and encodes them; the core never sees header bytes. A
segment may be larger than one MSS: with segmentation offload its payload is up to 64 KiB, and the
link splits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tunstack.compiled import reduced

Buffer: TypeAlias = bytes | bytearray | memoryview

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80

_FLAG_NAMES: Final[tuple[tuple[int, str], ...]] = (
    (SYN, "SYN"),
    (FIN, "FIN"),
    (RST, "RST"),
    (PSH, "PSH"),
    (ACK, "ACK"),
    (URG, "URG"),
    (ECE, "ECE"),
    (CWR, "CWR"),
)
_SLOW_FLAGS: Final[int] = SYN | URG | CWR


def flag_names(flags: int) -> str:
    """Return the names of control bits: ``"SYN,ACK"``; ``"none"`` when no bit is set."""
    return ",".join(name for bit, name in _FLAG_NAMES if flags & bit) or "none"


@dataclass(slots=True, init=False)
class Segment:
    """One TCP segment, without its ports (the demultiplexer's) and its checksum (the codec's).

    Attributes:
        seq: Sequence number of the first octet, or of the SYN (SEG.SEQ), modulo 2**32.
        ack: Next sequence number expected by the sender (SEG.ACK); meaningful when ACK is set.
        flags: Control bits, an OR of the constants of this module.
        wnd: The window field as it stands on the wire: 16 bits, not yet scaled (SEG.WND).
        up: The urgent pointer field (SEG.UP); meaningful when URG is set.
        payload: The data. On arrival a view into the packet, valid as long as it is referenced.
        mss: Maximum Segment Size option, or None.
        wscale: Window Scale option, or None (RFC 7323 section 2).
        sack_permitted: Whether the SACK-Permitted option is present (RFC 2018 section 2).
        sack: SACK blocks as (left edge, right edge) pairs (RFC 2018 section 3).
        ts_val: Timestamps option, TSval; None when the option is absent (RFC 7323 section 3).
        ts_ecr: Timestamps option, TSecr.
        ecn: The ECN codepoint of the IP header, in and out: `NOT_ECT` to `CE` of
            :mod:`~tunstack.tcp.connection.ecn` (RFC 3168 section 5).
        fast_open: TCP Fast Open option: a cookie, or ``b""`` to request one; None when absent (RFC
            7413 section 4.1.1).
        note: Why the core sends it, for captures; not on the wire.
        gso_size: With segmentation offload, the octets of data in each segment on the wire (Linux's
            name); 0 for a single segment.
    """

    seq: int
    ack: int
    flags: int
    wnd: int
    up: int
    payload: Buffer
    mss: int | None
    wscale: int | None
    sack_permitted: bool
    sack: tuple[tuple[int, int], ...]
    ts_val: int | None
    ts_ecr: int
    ecn: int
    fast_open: bytes | None
    note: str
    gso_size: int

    # Written out, as one that is generated is not compiled with the rest.
    def __init__(
        self,
        seq: int,
        ack: int = 0,
        flags: int = 0,
        wnd: int = 0,
        up: int = 0,
        payload: Buffer = b"",
        mss: int | None = None,
        wscale: int | None = None,
        sack_permitted: bool = False,
        sack: tuple[tuple[int, int], ...] = (),
        ts_val: int | None = None,
        ts_ecr: int = 0,
        ecn: int = 0,
        fast_open: bytes | None = None,
        note: str = "",
        gso_size: int = 0,
    ) -> None:
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.wnd = wnd
        self.up = up
        self.payload = payload
        self.mss = mss
        self.wscale = wscale
        self.sack_permitted = sack_permitted
        self.sack = sack
        self.ts_val = ts_val
        self.ts_ecr = ts_ecr
        self.ecn = ecn
        self.fast_open = fast_open
        self.note = note
        self.gso_size = gso_size

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    @property
    def lean(self) -> bool:
        """Whether it has timestamps, and no other option, URG, SYN, CWR, ECN or note."""
        return not (
            self.ts_val is None or self.flags & _SLOW_FLAGS or self.sack or self.ecn or self.note
        )

    @property
    def length(self) -> int:
        """SEG.LEN: octets of sequence space, including SYN and FIN."""
        return len(self.payload) + (self.flags & SYN != 0) + (self.flags & FIN != 0)
