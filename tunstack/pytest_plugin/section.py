"""The packets of a failed test, for people and for Wireshark."""

from __future__ import annotations

import re
import zlib
from itertools import chain
from typing import TYPE_CHECKING, Final

from tunstack.ladder import Ladder, plain_text, step_from_observation
from tunstack.path.pcapng import PcapngWriter
from tunstack.tcp.segment import ACK, SYN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tunstack.ladder import Line, Step, Symbols
    from tunstack.ladder.packets import Pair
    from tunstack.pytest_plugin.recording import Packets, Seen

TITLE: Final = "tunstack: packets"

_FIRST: Final = 100
"""Lines that are shown of the begin of a long ladder."""
_LAST: Final = 200
"""Lines that are shown of its end."""


class OwnPackets:
    """The packets of a test, without those of connections that were open before.

    Attributes:
        head: The first, with their decoded steps.
        tail: The last.
        not_kept: How many between them were not kept.
        of_others: How many belong to connections that were open before the test.
    """

    def __init__(self, packets: Packets) -> None:
        self.of_others = 0
        self.not_kept = packets.left_out
        self._is_new_from = packets.is_new_from
        self._opened: set[tuple[int, Pair]] = set()
        self.head = list(self._own(packets.head))
        self.tail = list(self._own(packets.tail))

    def __bool__(self) -> bool:
        return bool(self.head or self.of_others)

    def __iter__(self) -> Iterator[tuple[Seen, Step]]:
        return chain(self.head, self.tail)

    def _own(self, seen: Iterable[Seen]) -> Iterator[tuple[Seen, Step]]:
        for each in seen:
            step = step_from_observation(each.observation)
            if each.host >= self._is_new_from or self._is_own(each.host, step):
                yield each, step
            else:
                self.of_others += 1

    def _is_own(self, host: int, step: Step) -> bool:
        """Whether a packet of a host that earlier tests used is of a connection of this test."""
        protocol, ends = step.pair
        if (quoted := step.quoted) is not None:
            protocol, ends = quoted.protocol, frozenset((quoted.source, quoted.destination))
        if protocol != "TCP":
            return True
        connection = host, (protocol, ends)
        if step.segment is not None and step.segment.flags & (SYN | ACK) == SYN:
            self._opened.add(connection)
        return connection in self._opened


def lines_of(packets: OwnPackets, width: int, symbols: Symbols) -> list[str]:
    """Draw a ladder, and say what is not shown.

    Hosts that talk to each other have a ladder each: their packets are seen twice.
    """
    lines: list[str] = []
    for hosts in _grouped(packets):
        if lines:
            lines.append("")
        lines += _ladder_of(packets, hosts, width, symbols)
    if packets.of_others:
        count = _count(packets.of_others)
        lines.append(f"({count} of connections that were open before the test not shown)")
    return lines


def _grouped(packets: OwnPackets) -> list[set[int]]:
    """The hosts: all of them together, unless one conversation is of two."""
    seen = {(each.host, step.pair) for each, step in packets if step.protocol}
    hosts = {each.host for each, _ in packets}
    if len({pair for _, pair in seen}) == len(seen):
        return [hosts] if hosts else []
    return [{each} for each in sorted(hosts)]


def _ladder_of(packets: OwnPackets, hosts: set[int], width: int, symbols: Symbols) -> list[str]:
    ladder = Ladder(width=width, symbols=symbols, names=("kernel", "tunstack"))
    lines = _added(ladder, packets.head, hosts)
    if packets.not_kept:
        lines += _texts(ladder.flush())
        lines.append(f"({_count(packets.not_kept)} not kept)")
    lines += _added(ladder, packets.tail, hosts)
    lines += _texts(ladder.flush())
    if len(lines) > _FIRST + _LAST:
        left_out = len(lines) - _FIRST - _LAST
        lines[_FIRST:-_LAST] = [f"({left_out} lines not shown)"]
    return lines


def _added(ladder: Ladder, steps: Iterable[tuple[Seen, Step]], hosts: set[int]) -> list[str]:
    wanted = [step for seen, step in steps if seen.host in hosts]
    wanted.sort(key=lambda step: step.time)  # Hosts of several namespaces may be out of order.
    return [text for step in wanted for text in _texts(ladder.add(step))]


def _texts(lines: Iterable[Line]) -> list[str]:
    return [plain_text(line).rstrip() for line in lines]


def _count(packets: int) -> str:
    return "1 packet" if packets == 1 else f"{packets} packets"


def capture_path(folder: Path, test: str) -> Path:
    """The capture of a test, which no other test has."""
    name = re.sub(r"[^\w.]+", "-", test).strip("-")[-150:]
    return folder / f"{name}-{zlib.crc32(test.encode()):08x}.pcapng"


def write_capture(path: Path, packets: OwnPackets) -> None:
    """Write packets as a capture.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with PcapngWriter(path) as writer:
        for (_, seen), _ in packets:
            writer.write(seen.packet, seen.time, seen.comment, seen.direction == "out")
