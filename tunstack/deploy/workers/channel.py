"""What a worker and its parent tell each other: pickled values over a socket.

Both ends are the same interpreter and the same program, and the socket is theirs alone.
"""

from __future__ import annotations

import pickle
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, final

import trio

if TYPE_CHECKING:
    from tunstack.path.impair import Impairments
    from tunstack.stack.limits import Limits
    from tunstack.tcp.config import Config

_LENGTH_SIZE: Final = 4
_READ_SIZE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Assignment:
    """To a worker, first of all: what it is to do.

    Attributes:
        number: Which one it is, from 0.
        service: The pickled function that it runs; apart, as it may not be found.
        descriptor: The queue.
        name: Of the device.
        mtu: Of the device.
        offload: Whether packets come behind a virtio header.
        address: The host's.
        seed: The host's, or None.
        config: The host's.
        limits: The host's.
        ways: What the path does to packets, both ways.
    """

    number: int
    service: bytes
    descriptor: int
    name: str
    mtu: int
    offload: bool
    address: str
    seed: int | None
    config: Config | None
    limits: Limits | None
    ways: tuple[Impairments, Impairments]


class Ready(NamedTuple):
    """From a worker: it serves."""


class Failed(NamedTuple):
    """From a worker: it cannot serve; the message is one line for people."""

    message: str


class Told(NamedTuple):
    """From a worker: its service has something to say."""

    what: Any


class Answer(NamedTuple):
    """From a worker: what was asked for."""

    value: Any


class Last(NamedTuple):
    """From a worker, in the end: its statistics."""

    statistics: dict[str, int]


class Ask(NamedTuple):
    """To a worker: what the host's method of that name returns."""

    method: str


class Stray(NamedTuple):
    """Either way: an ICMP error that is about no flow of the sender's."""

    packet: bytes


Message: TypeAlias = Assignment | Ready | Failed | Told | Answer | Last | Ask | Stray


@final
class Channel:
    """One end.

    Args:
        sock: A stream socket, which is this object's from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()

    def fileno(self) -> int:
        """Its descriptor; -1 when closed."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send something, and wait for room if there is none; if the other end is gone, do nothing.

        It blocks, as `print` does, so that who talks gets no further ahead than the other reads.
        """
        data = pickle.dumps(message)
        with suppress(OSError):  # the other end is gone: the next `receive` tells
            self._socket.sendall(len(data).to_bytes(_LENGTH_SIZE, "big") + data)

    def offer(self, message: Message) -> None:
        """Send something that is not important, unless there is no room for it now."""
        data = pickle.dumps(message)
        data = len(data).to_bytes(_LENGTH_SIZE, "big") + data
        with suppress(OSError):  # no room; or the other end is gone
            sent = self._socket.send(data, socket.MSG_DONTWAIT)
            self._socket.sendall(data[sent:])

    async def receive(self) -> Message | None:
        """Return what the other end has sent next; None when it is gone.

        To cancel it loses nothing.

        Raises:
            Exception: what was sent cannot be loaded here.
        """
        await trio.lowlevel.checkpoint()
        while (data := self._take()) is None:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                more = self._socket.recv(_READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                more = b""
            if not more:
                return None
            self._buffer += more
        message: Message = pickle.loads(data)
        return message

    def _take(self) -> bytes | None:
        end = _LENGTH_SIZE + int.from_bytes(self._buffer[:_LENGTH_SIZE], "big")
        if len(self._buffer) < max(end, _LENGTH_SIZE):
            return None
        data = bytes(self._buffer[_LENGTH_SIZE:end])
        del self._buffer[:end]
        return data

    def end(self) -> None:
        """Say that nothing more will come; the other end may go on to send."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close it."""
        self._socket.close()
