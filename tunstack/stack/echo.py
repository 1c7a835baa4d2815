"""Ping sockets, sans-IO: echo requests out, replies and errors in (Linux's ping sockets).

A ping socket has an identifier, as others have a port. What it sends is an echo request, whose
identifier and checksum are set here; it receives the replies with its identifier, from the type of
the ICMP message on.
"""

from __future__ import annotations

import errno
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, NamedTuple, final

from tunstack.ip.address import is_broadcast
from tunstack.ip.errors import os_error
from tunstack.ip.family import family_of
from tunstack.ip.icmp import IcmpMessage, Quote
from tunstack.ip.icmp_rules import RULES
from tunstack.wire import icmp_datagram

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tunstack.ip.datagram import Address, Buffer, Datagram
    from tunstack.ip.family import Family
    from tunstack.stack.context import Context
    from tunstack.stack.paths import Paths

RECEIVE_BUFFER: Final = 212_992
"""Octets: Linux's net.core.rmem_default."""
_OVERHEAD: Final = 256
"""Octets of memory of a reply beside its data."""
_REMEMBERED: Final = 256
"""The latest requests of a socket for which ICMP errors are accepted (RFC 5927)."""
_HEADER: Final = 8
_LONGEST: Final[dict[int, int]] = {4: 0xFFFF - 20, 16: 0xFFFF}
"""Octets of a message, by octets of an address: IPv4's total length counts its header as well."""
_IDENTIFIERS: Final = 0xFFFF


class Reply(NamedTuple):
    """An echo reply.

    Attributes:
        data: The ICMP message, from its type on.
        source: Where it came from.
        ttl: Its time to live, or hop limit.
    """

    data: bytes
    source: Address
    ttl: int


@final
class Pinger:
    """A ping socket below the socket API.

    Attributes:
        family: Its family.
        identifier: Of its requests; 0 before there is one.
        local: The address that it is bound to; None for all.
        remote: The address that it is connected to, with the port that was given; None for none.
        replies: What was received.
        held: Octets of memory that the replies take.
        receive_buffer: The most of them.
        error: The pending error, raised by the next call.
        wants_errors: Whether every ICMP error is told (IP_RECVERR); else only those that Linux
            calls fatal, and only if it is connected.
        reuse: Whether its identifier may be another's, too (SO_REUSEADDR); so it is at first.
        ttl: Of requests; None for the host's.
        tos: Of requests.
        receive_ttl: Whether the application wants each reply's TTL (IP_RECVTTL).
        receive_shut_down: Whether SHUT_RD was called.
        send_shut_down: Whether SHUT_WR was called.
        changed: Called when there is something to receive.
    """

    def __init__(self, family: Family, changed: Callable[[], None]) -> None:
        self.family = family
        self.identifier = 0
        self.local: Address | None = None
        self.remote: tuple[Address, int] | None = None
        self.replies: deque[Reply] = deque()
        self.held = 0
        self.receive_buffer = RECEIVE_BUFFER
        self.error: OSError | None = None
        self.wants_errors = False
        self.reuse = True
        self.ttl: int | None = None
        self.tos = 0
        self.receive_ttl = False
        self.receive_shut_down = False
        self.send_shut_down = False
        self.changed = changed
        self.sent: OrderedDict[tuple[Address, int], None] = OrderedDict()
        """Destination and sequence number of the latest requests."""

    @property
    def readable(self) -> bool:
        """Whether receiving would return at once: a reply, an error, or after SHUT_RD."""
        return bool(self.replies) or self.error is not None or self.receive_shut_down

    def take_error(self) -> OSError | None:
        """Return and clear the pending error (SO_ERROR); None for none."""
        error, self.error = self.error, None
        return error


@final
class Echoes:
    """All ping sockets of a stack, by identifier."""

    def __init__(self, context: Context, paths: Paths, rng: Random) -> None:
        """Register with `paths` for echo replies and ICMP errors."""
        self._addresses = context.addresses
        self._configs = context.configs
        self._output = context.output
        self._counters = context.counters
        self._budget = context.memory.budget
        self._paths = paths
        self._rng = rng
        self._pingers: dict[int, list[Pinger]] = {}
        """By identifier; of those with the same, the latest that matches receives."""
        paths.echo_reply_arrives = self._reply_arrives
        for rules in RULES.values():
            paths.error_handlers[rules.PROTOCOL] = self._error_arrives

    # Calls of sockets

    def bind(self, pinger: Pinger, local: Address | None, identifier: int) -> None:
        """Bind `pinger` to an address and an identifier; 0 for any that is free.

        Raises:
            OSError: EINVAL, it has one; EADDRNOTAVAIL; EADDRINUSE.
        """
        if pinger.identifier:
            raise os_error(errno.EINVAL)
        if local is not None and local not in self._addresses.local:
            raise os_error(errno.EADDRNOTAVAIL)
        self._take_identifier(pinger, identifier)
        pinger.local = local

    def connect(self, pinger: Pinger, remote: Address, port: int) -> None:
        """Send to `remote` from now on, where no other address is given; `port` means nothing."""
        if not pinger.identifier:
            self._take_identifier(pinger, 0)
        pinger.local = pinger.local or self._addresses.source_for(remote)
        pinger.remote = remote, port

    def send(self, pinger: Pinger, data: Buffer, remote: Address | None, now: float) -> int:
        """Send `data`, an echo request from its type on; returns its length.

        Raises:
            OSError: EINVAL, it is no echo request; EMSGSIZE; EDESTADDRREQ, no address is given and
                it is not connected; EACCES, the address is a broadcast address; EADDRINUSE, all
                identifiers are in use; or the ICMP error of an earlier one.
        """
        rules = RULES[pinger.family.address_size]
        if len(data) > 0xFFFF:
            raise os_error(errno.EMSGSIZE)
        if len(data) < _HEADER or data[0] != rules.ECHO_REQUEST or data[1]:
            raise os_error(errno.EINVAL)
        if remote is None:
            if pinger.remote is None:
                raise os_error(errno.EDESTADDRREQ)
            remote = pinger.remote[0]
        error = pinger.take_error()
        if error is not None:
            raise error
        if is_broadcast(remote, self._addresses.broadcasts):
            raise os_error(errno.EACCES)
        if not pinger.identifier:
            self._take_identifier(pinger, 0)
        if len(data) > _LONGEST[len(remote)]:
            raise os_error(errno.EMSGSIZE)
        self._request(pinger, data, remote, now)
        return len(data)

    def _request(self, pinger: Pinger, data: Buffer, remote: Address, now: float) -> None:
        sequence = int.from_bytes(data[6:8], "big")
        rest = pinger.identifier << 16 | sequence
        message = IcmpMessage(data[0], 0, rest, bytes(data[_HEADER:]))
        source = pinger.local or self._addresses.source_for(remote)
        datagram = icmp_datagram(
            source,
            remote,
            message,
            ttl=pinger.ttl or self._configs.ttl(source),
            tos=pinger.tos,
            flow_label=self._output.label_of(source, remote),
        )
        mtu = self._paths.mtus.get(remote)
        # As Linux: what fits in a packet is not to be fragmented on its way.
        datagram.dont_fragment = pinger.family.header + len(data) <= mtu
        pinger.sent[remote, sequence] = None
        if len(pinger.sent) > _REMEMBERED:
            pinger.sent.popitem(last=False)
        self._output.send_datagram(datagram, now, mtu=mtu)

    def receive(self, pinger: Pinger, *, peek: bool = False) -> Reply | None:
        """Remove and return the first reply; None if there is none.

        Raises:
            OSError: an ICMP error that came; told once.
        """
        error = pinger.take_error()
        if error is not None:
            raise error
        if not pinger.replies:
            return None
        if peek:
            return pinger.replies[0]
        reply = pinger.replies.popleft()
        self._hold(pinger, -len(reply.data) - _OVERHEAD)
        return reply

    def close(self, pinger: Pinger) -> None:
        """Release the identifier, and what was received."""
        sharing = self._pingers.get(pinger.identifier, [])
        if pinger in sharing:
            sharing.remove(pinger)
            if not sharing:
                del self._pingers[pinger.identifier]
        pinger.replies.clear()
        self._hold(pinger, -pinger.held)

    def _take_identifier(self, pinger: Pinger, identifier: int) -> None:
        if not identifier:
            first = self._rng.randrange(_IDENTIFIERS)
            for number in range(_IDENTIFIERS):
                identifier = 1 + (first + number) % _IDENTIFIERS
                if identifier not in self._pingers:
                    break
            else:
                raise os_error(errno.EADDRINUSE)
        sharing = self._pingers.setdefault(identifier, [])
        if not all(other.reuse and pinger.reuse for other in sharing):
            raise os_error(errno.EADDRINUSE)
        pinger.identifier = identifier
        sharing.append(pinger)

    def _hold(self, pinger: Pinger, octets: int) -> None:
        pinger.held += octets
        self._budget.add(octets)

    # What arrives

    def _find(self, identifier: int, local: Address) -> Pinger | None:
        family = family_of(local)
        for pinger in reversed(self._pingers.get(identifier, ())):
            if pinger.family is family and pinger.local in (None, local):
                return pinger
        return None

    def _reply_arrives(self, datagram: Datagram, message: IcmpMessage) -> bool:
        """Append a reply to the queue of its socket; returns False if there is none."""
        pinger = self._find(message.identifier, datagram.dst)
        if pinger is None:
            return False
        size = len(datagram.payload) + _OVERHEAD
        if pinger.held + size > pinger.receive_buffer or self._budget.full:
            self._counters["echo_overflow"] += 1
            return True
        self._hold(pinger, size)
        pinger.replies.append(Reply(bytes(datagram.payload), datagram.src, datagram.ttl))
        pinger.changed()
        return True

    def _error_arrives(
        self, quote: Quote, error: OSError | None, message: IcmpMessage, now: float
    ) -> bool:
        """Report an error to the socket whose request it quotes; returns False if there is none."""
        rules = RULES[len(quote.src)]
        octets = quote.octets
        if octets[0] != rules.ECHO_REQUEST or octets[1]:
            return False
        pinger = self._find(int.from_bytes(octets[4:6], "big"), quote.src)
        request = quote.dst, int.from_bytes(octets[6:8], "big")
        if pinger is None or request not in pinger.sent:
            return False
        del pinger.sent[request]  # One error for each.
        if rules.is_too_big(message):
            self._paths.too_big(quote.dst, message, now)
        told = rules.is_told if pinger.wants_errors else rules.is_hard
        if (pinger.wants_errors or pinger.remote is not None) and told(message):
            pinger.error = error
            pinger.changed()
        return True
