"""Getters and setters of socket options, by kind of value."""

from __future__ import annotations

import errno
import struct
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tunstack.ip.errors import os_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.socket.state import SocketState

Buffer: TypeAlias = bytes | bytearray | memoryview
Value: TypeAlias = int | Buffer

INT: Final = struct.Struct("i")


class Option(NamedTuple):
    """The getter and the setter of an option; None if it has none."""

    get: Callable[[SocketState], int | bytes]
    set: Callable[[SocketState, Value], None] | None = None


def note(sock: SocketState, level: int, name: int, value: int) -> None:
    """Store an option's value."""
    if sock.noted is None:
        sock.noted = {}
    sock.noted[level, name] = value


def as_int(value: Value) -> int:
    """Return a value as a number; raises OSError (EINVAL) for too few octets."""
    if isinstance(value, int):
        return value
    if len(value) < INT.size:
        raise os_error(errno.EINVAL)
    return int(INT.unpack_from(value)[0])


def check_range(number: int, lowest: int, highest: int) -> None:
    """Raise OSError (EINVAL) for a number that is out of range."""
    if not lowest <= number <= highest:
        raise os_error(errno.EINVAL)


def read_only(get: Callable[[SocketState], int | bytes]) -> Option:
    """An option that cannot be set."""
    return Option(get)


def number(get: Callable[[SocketState], int], set: Callable[[SocketState, int], None]) -> Option:
    """An option whose value is a number."""
    return Option(get, lambda sock, value: set(sock, as_int(value)))


def switch(parameter: str) -> Option:
    """An option that is a bool of `Config`."""
    return number(
        lambda sock: int(getattr(sock.config, parameter)),
        lambda sock, number: sock.change(**{parameter: bool(number)}),
    )


def count(parameter: str, lowest: int, highest: int) -> Option:
    """An option that is a number of `Config`, in whole numbers or seconds."""

    def set(sock: SocketState, number: int) -> None:
        check_range(number, lowest, highest)
        sock.change(**{parameter: number})

    return number(lambda sock: ceil(getattr(sock.config, parameter)), set)
