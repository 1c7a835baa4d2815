"""One question to the name servers: over UDP, again after a time, over TCP if need be."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import trio

from tunstack.resolver.messages import Match, Query, make_query, read_answer

if TYPE_CHECKING:
    from tunstack.resolver.messages import RandomSource
    from tunstack.socket.endpoint import Endpoint

_WRONG_ANSWERS: Final = 20
"""After so many TCP is asked: somebody guesses ids."""
_LONGEST_DATAGRAM: Final = 4096
_WITHOUT_EDNS: Final = frozenset({dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS})
"""What servers say that do not know EDNS (RFC 6891 section 7)."""
_FINAL: Final = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})


class Server(NamedTuple):
    """A name server's family, address and port."""

    family: int
    address: str
    port: int


class NoAnswer(Exception):
    """No name server has answered, or none with an answer."""


@final
class Exchange:
    """Asks name servers over a host's sockets.

    Args:
        host: The host.
        servers: The name servers, the first of which is asked first.
        timeout: Seconds to wait for the first answer; twice as many after each round.
        rounds: How often each server is asked.
        rng: For ids and letters.

    Attributes:
        counts: ``queries_udp``, ``queries_tcp``, ``timeouts``, ``wrong_answers``, ``truncated``,
            ``unreachable``, and error answers by their codes, as ``servfail``.
    """

    def __init__(
        self,
        host: Endpoint,
        servers: list[Server],
        timeout: float,
        rounds: int,
        rng: RandomSource,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._host = host
        self._servers = servers
        self._timeout = timeout
        self._rounds = rounds
        self._rng = rng

    async def ask(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
    ) -> dns.message.Message:
        """Return an answer whose code is NOERROR or NXDOMAIN.

        Raises:
            NoAnswer: there is none.
        """
        servers = dict.fromkeys(self._servers)
        for turn in range(self._rounds):
            for server in [*servers]:
                answer = await self._ask_one(server, name, rdtype, self._timeout * 2**turn)
                if answer is None:
                    continue
                if answer.rcode() in _FINAL:
                    return answer
                self.counts[answer.rcode().name.lower()] += 1
                if answer.rcode() == dns.rcode.REFUSED:
                    del servers[server]  # It would say so again.
        raise NoAnswer

    async def _ask_one(
        self,
        server: Server,
        name: dns.name.Name,
        rdtype: dns.rdatatype.RdataType,
        timeout: float,
    ) -> dns.message.Message | None:
        """Ask one server, with EDNS, and without if it does not know that."""
        for edns in (True, False):
            query = make_query(name, rdtype, self._rng, edns=edns)
            try:
                answer = await self._exchanged(server, query, timeout)
            except (OSError, trio.BrokenResourceError):
                self.counts["unreachable"] += 1
                return None
            if answer is None or answer.rcode() not in _WITHOUT_EDNS:
                return answer
        return answer

    async def _exchanged(
        self, server: Server, query: Query, timeout: float
    ) -> dns.message.Message | None:
        """Send a query and return its answer; None if there was none in time.

        Raises:
            OSError, trio.BrokenResourceError: the server cannot be reached.
        """
        answer = None
        with trio.move_on_after(timeout) as scope:
            answer = await self._over_udp(server, query)
        if scope.cancelled_caught:
            self.counts["timeouts"] += 1
            return None
        if answer is not None and not answer.flags & dns.flags.TC:
            return answer
        if answer is not None:
            self.counts["truncated"] += 1
        with trio.move_on_after(timeout) as scope:
            return await self._over_tcp(server, query)
        self.counts["timeouts"] += 1
        return None

    async def _over_udp(self, server: Server, query: Query) -> dns.message.Message | None:
        """Return the answer; None if it is to be asked for over TCP."""
        self.counts["queries_udp"] += 1
        with self._host.socket(server.family, trio.socket.SOCK_DGRAM) as sock:
            await sock.connect((server.address, server.port))
            await sock.send(query.octets)
            for _ in range(_WRONG_ANSWERS):
                match, answer = read_answer(await sock.recv(_LONGEST_DATAGRAM), query)
                if match is Match.ANSWER:
                    return answer
                self.counts["wrong_answers"] += 1
                if match is Match.OTHER_CASE:
                    break
        return None

    async def _over_tcp(self, server: Server, query: Query) -> dns.message.Message | None:
        """Return the answer; None if it is a wrong one."""
        self.counts["queries_tcp"] += 1
        with self._host.socket(server.family, trio.socket.SOCK_STREAM) as sock:
            await sock.connect((server.address, server.port))
            stream = trio.SocketStream(sock)
            await stream.send_all(len(query.octets).to_bytes(2, "big") + query.octets)
            size = int.from_bytes(await _exactly(stream, 2), "big")
            match, answer = read_answer(await _exactly(stream, size), query)
        if match is Match.WRONG:
            self.counts["wrong_answers"] += 1
        return answer


async def _exactly(stream: trio.SocketStream, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        data = await stream.receive_some(size - len(received))
        if not data:
            raise trio.BrokenResourceError("the name server has closed the connection")
        received += data
    return bytes(received)
