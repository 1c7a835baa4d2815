"""What programs say over TCP, as packets: TLS of Python's ssl in memory, DNS of dnspython."""

from __future__ import annotations

import ssl
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import dns.flags
import dns.message
import dns.name
import dns.rrset
import trustme

from tests.ladder.exchange import Exchange
from tunstack.tcp.segment import ACK, PSH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Said = tuple[str, bytes]

CLIENT: Final = "client"
SERVER: Final = "server"


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Those of :func:`tls_talk`, which changes them."""
    return new_contexts()


def new_contexts(name: str = "peer.test") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a client that trusts the authority, and of the server of that name."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(name, f"www.{name}").configure_cert(server)
    client = ssl.create_default_context()
    authority().configure_trust(client)
    return client, server


def tls_talk(
    *,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    name: str = "peer.test",
    question: bytes = b"GET / HTTP/1.1\r\n\r\n",
    answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n",
    protocols: tuple[str, ...] = ("h2", "http/1.1"),
    keylog: tuple[int, str] | None = None,
) -> list[Said]:
    """The octets of a handshake, a request, an answer and both close_notify, by side.

    `keylog` is for the client's keys (0) or the server's (1), and the file.
    """
    client_context, server_context = both = _contexts() if keylog is None else new_contexts()
    if keylog is not None:
        both[keylog[0]].keylog_filename = keylog[1]
    for context in both:
        context.maximum_version = newest
        context.set_alpn_protocols(list(protocols))
    said: list[Said] = []
    # Each object writes to a buffer of its own; what it wrote is recorded, and given to the other.
    outgoing = {CLIENT: ssl.MemoryBIO(), SERVER: ssl.MemoryBIO()}
    incoming = {CLIENT: ssl.MemoryBIO(), SERVER: ssl.MemoryBIO()}
    client = client_context.wrap_bio(incoming[CLIENT], outgoing[CLIENT], server_hostname=name)
    server = server_context.wrap_bio(incoming[SERVER], outgoing[SERVER], server_side=True)
    objects = {CLIENT: client, SERVER: server}

    def carry(side: str) -> None:
        if outgoing[side].pending:
            said.append((side, outgoing[side].read()))
            incoming[SERVER if side == CLIENT else CLIENT].write(said[-1][1])

    def attempt(side: str, action: Any) -> None:
        try:
            action(objects[side])
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            failed.append(side)
        carry(side)

    failed: list[str] = []
    for _ in range(4):
        for side in (CLIENT, SERVER):
            attempt(side, ssl.SSLObject.do_handshake)
    if failed:
        return said
    attempt(CLIENT, lambda each: each.write(question))
    attempt(SERVER, lambda each: each.read(65536))
    attempt(SERVER, lambda each: each.write(answer))
    attempt(CLIENT, lambda each: each.read(1 << 20))
    attempt(CLIENT, ssl.SSLObject.unwrap)
    attempt(SERVER, ssl.SSLObject.unwrap)
    return said


class Talk(Exchange):
    """A connection of the kernel's to port 443, which carries what both sides say."""

    def __init__(self, said: Iterable[Said] = (), *, most: int = 1448, **options: Any) -> None:
        super().__init__(**options)
        self.octets = {CLIENT: 1, SERVER: 1}
        self.handshake()
        for side, data in said:
            for part in (data[at : at + most] for at in range(0, len(data), most)):
                self.say(side, part)

    def say(self, side: str, data: bytes) -> None:
        """One segment."""
        other = SERVER if side == CLIENT else CLIENT
        tell = self.receive if side == CLIENT else self.send
        tell(PSH | ACK, self.octets[side], self.octets[other], payload=data)
        self.octets[side] += len(data)


def messages_in(page: str) -> list[str]:
    """The lines of a ladder below its arrows."""
    return [line[15:] for line in page.splitlines() if line.startswith(" " * 15)]


def in_pieces(said: Iterable[Said], sizes: Iterator[int]) -> Iterator[Said]:
    """The same octets in other segments."""
    for side, data in said:
        at = 0
        while at < len(data):
            size = next(sizes)
            yield side, data[at : at + size]
            at += size


def answer_to(
    query: dns.message.Message, *records: str, flags: int = 0, rcode: int = 0
) -> dns.message.Message:
    """An answer with records, as zone files have them."""
    answer = dns.message.make_response(query)
    answer.flags |= flags
    answer.set_rcode(rcode)  # type: ignore[arg-type]
    for record in records:
        name, ttl, cls, kind, data = record.split(maxsplit=4)
        answer.answer.append(
            dns.rrset.from_text(dns.name.from_text(name), int(ttl), cls, kind, data)
        )
    return answer


def query(name: str = "peer.test", kind: str = "A", **options: Any) -> dns.message.Message:
    """A question, with the identifier 4660."""
    message = dns.message.make_query(name, kind, **options)
    message.id = 4660
    return message
