"""The taps of a host: what is called with observations of packets."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias, final

from tunstack.ip.demux import FourTuple
from tunstack.wire import read_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.stack.observation import Observation
    from tunstack.stack.stack import Stack
    from tunstack.tcp.info import IPAddress

    End: TypeAlias = tuple[str | IPAddress, int]


@dataclass(frozen=True, eq=False)
class Tap:
    """What is called, and for which connection; None for all packets."""

    call: Callable[[Observation], None]
    connection: FourTuple | None

    def sees(self, packet: bytes) -> bool:
        """Whether it is called for a packet."""
        wanted = self.connection
        return wanted is None or read_name(packet, 0) in (wanted.packed, wanted.incoming)


@final
class Taps:
    """The taps of a stack, each for all packets or for one connection's.

    Args:
        stack: The stack.
        failed: Called with what a tap has raised; it is not called again.
    """

    def __init__(self, stack: Stack, failed: Callable[[Exception], None]) -> None:
        self._stack = stack
        self._failed = failed
        self._taps: tuple[Tap, ...] = ()

    def add(
        self, call: Callable[[Observation], None], connection: tuple[End, End] | None = None
    ) -> Tap:
        """Call `call` from now on, as :meth:`Host.tapped` says; returns what :meth:`remove` takes.

        Raises:
            ValueError: an address or a port is invalid, or the addresses are of two families.
        """
        tap = Tap(call, None if connection is None else _four_tuple(*connection))
        self._set((*self._taps, tap))
        return tap

    def remove(self, tap: Tap) -> None:
        """Call it no longer; idempotent."""
        self._set(tuple(each for each in self._taps if each is not tap))

    def _set(self, taps: tuple[Tap, ...]) -> None:
        self._taps = taps
        if not taps:
            self._stack.set_tap(None)
            return
        connections = {tap.connection for tap in taps}
        chosen = frozenset(each for each in connections if each is not None)
        self._stack.set_tap(self._observe, None if None in connections else chosen)

    def _observe(self, observation: Observation) -> None:
        for tap in self._taps:
            if tap.sees(observation.packet):
                try:
                    tap.call(observation)
                except Exception as error:
                    self.remove(tap)
                    self._failed(error)


def _four_tuple(local: End, remote: End) -> FourTuple:
    ends = [ip_address(address) for address, _ in (local, remote)]
    if ends[0].version != ends[1].version:
        raise ValueError(f"{ends[0]} and {ends[1]} are of two families")
    for _, port in (local, remote):
        if not 0 <= port <= 0xFFFF:
            raise ValueError(f"{port} is no port")
    return FourTuple(ends[0].packed, local[1], ends[1].packed, remote[1])


__all__ = ["Tap", "Taps"]
