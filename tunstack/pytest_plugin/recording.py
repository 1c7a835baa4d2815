"""The packets of the test that runs."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.stack.observation import Observation

_HEAD: Final = 4 << 20
"""Octets of a test's first packets that are kept."""
_TAIL: Final = 12 << 20
"""Octets of its last."""
_EACH: Final = 500
"""Octets to add for each packet."""


class Seen(NamedTuple):
    """A packet.

    Attributes:
        host: The number of the host that saw it.
        observation: The packet, and what was made of it.
    """

    host: int
    observation: Observation


class Recorder:
    """Keeps the packets of all hosts, until the next test begins.

    Of many the first and the last are kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Each namespace has a thread.
        self._hosts = 0
        self._is_new_from = 0
        self.begin()

    def begin(self) -> None:
        """A test begins."""
        with self._lock:
            self._head: list[Seen] = []
            self._tail: deque[Seen] = deque()
            self._head_size = self._tail_size = self._left_out = 0
            self._is_new_from = self._hosts

    def watch(self) -> Callable[[Observation], None]:
        """Return the tap of a new host."""
        with self._lock:
            number = self._hosts
            self._hosts += 1

        def tap(observation: Observation) -> None:
            self._add(Seen(number, observation))

        return tap

    def _add(self, seen: Seen) -> None:
        size = _size(seen)
        with self._lock:
            if self._head_size < _HEAD:
                self._head_size += size
                self._head.append(seen)
                return
            self._tail.append(seen)
            self._tail_size += size
            while self._tail_size > _TAIL:
                self._tail_size -= _size(self._tail.popleft())
                self._left_out += 1

    def take(self) -> Packets:
        """Return what was recorded since the test began."""
        with self._lock:
            return Packets([*self._head], [*self._tail], self._left_out, self._is_new_from)


def _size(seen: Seen) -> int:
    return len(seen.observation.packet) + _EACH


@dataclass(frozen=True)
class Packets:
    """The packets of a test.

    Attributes:
        head: The first.
        tail: The last.
        left_out: How many between them were not kept.
        is_new_from: The first number of a host that was opened during the test.
    """

    head: list[Seen]
    tail: list[Seen]
    left_out: int
    is_new_from: int
