"""Misbehaviours of names and of TLS."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import tunstack
from tests.misbehaviours.table import Misbehaviour, misbehaviour

if TYPE_CHECKING:
    from tunstack.blocking import Host

NAMES: list[Misbehaviour] = []
TLS: list[Misbehaviour] = []
names_fault = partial(
    misbehaviour,
    NAMES,
    made_of="name server",
    toxiproxy="not possible: it has no UDP",
    scapy="by hand: `DNS_am` or an `AnsweringMachine` of one's own",
    packetdrill="not possible: payloads have no content of one's own",
    client="look_up",
)
tls = partial(
    misbehaviour,
    TLS,
    made_of="app",
    toxiproxy="not possible: it passes TLS on, or terminates it with your certificate",
    packetdrill="not possible: payloads have no content of one's own",
)


@names_fault(
    title="SERVFAIL for the first queries",
    met="The name cannot be looked up for now: EAI_AGAIN.",
    robust="Ask again, with a pause: it is no answer about the name.",
    options={"times": 3},
    meets=("SERVFAIL", "SERVFAIL", "NOERROR"),
)
def servfail(host: Host) -> None:
    names = tunstack.Names({"www.test": "198.51.100.2"}, faults={"www.test": "servfail:2"})
    host.serve_udp(tunstack.DnsServer(names).datagram_handler, 53)


@names_fault(
    title="NXDOMAIN for the first queries",
    met="The name does not exist: EAI_NONAME, though it does a moment later.",
    robust="Do not remember it for longer than the SOA allows; in deployments ask again.",
    options={"times": 3},
    meets=("NXDOMAIN", "NXDOMAIN", "NOERROR"),
)
def nxdomain(host: Host) -> None:
    names = tunstack.Names({"www.test": "198.51.100.2"}, faults={"www.test": "nxdomain:2"})
    host.serve_udp(tunstack.DnsServer(names).datagram_handler, 53)


@names_fault(
    title="The name server does not answer",
    made_of="rule",
    met="The query times out; glibc asks again after 5 s.",
    robust="Look up with a limit of its own, outside of the event loop.",
    scapy="by hand, or NFQUEUE: drop it",
    options={"times": 2, "timeout": 0.3},
    meets=("timeout", "NOERROR"),
    counted={"rules_dropped": 1},
)
def no_answer(host: Host) -> None:
    names = tunstack.Names({"www.test": "198.51.100.2"})
    host.serve_udp(tunstack.DnsServer(names).datagram_handler, 53)
    host.rules.drop(direction="in", local_port=53, first=1)


@names_fault(
    title="A forged answer",
    met="An answer with another id: it answers no question, and the query times out.",
    robust="Nothing in a program; a resolver that takes it is faulty.",
    options={"timeout": 0.3},
    meets=("timeout",),
)
def forged_answer(host: Host) -> None:
    names = tunstack.Names({"www.test": "198.51.100.2"}, faults={"www.test": "wrong-id"})
    host.serve_udp(tunstack.DnsServer(names).datagram_handler, 53)


@tls(
    title="A certificate that has expired",
    met="The handshake fails: the client refuses it.",
    robust="Refuse, and say why; offer no way to go on without verification.",
    scapy="none needed: any TLS server; `TLSServerAutomaton`",
    options={"tls": True},
    meets=("certificate",),
)
def expired(host: Host) -> None:
    host.serve_tcp("https-expired:443")


@tls(
    title="A certificate of another name",
    met="The handshake fails: the client refuses it.",
    robust="Verify names, of addresses too.",
    scapy="none needed: any TLS server; `TLSServerAutomaton`",
    options={"tls": True},
    meets=("certificate",),
)
def wrong_name(host: Host) -> None:
    host.serve_tcp("https-wrong-name:443")


@tls(
    title="A certificate that nobody has signed",
    met="The handshake fails: the client refuses it.",
    robust="As above.",
    scapy="none needed: any TLS server; `TLSServerAutomaton`",
    options={"tls": True},
    meets=("certificate",),
)
def self_signed(host: Host) -> None:
    host.serve_tcp("https-self-signed:443")


@tls(
    title="The TLS handshake stalls",
    met="`connect()` succeeds; the ClientHello is never answered.",
    robust="The timeout of connecting covers the handshake.",
    toxiproxy="`timeout=0`",
    scapy="by hand: a TCP server that reads; none needed",
    options={"tls": True, "timeout": 0.3},
    meets=("timeout",),
)
def stalled_handshake(host: Host) -> None:
    host.serve_tcp("https-stalled:443")


@tls(
    title="A record that does not decrypt",
    met="`bad record mac` in the middle of the answer.",
    robust="What came before is the answer's beginning, and no answer.",
    toxiproxy="with a toxic of one's own, in Go",
    scapy="NFQUEUE: change an octet of a record, `del packet[TCP].chksum`",
    options={"tls": True},
    meets=("tls",),
)
def damaged_record(host: Host) -> None:
    host.serve_tcp("https-damaged:443")


@tls(
    title="End of file without close_notify",
    met="No error, in http.client and some builds of curl, though the answer may have been cut"
    " (RFC 8446 section 6.1).",
    robust="Whole is what is whole by its own length; else it is an error.",
    toxiproxy="`limit_data`, at that octet",
    scapy="`TLSServerAutomaton`, changed",
    options={"tls": True},
    meets=("changed",),
    curl=frozenset({56}),
)
def no_close_notify(host: Host) -> None:
    host.serve_tcp("https-unclosed:443")
