"""A TCP/IP endpoint on a link: start and end, statistics."""

from __future__ import annotations

import logging
import random
import time
from contextlib import contextmanager
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
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from tunstack.host.taps import End
    from tunstack.ip.address import Interface
    from tunstack.link.base import Link
    from tunstack.link.plan import AddressLike
    from tunstack.stack.limits import Limits
    from tunstack.stack.observation import Observation
    from tunstack.stack.profile import Profile
    from tunstack.tcp.config import Config
    from tunstack.tcp.congestion import CongestionFactory
    from tunstack.tcp.info import TcpInfo

logger = logging.getLogger("tunstack")

_TEARDOWN: Final = 1.0
"""Seconds, at most, to wait at the end of a host for ACKs of FINs."""
_PEERS_FIN: Final = 0.25
"""Seconds, at most, to wait there for a peer that has only acknowledged our FIN to send its own."""


@final
class Host(ProtocolLoop):
    """A TCP/IP endpoint on a link: an async context manager, within which it runs.

    When the block ends, what the application closed has a second to finish its teardown; then all
    that is still open is reset, and the link is closed.

    What a `tap` raises, and what a link raises that is no OSError, cancels the block and comes out
    of it; in an `ExceptionGroup` with what the block itself raised, if it did.

    Args:
        link: What carries its packets; the host closes it.
        addresses: Its own, each with the length of its network's prefix: ``"198.51.100.2/24"``; or
            whole networks, ``"198.51.100.0/24"``, of which it has every address. Those that it does
            not use cost nothing.
        seed: For everything random in it, so that a run can be repeated; unpredictable if None.
        tap: Called with an `Observation` of every packet. It must be quick. If it raises, it is not
            called again.
        config: What every connection begins with; by default what suits the link.
        limits: What bounds all of them together.
        congestion: Its congestion control, instead of the one in `config`: a name, ``"cubic"`` or
            ``"reno"``, or what makes one of your own, a class that does what
            :class:`tunstack.tcp.congestion.CongestionControl` says.
        excluded: Addresses in whole networks that are not its own: the kernel's on a TUN device.
        profiles: What differs from `config` in connections from some of its addresses, by address
            or prefix: ``{"198.51.100.16/28": Profile(mss=536)}``. Of several with an address, that
            of the longest prefix applies.

    Raises:
        ValueError: no address, or one that is malformed, or two that overlap; a network without an
            address that is left for it; a profile of a prefix in which it has none; no congestion
            control of that name.
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
        self._taps = Taps(stack, self._fail)
        if tap is not None:
            self._taps.add(tap)
        self._failures: list[BaseException] = []
        self._link_raises = False
        self._manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._listeners: dict[Callable[[], None], None] = {}  # In order: they may send.

    def __repr__(self) -> str:
        addresses = ", ".join(map(str, self.addresses))
        return f"<tunstack.Host {addresses} on {self.name}>"

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Its own addresses, with their networks; ``198.51.100.0/24`` is a whole network."""
        return self.stack.interfaces

    @property
    def mtu(self) -> int:
        """The largest packet that the link carries, in octets."""
        return self._link.mtu

    # Start and end

    async def __aenter__(self) -> Host:
        self.stack.set_epoch(time.time() - trio.current_time())
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self.start(self._nursery)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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

    def connections(self) -> list[TcpInfo]:
        """Return all connections, those in TIME-WAIT included, in order of creation."""
        return self.stack.connections()

    def statistics(self) -> dict[str, int]:
        """Return all counters since the host's start, dropped packets by reason.

        The names are stable: ``packets_received``, ``packets_sent``, ``bad_tcp_checksum``,
        ``tcp_accepted``, ``tcp_out_of_window``, ``retransmission_timeout``... An impaired path adds
        what it did: ``path_out_lost``, ``path_in_duplicated``... What rules did is there always:
        ``rules_dropped``, ``rules_delayed``... (:mod:`tunstack.path.rules`).
        """
        return self.stack.statistics() | self.rule_counts() | self._path_statistics()

    @contextmanager
    def tapped(
        self,
        tap: Callable[[Observation], None],
        connection: tuple[End, End] | None = None,
    ) -> Iterator[None]:
        """Within the block, call `tap` with an `Observation` of every packet.

        It is called beside the host's own tap and those of other blocks. With `connection` the
        packets of other connections cost as much as without a tap, or nearly so.

        Args:
            tap: It must be quick. If it raises, it is not called again, and the host's block ends
                with its exception.
            connection: The local and the remote address and port of a TCP connection, as `TcpInfo`
                has them: only its segments are observed, whether or not there is such a connection
                now. Those with IP options or extension headers, and those that come in fragments,
                are left out.

        Raises:
            ValueError: an address or a port is invalid, or the addresses are of two families.
        """
        added = self._taps.add(tap, connection)
        try:
            yield
        finally:
            self._taps.remove(added)

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
