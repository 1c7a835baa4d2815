"""What a peer may spend on HTTP/2 frames that ask for work and carry nothing.

Every frame costs, and some costs are out of proportion: a stream opened and reset at once
(CVE-2023-44487), SETTINGS and PING that must be answered (CVE-2019-9515, -9512), empty DATA
(CVE-2019-9518), headers in CONTINUATION frames without end (CVE-2024-27316). RFC 9113 section 10.5
leaves it to the server to find such abuse, and to answer it with ENHANCE_YOUR_CALM.

A connection has credit, which these frames use up; requests, octets received and sent, and time
give it back, up to what it had at first. The frames' headers are read here, before h2 parses them.
"""

from __future__ import annotations

from typing import Final, final

CREDIT: Final = 1000.0
"""At first, and at most."""
PER_SECOND: Final = 10.0
"""Credit that a second gives back."""
MAX_HEADERS: Final = 1 << 16
"""Octets of one header block, compressed, in HEADERS and CONTINUATION together."""

MAX_FRAME: Final = 1 << 14
"""Octets of a frame's payload, as SETTINGS have it (RFC 9113 section 4.2); h2 finds a longer one
only when it is there, up to 16 MiB."""

ENHANCE_YOUR_CALM: Final = 0xB
_FRAME_SIZE_ERROR: Final = 0x6

_PREFACE: Final = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_HEADER: Final = 9
_PER_OCTET: Final = 1 / 512
_END_HEADERS: Final = 0x4

_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS = range(5)
_PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = range(5, 10)

_COSTS: Final = {
    _DATA: 1.0,
    _HEADERS: -2.0,
    _PRIORITY: 1.0,
    _RST_STREAM: 10.0,
    _SETTINGS: 10.0,
    _PING: 2.0,
    _WINDOW_UPDATE: 1.0,
    _CONTINUATION: 5.0,
}
_OTHER_COST: Final = 2.0


class Flood(Exception):
    """The peer sends too much; the text says what.

    Args:
        text: For the log.
        code: The error code for GOAWAY (RFC 9113 section 7).
    """

    def __init__(self, text: str, code: int = ENHANCE_YOUR_CALM) -> None:
        super().__init__(text)
        self.code = code


@final
class FrameCredit:
    """The credit of one connection.

    Call :meth:`receive` with all octets received, before h2 gets them, and :meth:`sent` with the
    number of those sent.
    """

    def __init__(self, now: float) -> None:
        self.credit = CREDIT
        self._time = now
        self._skip = _PREFACE
        self._header = bytearray()
        self._block = 0

    def sent(self, octets: int) -> None:
        """Give back credit for octets sent: their receiver must open its windows for more."""
        self.credit += octets * _PER_OCTET

    def receive(self, data: bytes | bytearray, now: float) -> None:
        """Read the headers of the frames that `data` continues or has.

        Raises:
            Flood: they are too many, or too long.
        """
        self.credit = min(CREDIT, self.credit + (now - self._time) * PER_SECOND)
        self._time = now
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
                continue
            part = data[at : at + _HEADER - len(self._header)]
            self._header += part
            at += len(part)
            if len(self._header) == _HEADER:
                self._frame()

    def _frame(self) -> None:
        header = self._header
        length = int.from_bytes(header[:3], "big")
        kind, flags = header[3], header[4]
        if length > MAX_FRAME:
            raise Flood(f"a frame of {length} octets", _FRAME_SIZE_ERROR)
        self._skip = length
        self._header = bytearray()
        self.credit -= _COSTS.get(kind, _OTHER_COST) - (
            length * _PER_OCTET if kind == _DATA else 0.0
        )
        if self.credit < 0:
            raise Flood("too many frames without use")
        if kind in (_HEADERS, _CONTINUATION):
            self._block += length
            if self._block > MAX_HEADERS:
                raise Flood("a header block without end")
            if flags & _END_HEADERS:
                self._block = 0
