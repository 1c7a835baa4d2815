"""What a server does wrong, by name."""

from __future__ import annotations

import dns.flags
import dns.rcode
import pytest

from tests.dns.messages import asked, query, responder
from tunstack.dns.faults import Fault, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no-answer", Fault(outcome="no-answer")),
        ("no-answer:3", Fault(outcome="no-answer", times=3)),
        ("delay:1.5", Fault(delay=1.5)),
        ("delay:1,servfail:2", Fault(delay=1, outcome="servfail", times=2)),
        ("truncated, wrong-id", Fault(truncated=True, wrong_id=True)),
        ("nxdomain:1", Fault(outcome="nxdomain", times=1)),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    "text",
    ["", "late", "delay", "delay:", "delay:-1", "delay:nan", "delay:1e9", "servfail:0",
     "servfail:", "servfail:x", "truncated:2", "servfail,refused", "wrong-id:1"],
)  # fmt: skip
def test_a_fault_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no fault|give "):
        parse_fault(text)
    with pytest.raises(ValueError, match=r"is no fault|give "):
        responder(faults={"a.test": text})


def test_a_pattern_that_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'a\.\.b' is no name"):
        responder(faults={"a..b": "servfail"})


@pytest.mark.parametrize(
    ("fault", "rcode"),
    [
        ("servfail", dns.rcode.SERVFAIL),
        ("refused", dns.rcode.REFUSED),
        ("nxdomain", dns.rcode.NXDOMAIN),
    ],
)
def test_an_error_takes_the_place_of_the_answer(fault: str, rcode: dns.rcode.Rcode) -> None:
    server = responder(faults={"www.test": fault})
    for _ in range(3):
        reply = asked(server, "www.test")
        assert (reply.rcode(), reply.answer) == (rcode, [])
    assert bool(reply.authority) == (fault == "nxdomain")
    assert asked(server, "alias.test").rcode() == dns.rcode.NOERROR
    assert server.counts["faults"] == 3


def test_the_first_queries_only() -> None:
    server = responder(faults={"www.test": "nxdomain:2"})
    replies = [asked(server, "www.test", each) for each in ("A", "AAAA", "A", "A")]
    assert [each.rcode() for each in replies] == [3, 3, 0, 0]


def test_no_answer() -> None:
    server = responder(faults={"www.test": "no-answer:1"})
    assert server.respond(query("www.test"), stream=False) is None
    assert asked(server, "www.test").answer


def test_a_delay_is_the_senders_to_make() -> None:
    server = responder(faults={"www.test": "delay:3"})
    reply = server.respond(query("www.test"), stream=False)
    assert reply is not None
    assert reply.delay == 3
    assert asked(server, "www.test").answer


def test_truncated_over_udp_and_whole_over_tcp() -> None:
    server = responder(faults={"www.test": "truncated"})
    reply = asked(server, "www.test")
    assert (reply.answer, bool(reply.flags & dns.flags.TC)) == ([], True)
    assert asked(server, "www.test", stream=True).answer


def test_the_wrong_id() -> None:
    server = responder(faults={"www.test": "wrong-id"})
    octets = query("www.test")
    reply = server.respond(octets, stream=False)
    assert reply is not None
    assert reply.octets[:2] != octets[:2]


@pytest.mark.parametrize(
    ("name", "rcode"),
    [("a.test", 2), ("b.a.test", 5), ("c.b.a.test", 5), ("other.test", 3), ("example.org", 3)],
)
def test_a_name_precedes_patterns_and_the_longest_counts(name: str, rcode: int) -> None:
    server = responder(faults={"*": "nxdomain", "*.a.test": "refused", "a.test": "servfail"})
    assert asked(server, name).rcode() == rcode
