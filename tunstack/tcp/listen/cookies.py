"""SYN cookies: answer a SYN without keeping state (RFC 4987 section 3.6).

They are used when the SYN queue is full, in a SYN flood. Our ISN encodes the state, and the peer
returns it in its ACK: a keyed hash of the four-tuple and the peer's ISN, plus an index into a table
of eight MSS values. The other options go into the low bits of our TSval, which the peer echoes;
without timestamps the connection has neither window scaling nor SACK.

The costs: a lost SYN,ACK is not retransmitted unless the peer retransmits its SYN, and the peer's
MSS is rounded down. So cookies are used only under load.
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
"""Seconds after which the hash changes. A cookie is valid in its own period and in the next."""
LIFETIME: Final = 2 * PERIOD
"""Seconds after which every cookie has expired."""

_MSS_TABLE: Final[tuple[int, ...]] = (48, 536, 1220, 1360, 1400, 1440, 1460, 8960)
"""Octets: the MSS values that a cookie can encode; the peer's is rounded down to one of them.

The least that we ever send, IPv4's and IPv6's defaults (RFC 9293 MUST-15), tunnels, Ethernet with
IPv6 and IPv4, and jumbo frames.
"""

# The low six bits of TSval. 15 is no valid shift count: it stands for no window scaling.
_SHIFT: Final = 0x0F
_NO_SHIFT: Final = 0x0F
_SACK: Final = 0x10
_ECN: Final = 0x20  # Reserved for ECN (RFC 3168).
_OPTION_BITS: Final[int] = _SHIFT | _SACK | _ECN
_NO_TIMESTAMP: Final[int] = _OPTION_BITS + 1

_HASHED: Final[Struct] = Struct(">IBBI")
_PURPOSE: Final = b"SYN cookie"


class SynCookies:
    """Makes and checks SYN cookies; its only state is a secret."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make_syn_ack(
        self, four_tuple: bytes, syn: Segment, config: Config, clock: int, now: float
    ) -> Segment:
        """Return the SYN,ACK for `syn`, with a cookie for its ISN (Linux's cookie_init_sequence).

        Args:
            four_tuple: The connection's four-tuple, local address first.
            syn: The peer's SYN.
            config: The configuration of its connection.
            clock: The TSval of this connection now, before options are encoded in its low bits.
            now: Seconds.
        """
        options = _encode_options(syn, config)
        index = max(0, bisect_right(_MSS_TABLE, syn.mss or config.default_send_mss) - 1)
        cookie = self._hash(four_tuple, syn.seq, options, config, _period(now)) + index
        answer = Segment(
            cookie & MASK,
            (syn.seq + 1) & MASK,
            SYN | ACK,
            syn_window(config.receive_sizes[0]),
            mss=config.mss,
        )
        if options != _NO_TIMESTAMP:
            assert syn.ts_val is not None
            answer.ts_val, answer.ts_ecr = _encode_in_timestamp(options, clock), syn.ts_val
            answer.sack_permitted = options & _SACK != 0
            if options & _SHIFT != _NO_SHIFT:
                answer.wscale = window_shift(config.receive_sizes[1])
        return answer

    def check(self, four_tuple: bytes, ack: Segment, config: Config, now: float) -> Segment | None:
        """Check the cookie in an ACK; returns the SYN it encodes, or None (Linux's cookie_check).

        The ACK may be the one of the handshake, or a data segment if that one was lost.
        """
        options = _NO_TIMESTAMP
        if config.timestamps and ack.ts_val is not None:
            options = ack.ts_ecr & _OPTION_BITS
        irs = (ack.seq - 1) & MASK
        cookie = ack.ack - 1
        for period in (_period(now), _period(now) - 1):
            index = (cookie - self._hash(four_tuple, irs, options, config, period)) & MASK
            if index < len(_MSS_TABLE):
                return _decode_syn(irs, _MSS_TABLE[index], options, ack.ts_val)
        return None

    def _hash(self, four_tuple: bytes, irs: int, options: int, config: Config, period: int) -> int:
        # Our own shift count as well: the listener's buffer may have changed when the ACK arrives.
        what = _HASHED.pack(irs, options, window_shift(config.receive_sizes[1]), period & MASK)
        digest = blake2b(four_tuple + what, digest_size=4, key=self._secret, person=_PURPOSE)
        return int.from_bytes(digest.digest(), "big")


def _period(now: float) -> int:
    return int(now // PERIOD)


def _encode_options(syn: Segment, config: Config) -> int:
    """Encode the negotiated options in the low bits of a timestamp."""
    if not config.timestamps or syn.ts_val is None:
        return _NO_TIMESTAMP
    options = _NO_SHIFT
    if config.window_scaling and syn.wscale is not None:
        options = min(syn.wscale, MAX_WINDOW_SHIFT)
    if config.sack and syn.sack_permitted:
        options |= _SACK
    return options


def _encode_in_timestamp(options: int, clock: int) -> int:
    """Return the latest timestamp up to `clock` that has `options` in its low bits."""
    late = options > clock & _OPTION_BITS
    return ((clock & ~_OPTION_BITS | options) - (_OPTION_BITS + 1) * late) & MASK


def _decode_syn(irs: int, mss: int, options: int, ts_val: int | None) -> Segment:
    syn = Segment(irs, flags=SYN, mss=mss)
    if options != _NO_TIMESTAMP:
        syn.ts_val = ts_val
        syn.sack_permitted = options & _SACK != 0
        syn.wscale = None if options & _SHIFT == _NO_SHIFT else options & _SHIFT
    return syn
