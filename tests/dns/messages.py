"""Queries and replies as tests write them."""

from __future__ import annotations

from typing import Any

import dns.message

from tunstack import Names
from tunstack.dns.answers import Responder

NAMES = {
    "www.test": ["198.51.100.2", "2001:db8::2"],
    "alias.test": "CNAME www.test",
    "far.test": "CNAME www.example.org",
    "loop.test": "CNAME pool.test",
    "pool.test": "CNAME loop.test",
    "test": ["MX 10 www.test", "TXT 'any text'"],
    "_http._tcp.test": "SRV 0 0 80 www.test",
    "h.test": "HTTPS 1 . alpn=h2",
    "*.wild.test": "198.51.100.3",
    "below.deep.test": "198.51.100.4",
    "big.test": [f"198.51.100.{number}" for number in range(1, 101)],
    "sub.test": "NS ns.sub.test",
    "ns.sub.test": "198.51.100.5",
}


KNOWN = Names(NAMES, own=["198.51.100.2"])


def responder(**parameters: Any) -> Responder:
    names = Names({"www.test": "198.51.100.2", "alias.test": "CNAME www.test"}, **parameters)
    return Responder(names if parameters else KNOWN)


def query(name: str, rdtype: str = "A", **parameters: Any) -> bytes:
    wire: bytes = dns.message.make_query(name, rdtype, **parameters).to_wire()
    return wire


def asked(
    server: Responder, name: str, rdtype: str = "A", *, stream: bool = False, **parameters: Any
) -> dns.message.Message:
    """What the server answers."""
    reply = server.respond(query(name, rdtype, **parameters), stream=stream)
    assert reply is not None
    return dns.message.from_wire(reply.octets)


def texts(section: list[Any]) -> list[str]:
    return [f"{each.name} {line}" for each in section for line in map(_kind, each)]


def _kind(rdata: Any) -> str:
    return f"{rdata.rdtype.name} {rdata.to_text()}"
