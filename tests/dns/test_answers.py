"""Queries, and the replies to them (RFC 1034, RFC 1035, RFC 2308, RFC 4592, RFC 6891)."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.dns.messages import asked, query, responder, texts
from tunstack import Names
from tunstack.dns.answers import Responder

SOA = "test. SOA peer.test. hostmaster.test. 1 3600 600 86400 60"


@pytest.mark.parametrize(
    ("name", "rdtype", "answer"),
    [
        ("www.test", "A", ["www.test. A 198.51.100.2"]),
        ("WWW.Test", "AAAA", ["www.test. AAAA 2001:db8::2"]),
        ("alias.test", "A", ["alias.test. CNAME www.test.", "www.test. A 198.51.100.2"]),
        ("alias.test", "CNAME", ["alias.test. CNAME www.test."]),
        ("far.test", "A", ["far.test. CNAME www.example.org."]),
        ("test", "MX", ["test. MX 10 www.test."]),
        ("test", "TXT", ['test. TXT "any text"']),
        ("test", "NS", ["test. NS peer.test."]),
        ("test", "SOA", [SOA]),
        ("_http._tcp.test", "SRV", ["_http._tcp.test. SRV 0 0 80 www.test."]),
        ("h.test", "HTTPS", ['h.test. HTTPS 1 . alpn="h2"']),
        ("5.100.51.198.in-addr.arpa", "PTR", None),
        ("a.wild.test", "A", ["a.wild.test. A 198.51.100.3"]),
        ("a.b.wild.test", "A", ["a.b.wild.test. A 198.51.100.3"]),
        ("www.test", "ANY", ["www.test. A 198.51.100.2", "www.test. AAAA 2001:db8::2"]),
    ],
)
def test_what_is_there_is_answered(name: str, rdtype: str, answer: list[str] | None) -> None:
    reply = asked(responder(), name, rdtype)
    assert (reply.rcode(), bool(reply.flags & dns.flags.AA)) == (dns.rcode.NOERROR, True)
    if answer is None:
        assert "PTR big.test." in {each.partition(" ")[2] for each in texts(reply.answer)}
    else:
        assert [each.lower() for each in texts(reply.answer)] == [each.lower() for each in answer]


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        ("nosuch.test", "A", dns.rcode.NXDOMAIN),
        ("a.www.test", "A", dns.rcode.NXDOMAIN),
        ("www.test", "MX", dns.rcode.NOERROR),
        ("deep.test", "A", dns.rcode.NOERROR),
        ("wild.test", "A", dns.rcode.NOERROR),
        ("a.wild.test", "AAAA", dns.rcode.NOERROR),
        ("www.test", "TYPE4711", dns.rcode.NOERROR),
    ],
)
def test_what_is_not_there_is_answered_with_the_soa(
    name: str, rdtype: str, rcode: dns.rcode.Rcode
) -> None:
    reply = asked(responder(), name, rdtype)
    assert (reply.rcode(), reply.answer, texts(reply.authority)) == (rcode, [], [SOA])


@pytest.mark.parametrize(
    ("name", "rdtype"), [("example.org", "A"), (".", "NS"), ("test", "AXFR"), ("test", "IXFR")]
)
def test_what_is_in_no_zone_and_transfers_are_refused(name: str, rdtype: str) -> None:
    reply = asked(responder(), name, rdtype)
    assert (reply.rcode(), reply.answer, reply.authority) == (dns.rcode.REFUSED, [], [])
    assert not reply.flags & dns.flags.AA


def test_a_loop_of_aliases_has_an_end() -> None:
    reply = asked(responder(), "loop.test")
    assert reply.rcode() == dns.rcode.NOERROR
    assert {each.rdtype.name for each in reply.answer} == {"CNAME"}


def test_names_below_a_delegation_are_referred() -> None:
    reply = asked(responder(), "www.sub.test")
    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    assert not reply.flags & dns.flags.AA
    assert texts(reply.authority) == ["sub.test. NS ns.sub.test."]
    assert texts(reply.additional) == ["ns.sub.test. A 198.51.100.5"]


def test_the_addresses_of_hosts_that_records_name_are_added() -> None:
    for name, rdtype in (("test", "MX"), ("_http._tcp.test", "SRV")):
        assert texts(asked(responder(), name, rdtype).additional) == [
            "www.test. A 198.51.100.2",
            "www.test. AAAA 2001:db8::2",
        ]


def test_the_question_comes_back_in_its_own_case() -> None:
    reply = asked(responder(), "wWw.TeSt")
    assert reply.question[0].name.labels == (b"wWw", b"TeSt", b"")


# EDNS (RFC 6891) and truncation


def test_a_query_with_edns_is_answered_with_our_size_and_one_without_it_without() -> None:
    with_edns, without = (asked(responder(), "www.test", use_edns=each) for each in (0, False))
    assert (with_edns.edns, with_edns.payload) == (0, 1232)
    assert without.edns == -1


def test_another_version_of_edns_is_answered_with_ours() -> None:
    reply = asked(responder(), "www.test", use_edns=1)
    assert (reply.rcode(), reply.edns, reply.answer) == (dns.rcode.BADVERS, 0, [])


@pytest.mark.parametrize(
    ("payload", "truncated"), [(None, True), (100, True), (512, True), (1232, True), (4096, True)]
)
def test_what_does_not_fit_is_truncated_over_udp(payload: int | None, truncated: bool) -> None:
    server = responder()
    edns = {"use_edns": False} if payload is None else {"use_edns": 0, "payload": payload}
    reply = asked(server, "big.test", **edns)
    assert bool(reply.flags & dns.flags.TC) == truncated
    assert reply.answer == []
    assert server.counts["truncated"] == 1


def test_what_fits_into_the_clients_size_is_not_truncated() -> None:
    names = {"some.test": [f"198.51.100.{number}" for number in range(1, 41)]}
    server = Responder(Names(names))
    assert asked(server, "some.test", use_edns=False).flags & dns.flags.TC
    reply = asked(server, "some.test", use_edns=0, payload=1232)
    assert not reply.flags & dns.flags.TC
    assert len(reply.answer[0]) == 40


def test_over_tcp_nothing_is_truncated() -> None:
    reply = asked(responder(), "big.test", stream=True)
    assert (len(reply.answer[0]), reply.flags & dns.flags.TC) == (100, 0)


def test_the_same_query_gets_the_same_reply_with_its_own_id() -> None:
    """From the cache, the second time; with each transport its own."""
    server = responder()
    octets = query("www.test")
    first, other = (
        server.respond(each + octets[2:], stream=False) for each in (b"\0\1", b"\xff\xfe")
    )
    assert first is not None
    assert other is not None
    assert (first.octets[:2], other.octets[:2]) == (b"\0\1", b"\xff\xfe")
    assert first.octets[2:] == other.octets[2:]
    assert server.counts["noerror"] == 2
    big = query("big.test")
    assert server.respond(big, stream=True) != server.respond(big, stream=False)
