"""Messages between a worker and its parent: pickled, length-prefixed, over a stream socket.

Both ends are the same interpreter and the same program, and the socket is private.
"""

from __future__ import annotations

import pickle
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, final

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunstack.path.impair import Impairments
    from tunstack.stack.limits import Limits
    from tunstack.stack.profile import Profile
    from tunstack.tcp.config import Config

_LENGTH_SIZE: Final = 4
"""Octets of the length before each message."""
_READ_SIZE: Final = 1 << 16
"""Octets to read at a time."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """To a worker, the first message: its configuration.

    Attributes:
        number: The worker's, from 0.
        service: The function to run, pickled on its own, as importing it may fail.
        descriptor: The queue.
        name: Of the device.
        mtu: Of the device.
        offload: Whether packets have a virtio header.
        addresses: The host's.
        seed: The host's, or None.
        config: The host's.
        limits: The host's.
        ways: The impairments of both directions.
        excluded: Addresses in the host's networks that are the kernel's.
        profiles: The host's.
    """

    number: int
    service: bytes
    descriptor: int
    name: str
    mtu: int
    offload: bool
    addresses: tuple[str, ...]
    seed: int | None
    config: Config | None
    limits: Limits | None
    ways: tuple[Impairments, Impairments]
    excluded: tuple[str, ...]
    profiles: Mapping[str, Profile] | None


class Ready(NamedTuple):
    """From a worker: its service has started."""


class Failed(NamedTuple):
    """From a worker: it cannot start; `message` is one line for the user."""

    message: str


class ServiceMessage(NamedTuple):
    """From a worker: a value that its service gave to `Worker.tell`."""

    what: Any


class Reply(NamedTuple):
    """From a worker: the result of a query."""

    value: Any


class FinalStatistics(NamedTuple):
    """From a worker, the last message: its statistics."""

    statistics: dict[str, int]


class Query(NamedTuple):
    """To a worker: call the host's method of that name."""

    method: str


class Forwarded(NamedTuple):
    """In both directions: an ICMP error about a connection that another worker may have."""

    packet: bytes


Message: TypeAlias = (
    Assignment | Ready | Failed | ServiceMessage | Reply | FinalStatistics | Query | Forwarded
)


@final
class Channel:
    """One end of a channel of messages.

    Args:
        sock: A stream socket, of which it takes ownership.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 when closed."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send a message; it blocks while the socket is full, and is discarded if the peer is gone.

        It blocks the whole process, as `print` does, which is its flow control.
        """
        data = pickle.dumps(message)
        with suppress(OSError):  # The other end is gone, which the next `receive` shows.
            self._socket.sendall(len(data).to_bytes(_LENGTH_SIZE, "big") + data)

    def send_nowait(self, message: Message) -> None:
        """Send a message that may be lost: it is discarded if the socket is full."""
        data = pickle.dumps(message)
        data = len(data).to_bytes(_LENGTH_SIZE, "big") + data
        with suppress(OSError):  # The socket is full, or the other end is gone.
            sent = self._socket.send(data, socket.MSG_DONTWAIT)
            self._socket.sendall(data[sent:])

    async def receive(self) -> Message | None:
        """Receive the next message; None at the end of the stream.

        Cancelling it loses no data.

        Raises:
            Exception: the message cannot be unpickled here.
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

    def send_eof(self) -> None:
        """Shut down the sending half; the other end may go on to send."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
