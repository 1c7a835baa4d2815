"""Protocols for tests."""

from __future__ import annotations

from tunstack import Protocol, Transport


class Recorded(Protocol):
    """Writes down what is called, and receives."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.received = bytearray()
        self.lost: list[Exception | None] = []
        self.keeps_open = False

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.calls[-1] != "data":
            self.calls.append("data")

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keeps_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.append(exc)


class Echo(Recorded):
    """Sends back what it receives, no faster than it is taken."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.transport.resume_reading()


class Feeder(Recorded):
    """Sends so many octets, a piece at a time, no faster than they are taken; then end of file."""

    def __init__(self, octets: int, piece: int = 30_000) -> None:
        super().__init__()
        self._data = pattern(octets)
        self._piece = piece
        self._paused = False

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        self._feed()

    def _feed(self) -> None:
        while self._data and not self._paused:
            piece, self._data = self._data[: self._piece], self._data[self._piece :]
            self.transport.write(piece)
        if not self._data:
            self.transport.write_eof()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused = False
        self._feed()


def pattern(octets: int) -> bytes:
    """So many octets, no two blocks of which are alike."""
    block = b"".join(b"%08d" % number for number in range(8191))
    return (block * (octets // len(block) + 1))[:octets]
