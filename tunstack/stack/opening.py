"""Active and passive OPEN: four-tuples, initial sequence numbers, admission."""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING, Final

from tunstack.ip import address as ip_address
from tunstack.ip.demux import FourTuple
from tunstack.ip.errors import os_error
from tunstack.ip.family import FAMILIES, IPV4, IPV6
from tunstack.stack.admission import Admission
from tunstack.stack.eviction import Eviction
from tunstack.stack.flow import Flow
from tunstack.tcp.connection.ecn import CE
from tunstack.tcp.connection.state import State
from tunstack.tcp.connection.verdict import Verdict
from tunstack.tcp.listen import fast_open
from tunstack.tcp.listen.fast_open_cookies import CookieCache, ServerCookies
from tunstack.tcp.listen.isn import InitialNumbers
from tunstack.tcp.listen.listener import Listener
from tunstack.tcp.sequence import MASK

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address, Buffer
    from tunstack.stack.context import Context
    from tunstack.stack.paths import Paths
    from tunstack.tcp.config import Config
    from tunstack.tcp.segment import Segment

_TIME_WAIT: Final = State.TIME_WAIT.value
_NEW_INCARNATION: Final = Verdict.NEW_INCARNATION

_WILDCARDS: Final[frozenset[Address]] = frozenset(family.wildcard for family in FAMILIES)
_OTHER_FAMILY: Final[dict[int, int]] = {
    IPV4.address_size: errno.EAFNOSUPPORT,
    IPV6.address_size: errno.ENETUNREACH,
}
"""Linux's error where the remote address is of another family, by octets of our address."""
_IPV4_NAME: Final = 12
"""Octets of a packed four-tuple of IPv4, which has no flow labels."""

ISN_STEP: Final = 1 << 17
"""Sequence numbers from the old SND.NXT to a new incarnation's ISS, at least."""


class Opening:
    """Opens the connections of a stack, actively and passively.

    Attributes:
        config: The default configuration of connections.
        configs: Fits a configuration to the family of a connection.
        limits: The limits of the host.
        admission: Decides which SYN opens a connection.
        only_listens: Whether :meth:`connect` is refused, as replies might reach another process.
    """

    def __init__(self, config: Config, secret: bytes, context: Context, paths: Paths) -> None:
        """Create it; ISNs and cookies are derived from `secret`."""
        self.config = config
        self.limits = context.limits
        self.only_listens = False
        self._eviction = Eviction(context)
        self._numbers = InitialNumbers(secret)
        self.admission = Admission(secret, self._numbers, self._eviction, context)
        self._cookie_mint = ServerCookies(secret)
        self._cookie_cache = CookieCache()
        self._order = itertools.count()
        self.configs = context.configs
        self._addresses = context.addresses
        self._demux = context.demux
        self._memory = context.memory
        self._time_waits = context.time_waits
        self._paths = paths
        self._output = context.output
        self._mark_pending = context.mark_pending

    # Passive

    def listen(
        self, local: Address | None, port: int, backlog: int, config: Config | None = None
    ) -> Listener:
        """Passive OPEN on a bound port; raises OSError (EADDRINUSE)."""
        listener = Listener(backlog, config or self.config, self.admission.half_open)
        self._demux.listen(local, port, listener)
        return listener

    def unlisten(self, local: Address | None, port: int, listener: Listener) -> None:
        """Close a listener, and reset the connections in its queues."""
        self._demux.unlisten(local, port)
        for connection in listener.close():
            assert isinstance(connection, Flow)
            self._mark_pending(connection)

    def unmatched(
        self,
        name: FourTuple,
        segment: Segment,
        packet: Buffer,
        now: float,
        floor: int | None = None,
    ) -> Flow | None:
        """Process a segment that matches no connection (section 3.10.7.1 and 3.10.7.2).

        Args:
            name: Its addresses and ports.
            segment: The segment.
            packet: Its packet, for the tap.
            now: Seconds.
            floor: The initial sequence number after a connection of the same four-tuple, or None.

        Returns:
            The new connection, which is to process it; None if it opens none.
        """
        listener = self._demux.find_listener(name.local, name.local_port)
        reopens = floor is not None
        verdict, answer, syn = self.admission.judge(listener, name, segment, now, reopens=reopens)
        if verdict is None:
            assert listener is not None
            if syn is not None:
                return self._begin_by_cookie(name, listener, syn, segment, now)
            evicted = self.admission.evict_half_open(listener)
            if evicted is not None:
                assert isinstance(evicted, Flow)
                self._mark_pending(evicted)
            flow = self._begin(name, listener, now, floor)
            if segment.fast_open is not None:
                path = (name.remote, name.local)
                flow.fast_open = fast_open.process_option(
                    self._cookie_mint, listener, path, segment, self._output.counters, now
                )
            return flow
        output = self._output
        output.counters[verdict] += 1
        output.observe_in(packet, now, verdict)
        if answer is not None:
            own = self.config if listener is None else listener.config
            config = self.configs.fitted(own, name.local)
            output.send(name, answer, now, config=config)
        return None

    def _begin(self, name: FourTuple, listener: Listener, now: float, iss: int | None) -> Flow:
        fitted = self.configs.fitted(listener.config, name.local)
        flow = self._make_flow(name, now, iss=iss, config=fitted)
        flow.owner = listener
        flow.open_passive()
        listener.add_half_open(flow)
        self._demux.add(name, flow)
        self._memory.enter(flow)
        return flow

    def _begin_by_cookie(
        self, name: FourTuple, listener: Listener, syn: Segment, ack: Segment, now: float
    ) -> Flow:
        """Open a connection from the SYN in a cookie; the caller processes `ack`."""
        flow = self._begin(name, listener, now, (ack.ack - 1) & MASK)
        flow.segment_arrives(syn, now)
        flow.answered_by_cookie(now)
        return flow

    # A new incarnation of the same four-tuple

    def reincarnate(self, old: Flow, syn: Segment, packet: Buffer, now: float) -> None:
        """Replace `old`, in TIME-WAIT, by a new incarnation (RFC 6191)."""
        if self._demux.find_listener(old.four_tuple.local, old.four_tuple.local_port) is None:
            # Without a listener a SYN is challenged (section 3.10.7.4, fourth).
            old.challenge(now)
            return
        self._end(old)
        self._begin_anew(old.four_tuple, old.sender.nxt, syn, packet, now)

    def reopens_time_wait(self, incoming: bytes, syn: Segment, packet: Buffer, now: float) -> bool:
        """Do :meth:`reincarnate` for a TIME-WAIT without a socket; returns whether it was reopened.

        Clients reuse a port within a minute if they do not keep TIME-WAIT themselves.
        """
        name = FourTuple.from_incoming(incoming)
        if self._demux.find_listener(name.local, name.local_port) is None:
            return False
        nxt = self._time_waits.replace(incoming, syn)
        if nxt is None:
            return False
        output = self._output
        if syn.ecn == CE:
            output.counters["congestion_marks"] += 1
        output.counters[_NEW_INCARNATION] += 1
        output.observe_in(packet, now, _NEW_INCARNATION, _TIME_WAIT, _TIME_WAIT)
        self._begin_anew(name, nxt, syn, packet, now)
        return True

    def _end(self, old: Flow) -> None:
        old.end(None)
        self._mark_pending(old)

    def _begin_anew(
        self, name: FourTuple, nxt: int, syn: Segment, packet: Buffer, now: float
    ) -> None:
        """Open a new incarnation of `name`; SND.NXT of the old one was `nxt`."""
        # Larger than any number that the old one used (RFC 9293 section 3.6.1).
        floor = (nxt + ISN_STEP) & MASK
        flow = self.unmatched(name, syn, packet, now, floor)
        if flow is not None:
            flow.segment_arrives(syn, now)
            self._mark_pending(flow)

    # Active

    def connect(
        self,
        remote: Address,
        remote_port: int,
        now: float,
        *,
        local: Address | None = None,
        local_port: int = 0,
        config: Config | None = None,
        early: bool = False,
    ) -> Flow:
        """Active OPEN; :meth:`Stack.flush` sends the SYN.

        With `early` the SYN carries data that is queued by then, if RFC 7413 permits it.

        Raises:
            OSError: ENETUNREACH for an address that is not unicast (MUST-46), or of a family that
                the host has no address of, EADDRNOTAVAIL if the four-tuple is in use or no port is
                left, EAFNOSUPPORT to IPv6 from IPv4, ECONNREFUSED for port 0, ENOBUFS if there are
                too many connections, EOPNOTSUPP if `only_listens`.
        """
        if self.only_listens:
            raise OSError(errno.EOPNOTSUPP, "a worker only listens")
        if not ip_address.is_valid_remote(remote, self._addresses.broadcasts):
            raise os_error(errno.ENETUNREACH)
        if remote_port == 0:
            raise os_error(errno.ECONNREFUSED)
        if self._eviction.make_place(remote, now, proven=True) is not None:
            raise os_error(errno.ENOBUFS)
        if local is None or local in _WILDCARDS:
            local = self._addresses.source_for(remote)
        elif len(local) != len(remote):
            number = _OTHER_FAMILY[len(local)]
            raise os_error(number)
        port = local_port or self._demux.ephemeral_port(
            local,
            remote,
            remote_port,
            reusable=lambda name: self._time_waits.is_reusable(name, now),
        )
        name = FourTuple(local, port, remote, remote_port)
        fitted = self.configs.fitted(config or self.config, local)
        nxt = self._after_time_wait(name) if fitted.timestamps else None
        iss = None if nxt is None else (nxt + ISN_STEP) & MASK
        flow = self._make_flow(name, now, iss=iss, config=fitted)
        self._demux.add(name, flow)
        self._memory.enter(flow)
        if early:
            path = (local, remote)
            counters = self._output.counters
            flow.fast_open = fast_open.FastOpenClient(self._cookie_cache, path, counters, now)
        flow.open_active()
        self._mark_pending(flow)
        return flow

    def _after_time_wait(self, name: FourTuple) -> int | None:
        """End the TIME-WAIT of this four-tuple for an active open, if it used timestamps.

        Returns the SND.NXT of the old connection; None if there is no such TIME-WAIT.
        """
        old = self._demux.find(name)
        if old is None:
            return self._time_waits.reuse(name.incoming)
        if old.state is not State.TIME_WAIT or not old.timestamps_ok:
            return None
        self._end(old)
        return old.sender.nxt

    # Both

    def _make_flow(
        self,
        name: FourTuple,
        now: float,
        *,
        iss: int | None,
        config: Config,
    ) -> Flow:
        """Create a flow; `config` is fitted to its local address."""
        packed = name.packed
        flow = Flow(
            name,
            config,
            iss=self._numbers.isn(packed, now) if iss is None else iss,
            ts_offset=self._numbers.timestamp_offset(packed),
            budget=self._memory.budget,
        )
        flow.demux = self._demux
        flow.number = next(self._order)
        if len(packed) != _IPV4_NAME:
            flow.flow_label = self._output.labels.label(packed)
        flow.loops = name.remote in self._addresses.local
        flow.idle_timers.received_at = now
        flow.sender.path.limit = self._paths.size_for(name.remote)
        return flow
