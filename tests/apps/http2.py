"""HTTP/2 as a client would write it by hand: frames, well-formed and not (RFC 9113 section 4.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import Self

    import trio

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1

ENHANCE_YOUR_CALM: Final = 0xB

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    head = struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream)
    return head + payload


HELLO: Final = PREFACE + frame(SETTINGS)


def literal(name: bytes, value: bytes) -> bytes:
    """A header field that is not indexed (RFC 7541 section 6.2.2); both below 127 octets."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def fields(path: bytes = b"/", method: bytes = b"GET") -> bytes:
    return b"".join(
        (
            literal(b":method", method),
            literal(b":scheme", b"http"),
            literal(b":authority", b"peer.test"),
            literal(b":path", path),
        )
    )


def request(stream: int, path: bytes = b"/", method: bytes = b"GET", *, end: bool = True) -> bytes:
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, fields(path, method), stream=stream, flags=flags)


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def error(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8])


class Frames:
    """What a server sends, frame by frame, up to its end of file."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._pending = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        head = await self._take(9)
        kind, flags, number = struct.unpack("!BBI", head[3:])
        return Frame(kind, flags, number, await self._take(int.from_bytes(head[:3])))

    async def _take(self, count: int) -> bytes:
        while len(self._pending) < count:
            data = await self._stream.receive_some()
            if not data:
                raise StopAsyncIteration
            self._pending += data
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken
