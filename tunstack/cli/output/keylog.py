"""The TLS keys of a key log (SSLKEYLOGFILE, RFC 9850), for captures.

Wireshark decrypts the packets that are behind the keys in the file. A TLS server writes most keys
before it sends the packets that need them, a client after it received them, and both those of the
client's data after its Finished, with which Wireshark wants them. So keys are written to a capture
as they appear, before the next packet. At the end, if the capture is a file, all of them are
written once more before its first packet; on a pipe, packets are held back for 0.1 s instead.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from tunstack.cli.options.keylog import VARIABLE
from tunstack.cli.options.parameters import STANDARD
from tunstack.cli.status import Failure
from tunstack.path.pcapng import insert_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_OCTETS: Final = 1 << 20
"""Octets of keys in one block of a capture."""
_LINE: Final = re.compile(rb"[A-Z0-9_]+ [0-9a-fA-F]+ [0-9a-fA-F]+\r?")


class KeyLog:
    """A key log, from its present end on.

    Args:
        path: The file, which may not exist yet.

    Raises:
        Failure: it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with open(path, "ab") as file:
                self._begin = self._read = file.seek(0, os.SEEK_END)
        except OSError as error:
            raise Failure(f"cannot write the TLS keys to {path}: {error.strerror}") from None

    def take(self) -> bytes:
        """The lines that were added since the last call, at most 1 MiB of them."""
        try:
            size = os.stat(self._path).st_size
            if size == self._read:
                return b""
            if size < self._read:  # It was written anew.
                self._begin = self._read = 0
            return self._next()
        except OSError:
            return b""

    def _next(self) -> bytes:
        with open(self._path, "rb") as file:
            file.seek(self._read)
            data = file.read(_MOST_OCTETS)
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and len(data) == _MOST_OCTETS:
            whole = data  # This is no line.
        self._read += len(whole)
        return _keys_in(whole)

    def put_first(self, capture: str) -> None:
        """Write all keys since the beginning before the packets of a capture that is a file.

        Raises:
            Failure: it cannot be written.
        """
        if capture == STANDARD or not os.path.isfile(capture):
            return
        keys = list(self._all())
        if not keys:
            return
        try:
            insert_secrets(capture, keys)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Failure(f"cannot write the TLS keys to {capture}: {reason}") from None

    def _all(self) -> Iterator[bytes]:
        self._read = self._begin
        before = -1
        while before != self._read:
            before = self._read
            if keys := self.take():
                yield keys


def _keys_in(text: bytes) -> bytes:
    """The lines that are keys: the variable may name a file that is no key log."""
    lines = [line for line in text.split(b"\n") if _LINE.fullmatch(line)]
    return b"".join(line + b"\n" for line in lines)


def key_log() -> KeyLog | None:
    """The key log that the environment names, if it does.

    Raises:
        Failure: it cannot be written.
    """
    path = os.environ.get(VARIABLE)
    return KeyLog(path) if path else None
