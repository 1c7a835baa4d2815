"""DNS on the ladder, over UDP and TCP."""

from __future__ import annotations

import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ladder.exchange import KERNEL, OURS, Exchange, packet_of, udp
from tests.ladder.spoken import CLIENT, SERVER, Talk, answer_to, messages_in, query
from tests.wire.packets import examples
from tunstack.ladder import Ladder, plain_text, read_packet
from tunstack.ladder.dns import read_dns
from tunstack.tcp.segment import ACK, PSH

if TYPE_CHECKING:
    from typing import Any


def asked(exchange: Exchange, message: dns.message.Message) -> None:
    exchange.add("in", packet_of(udp(message.to_wire(), dport=53)), verdict="accepted")


def answered(exchange: Exchange, message: dns.message.Message) -> None:
    packet = udp(message.to_wire(), sport=53, dport=4000, src=OURS, dst=KERNEL)
    exchange.add("out", packet_of(packet))


def quiet(**options: Any) -> Exchange:
    exchange = Exchange(**options)
    exchange.state = None
    return exchange


def test_a_look_up_of_both_families_in_80_columns() -> None:
    exchange = quiet()
    both = query(), query(kind="AAAA", use_edns=0, payload=1232)
    for each in both:
        asked(exchange, each)
    four = "peer.test 60 IN A 198.51.100.2"
    six = "peer.test 60 IN AAAA 2001:db8::2"
    for each, record in zip(both, (four, six), strict=True):
        answered(exchange, answer_to(each, record, flags=dns.flags.AA))
    expected = """
        |      ms #1 kernel 198.51.100.1:4000  198.51.100.2:53 tunstack
        |   0.000 #1 ── DNS query A peer.test id 4660 ───────▶
        |   1.000 #1 ── DNS query AAAA peer.test id 4660 ────▶
        |               EDNS 1232
        |   2.000 #1 ◀─ DNS answer A peer.test id 4660 ───────
        |               authoritative, 198.51.100.2 ttl 60
        |   3.000 #1 ◀─ DNS answer AAAA peer.test id 4660 ────
        |               authoritative, 2001:db8::2 ttl 60
        """
    page = exchange.drawn(names=("kernel", "tunstack"))
    assert page == dedent(expected).strip("\n").replace("|", "")


def details_of(message: dns.message.Message) -> tuple[str, ...]:
    return read_dns(message.to_wire()).details


def test_what_an_answer_says_beyond_the_usual() -> None:
    nothing = answer_to(query("no.test"), rcode=dns.rcode.NXDOMAIN)
    soa = "test 300 IN SOA ns.test. host.test. 1 2 3 4 60"
    nothing.authority = answer_to(query(), soa).answer
    assert details_of(nothing) == (
        "NXDOMAIN",
        "test SOA ns.test. host.test. 1 2 3 4 60 ttl 300",
    )
    assert details_of(answer_to(query(), flags=dns.flags.TC)) == ("truncated (TC)", "no records")
    assert details_of(answer_to(query(), rcode=dns.rcode.SERVFAIL)) == ("SERVFAIL",)
    assert details_of(
        answer_to(query("www.test"), "www.test 5 IN CNAME peer.test.", "peer.test 9 IN A 192.0.2.1")
    ) == ("CNAME peer.test. ttl 5", "peer.test 192.0.2.1 ttl 9")


def test_many_records_are_counted() -> None:
    records = [f"peer.test 60 IN A 192.0.2.{number}" for number in range(10)]
    assert details_of(answer_to(query(), *records))[-2:] == ("192.0.2.3 ttl 60", "and 6 more")


def test_other_opcodes_classes_and_questions() -> None:
    message = query()
    message.set_opcode(dns.opcode.NOTIFY)
    assert read_dns(message.to_wire()).details == ("NOTIFY",)
    strange = read_dns(query("a" * 63 + ".test", "TYPE65000", rdclass="CLASS60000").to_wire())
    assert len(strange.title[1]) <= 60
    chaos = query("version.bind", "TXT", rdclass="CH")
    assert read_dns(chaos.to_wire()).title == ("DNS query", "CH TXT version.bind", "id 4660")
    assert read_dns(query().to_wire()[:4] + bytes(8)).title[1] == "no question"


def test_names_that_are_too_long_for_a_line_are_cut_in_the_middle() -> None:
    name = ".".join(["a" * 50, "b" * 50, "c" * 50, "test"])
    message = answer_to(query(name), f"{name} 60 IN CNAME {name}.")
    exchange = quiet()
    asked(exchange, query(name))
    answered(exchange, message)
    page = exchange.drawn()
    assert max(map(len, page.splitlines())) <= 80
    assert "a..." in page


def test_over_tcp_each_message_has_its_length_before_it() -> None:
    said = [query(), query("www.test", "TXT")]
    octets = b"".join(len(each.to_wire()).to_bytes(2, "big") + each.to_wire() for each in said)
    long = answer_to(said[1], 'www.test 60 IN TXT "' + "x" * 200 + '"').to_wire()
    for most in (1, 7, 1448):
        talk = Talk(our_port=53)
        ladder = Ladder(states=False, full=True)
        for side, data in ((CLIENT, octets), (SERVER, len(long).to_bytes(2, "big") + long)):
            for at in range(0, len(data), most):
                talk.say(side, data[at : at + most])
        lines = []
        for seen in talk.observations:
            lines += ladder.add(read_packet(seen.time, seen.packet))
        texts = messages_in("\n".join(plain_text(line) for line in lines))[2:]
        assert [text for text in texts if text.startswith("DNS")] == [
            "DNS query, A peer.test, id 4660",
            "DNS query, TXT www.test, id 4660",
            "DNS answer, TXT www.test, id 4660,",
        ]


def test_a_flood_of_queries_is_folded_but_errors_are_not() -> None:
    exchange = quiet()
    for _ in range(20):
        asked(exchange, query())
    assert "… 15 datagrams, 405 bytes →" in exchange.drawn()
    exchange = quiet()
    for _ in range(20):
        answered(exchange, answer_to(query(), rcode=dns.rcode.REFUSED))
    assert exchange.drawn().count("REFUSED") == 20


def test_a_message_that_was_captured_in_part_is_read_as_far_as_it_goes() -> None:
    wire = answer_to(query(), "peer.test 60 IN A 192.0.2.1", "peer.test 60 IN A 192.0.2.2")
    packet = packet_of(udp(wire.to_wire(), sport=53, dport=4000, src=OURS, dst=KERNEL))
    step = read_packet(0.0, packet[:-3])
    assert len(step.data) == len(wire.to_wire()) - 3
    message = read_dns(step.data)
    assert message.details[0] == "192.0.2.1 ttl 60"
    assert message.details[-1].startswith("malformed: ")
    assert not message.plain


MALFORMED: dict[str, tuple[bytes, str]] = {
    "no header": (b"\x12\x34\x01", "malformed: 3 octets"),
    "a pointer to itself": (
        query().to_wire()[:12] + b"\xc0\x0c\0\1\0\1",
        "malformed: A DNS compression p",
    ),
    "a label without its octets": (
        query().to_wire()[:12] + b"\x3fabc",
        "malformed: DNS message is malformed",
    ),
    "a count that lies": (
        query().to_wire()[:4] + b"\x00\x05" + query().to_wire()[6:],
        "malformed:",
    ),
    "an address of three octets": (
        answer_to(query()).to_wire()[:6]
        + b"\0\1"
        + answer_to(query()).to_wire()[8:]
        + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\3\1\2\3",
        "malformed:",
    ),
}


@pytest.mark.parametrize("which", MALFORMED)
def test_malformed_messages_say_what_is_wrong(which: str) -> None:
    data, says = MALFORMED[which]
    message = read_dns(data)
    assert " ".join((*message.title, *message.details)).find(says) >= 0
    assert not message.plain


def test_a_message_of_64_kib_has_its_question_read_only() -> None:
    """As a record of it may be 12 octets, with a name of 127 labels behind a pointer."""
    records = [f"peer.test 60 IN A 10.0.{number >> 8}.{number & 255}" for number in range(2000)]
    wire = answer_to(query(), *records).to_wire()
    assert len(wire) > 30_000
    message = read_dns(wire)
    assert message.title[1] == "A peer.test"
    assert message.answers == ()
    assert f"{len(wire)} bytes" in message.details


def test_without_dnspython_there_is_no_more_than_the_identifier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dns.message", None)
    message = read_dns(query().to_wire())
    assert message.words == ("DNS query", "id 4660", "not read: dnspython is missing")


def wires() -> list[bytes]:
    many = [f"peer.test 60 IN A 192.0.2.{number}" for number in range(10)]
    some = ["peer.test 1 IN MX 10 mail.test.", "peer.test 1 IN HTTPS 1 . alpn=h2"]
    messages = [query(), answer_to(query(), *many), answer_to(query("peer.test", "ANY"), *some)]
    return [each.to_wire() for each in messages]


@examples
@given(
    st.sampled_from(wires()),
    st.integers(0, 200),
    st.binary(max_size=12),
    st.integers(0, 300),
    st.booleans(),
)
def test_damaged_messages_never_raise_or_exceed_80_columns(
    wire: bytes, at: int, octets: bytes, size: int, tcp: bool
) -> None:
    damaged = (wire[:at] + octets + wire[at + len(octets) :])[:size]
    exchange = quiet(our_port=53)
    if tcp:
        data = len(damaged).to_bytes(2, "big") + damaged
        exchange.receive(PSH | ACK, 1, 1, payload=data[:20])
        exchange.receive(PSH | ACK, 21, 1, payload=data[20:])
    else:
        exchange.add("in", packet_of(udp(damaged, dport=53)))
    page = exchange.drawn(full=True)
    assert max(map(len, page.splitlines()), default=0) <= 80
