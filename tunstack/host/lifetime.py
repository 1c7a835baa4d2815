"""The start and the end of a host, its link's failures, and its statistics."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, final

import trio

from tunstack.host.places import parsed_places, profiles_by_network
from tunstack.host.protocols import ProtocolLoop
from tunstack.host.taps import Taps
from tunstack.path.impaired import ImpairedLink
from tunstack.stack.stack import Stack
from tunstack.tcp.congestion import congestion_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tunstack.link.base import Link
    from tunstack.link.plan import AddressLike
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.stack.profile import Profile
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import CongestionFactory

logger = logging.getLogger("tunstack")

_TEARDOWN: Final = 1.0
"""Seconds, at most, to wait at the end of a host for ACKs of FINs."""
_PEERS_FIN: Final = 0.25
"""Seconds, at most, to wait there for a peer that has only acknowledged our FIN to send its own."""


@final
class HostLoop(ProtocolLoop):
    """The whole of what a :class:`tunstack.Host` does, whose arguments it takes.

    Attributes:
        taps: What is called with observations of its packets.
    """

    def __init__(
        self,
        link: Link,
        addresses: Iterable[AddressLike],
        *,
        seed: int | None = None,
        tap: Callable[[Observation], None] | None = None,
        config: Config | None = None,
        limits: Limits | None = None,
        congestion: str | CongestionFactory | None = None,
        excluded: Iterable[str] = (),
        profiles: Mapping[str, Profile] | None = None,
    ) -> None:
        places = parsed_places(addresses)
        rng = random.SystemRandom() if seed is None else random.Random(seed)
        stack = Stack(
            [place.interface for place in places],
            link.mtu,
            rng=rng,
            excluded=[ip_address(each).packed for each in excluded],
            config=config,
            profiles=profiles_by_network(profiles),
            limits=limits,
            offload=link.offload,
            udp_offload=getattr(link, "udp_offload", False),
        )
        if congestion is not None:
            stack.config = replace(stack.config, congestion=congestion_control(congestion))
        stack.immediate = True
        super().__init__(link, stack, rng, seed)
        self.taps = Taps(stack, self._fail)
        if tap is not None:
            self.taps.add(tap)
        self._failures: list[BaseException] = []
        self._link_raises = self._program_raises = False
        self._manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._listeners: dict[Callable[[], None], None] = {}  # In order: they may send.

    @property
    def mtu(self) -> int:
        """The largest packet that the link carries, in octets."""
        return self._link.mtu

    # Start and end

    async def begin(self) -> None:
        """Run, until :meth:`end`."""
        self.stack.set_epoch(time.time() - trio.current_time())
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self.start(self._nursery)

    async def end(self, exc: BaseException | None) -> None:
        """End as the block does, which may have raised `exc`."""
        try:
            if exc is None:
                await self._await_teardown()
        finally:
            await self._end()
            if self._failures:
                errors = [*self._failures, *_without_cancelled(exc)]
                if len(errors) == 1:
                    raise errors[0]
                raise BaseExceptionGroup(f"the host on {self.name} failed", errors) from None

    async def _end(self) -> None:
        """Reset open connections, end the tasks, and close the link."""
        assert self._nursery is not None
        self._reset_all()
        # The nursery is ours, and gets neither to wrap the caller's exception nor, where the
        # caller was cancelled too, to put Cancelled in its place.
        self._nursery.cancel_scope.shield = True
        self._nursery.cancel_scope.cancel()
        try:
            await self._manager.__aexit__(None, None, None)
        finally:
            self.ended = True
            self._link_failed(RuntimeError(f"the host on {self.name} has ended"))
            try:
                self._link.close()
            except Exception as error:
                self._failures.append(error)

    async def _await_teardown(self) -> None:
        """Wait until the FINs of closed connections are acknowledged, and briefly for the peers'.

        On a busy machine the FIN of a client that has ended is still on its way to the device.
        """
        patience = trio.current_time() + _PEERS_FIN
        with trio.move_on_after(_TEARDOWN):
            # Once in a host's life: not worth an event for every segment.
            while self._is_ending(patience):  # noqa: ASYNC110
                await trio.sleep(0.005)

    def _is_ending(self, patience: float) -> bool:
        """Whether a teardown is under way that is worth waiting for."""
        if self.stack.is_closing:
            return True
        return trio.current_time() < patience and self.stack.awaits_fin

    def _fail(self, error: Exception) -> None:
        """End the block with `error`."""
        self._failures.append(error)
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _program_raised(self, error: Exception) -> None:
        """End the block with `error`, the first of its kind: while it ends there may be others."""
        if not self._program_raises:
            self._program_raises = True
            self._fail(error)

    def _raised(self, error: Exception) -> None:
        """End the block with the link's error, unless that follows from an earlier one."""
        if self._broken is not None or self._link_raises:
            self.stack.outgoing.clear()
            return
        self._link_raises = True
        self.stack.outgoing.clear()
        self._fail(
            error
        )  # Before there are errors of sockets, for which the block is not to blame.
        self._reset_all()
        self._link_failed(error)

    def _reset_all(self) -> None:
        self._drain_link()  # A FIN queued in the device closes a connection in order.
        self._close_listeners()
        self.write()  # What is held for a FIN.
        self.stack.abort_all()
        self.flush()

    # Statistics

    def statistics(self) -> dict[str, int]:
        """See :meth:`tunstack.Host.statistics`."""
        return self.stack.statistics() | self.rule_counts() | self._path_statistics()

    def _path_statistics(self) -> dict[str, int]:
        if not isinstance(self.bare_link, ImpairedLink):
            return {}
        return {f"path_{what}": count for what, count in self.bare_link.counts.items()}

    # For sockets

    def _close_listeners(self) -> None:
        for close in [*self._listeners]:
            close()

    def add_listener(self, close: Callable[[], None]) -> None:
        """Call `close` at the end of the host, or when its device is gone."""
        self._listeners[close] = None

    def remove_listener(self, close: Callable[[], None]) -> None:
        """Undo :meth:`add_listener`."""
        self._listeners.pop(close, None)


def _without_cancelled(error: BaseException | None) -> list[BaseException]:
    """Return the exceptions of a block without `trio.Cancelled`."""
    if isinstance(error, BaseExceptionGroup):
        error = error.split(trio.Cancelled)[1]
    return [] if error is None or isinstance(error, trio.Cancelled) else [error]
