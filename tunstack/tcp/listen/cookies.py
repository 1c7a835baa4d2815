"""SYN cookies: how to answer a SYN and remember nothing (RFC 4987 section 3.6).

When more SYNs come than may be half open, most of them come from nobody: their answers are never
acknowledged. So our initial sequence number, which an honest peer gives back in its ACK, stands for
what we would have to remember: a keyed hash of the connection's name and the peer's initial number,
plus a small number that tells which of eight sizes its segments may have. What else was agreed on
goes into the lowest bits of our timestamp, which the peer echoes, if it uses timestamps; a peer
that does not use them has to do without window scaling and SACK.

The price is known: a SYN,ACK that is lost is not sent again by us, only drawn again by the peer;
and the peer's MSS is rounded down. So cookies are for the moment of need, not for every day.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Final

from tunstack.tcp.receiver.receiver import MAX_WINDOW_SHIFT, syn_window, window_shift
from tunstack.tcp.segment import ACK, SYN, Segment
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.tcp.config import Config

PERIOD: Final = 64.0
"""Seconds after which the hash changes. A cookie is good in its own period and in the next."""
LIFETIME: Final = 2 * PERIOD
"""Seconds after which no cookie is good any more."""

_SIZES: Final = (48, 536, 1220, 1360, 1400, 1440, 1460, 8960)
"""What is remembered of an MSS: the largest of these that does not exceed it.

The least that we ever send, IPv4's and IPv6's defaults (RFC 9293 MUST-15), tunnels, Ethernet with
IPv6 and IPv4, and large frames.
"""

# What the lowest six bits of a timestamp tell. A shift of 15 does not exist: no window scaling.
_SHIFT: Final = 0x0F
_NO_SHIFT: Final = 0x0F
_SACK: Final = 0x10
_ECN: Final = 0x20  # Kept free for what RFC 3168 negotiates.
_TOLD: Final = _SHIFT | _SACK | _ECN
_NO_TIMESTAMP: Final = _TOLD + 1

_HASHED: Final = Struct(">IBBI")
_PURPOSE: Final = b"SYN cookie"


class SynCookies:
    """Makes cookies, and knows them again; it holds a secret, and nothing else."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def answer(
        self, four_tuple: bytes, syn: Segment, config: Config, clock: int, now: float
    ) -> Segment:
        """The SYN,ACK that answers `syn`.

        Args:
            four_tuple: The connection's name, local address first.
            syn: The peer's SYN.
            config: What its connection would begin with.
            clock: What the TSval of this connection would be now, but for the bits that tell.
            now: Seconds.
        """
        told = _options(syn, config)
        index = max(0, bisect_right(_SIZES, syn.mss or config.default_send_mss) - 1)
        cookie = self._hash(four_tuple, syn.seq, told, config, _period(now)) + index
        answer = Segment(
            cookie & MASK,
            (syn.seq + 1) & MASK,
            SYN | ACK,
            syn_window(config.receive_sizes[0]),
            mss=config.mss,
        )
        if told != _NO_TIMESTAMP:
            assert syn.ts_val is not None
            answer.ts_val, answer.ts_ecr = _tell(told, clock), syn.ts_val
            answer.sack_permitted = told & _SACK != 0
            if told & _SHIFT != _NO_SHIFT:
                answer.wscale = window_shift(config.receive_sizes[1])
        return answer

    def recall(self, four_tuple: bytes, ack: Segment, config: Config, now: float) -> Segment | None:
        """The SYN to which `ack` belongs, as far as it was remembered; None if there was none.

        It holds for the ACK that ends the handshake, and for data that comes in its place.
        """
        told = _NO_TIMESTAMP
        if config.timestamps and ack.ts_val is not None:
            told = ack.ts_ecr & _TOLD
        irs = (ack.seq - 1) & MASK
        cookie = ack.ack - 1
        for period in (_period(now), _period(now) - 1):
            index = (cookie - self._hash(four_tuple, irs, told, config, period)) & MASK
            if index < len(_SIZES):
                return _syn(irs, _SIZES[index], told, ack.ts_val)
        return None

    def _hash(self, four_tuple: bytes, irs: int, told: int, config: Config, period: int) -> int:
        # Our own shift as well: a listener's buffer may be another by the time the ACK comes.
        what = _HASHED.pack(irs, told, window_shift(config.receive_sizes[1]), period & MASK)
        digest = blake2b(four_tuple + what, digest_size=4, key=self._secret, person=_PURPOSE)
        return int.from_bytes(digest.digest(), "big")


def _period(now: float) -> int:
    return int(now // PERIOD)


def _options(syn: Segment, config: Config) -> int:
    """What was agreed on, as a number."""
    if not config.timestamps or syn.ts_val is None:
        return _NO_TIMESTAMP
    told = _NO_SHIFT
    if config.window_scaling and syn.wscale is not None:
        told = min(syn.wscale, MAX_WINDOW_SHIFT)
    if config.sack and syn.sack_permitted:
        told |= _SACK
    return told


def _tell(told: int, clock: int) -> int:
    """The latest timestamp, not after `clock`, that says `told`: so that later ones are later."""
    late = told > clock & _TOLD
    return ((clock & ~_TOLD | told) - (_TOLD + 1) * late) & MASK


def _syn(irs: int, mss: int, told: int, ts_val: int | None) -> Segment:
    syn = Segment(irs, flags=SYN, mss=mss)
    if told != _NO_TIMESTAMP:
        syn.ts_val = ts_val
        syn.sack_permitted = told & _SACK != 0
        syn.wscale = None if told & _SHIFT == _NO_SHIFT else told & _SHIFT
    return syn
