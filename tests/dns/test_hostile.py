"""Messages that are no queries: refused as their RFC says, counted, at little cost."""

from __future__ import annotations

import struct

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dns.messages import asked, query, responder

HEADER = struct.Struct("!HHHHHH")
QUESTION = b"\3www\4test\0" + struct.pack("!HH", 1, 1)
RECORD = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes(4)
OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


def message(
    body: bytes = QUESTION, *, flags: int = 0, counts: tuple[int, int, int, int] = (1, 0, 0, 0)
) -> bytes:
    return HEADER.pack(4711, flags, *counts) + body


BAD = {
    "no question": message(b"", counts=(0, 0, 0, 0)),
    "two questions": message(QUESTION * 2, counts=(2, 0, 0, 0)),
    "65535 questions": message(counts=(65535, 0, 0, 0)),
    "an answer": message(QUESTION + RECORD, counts=(1, 1, 0, 0)),
    "an authority": message(QUESTION + RECORD, counts=(1, 0, 1, 0)),
    "a hundred additional records": message(QUESTION + RECORD * 100, counts=(1, 0, 0, 100)),
    "65535 answers that are not there": message(counts=(1, 65535, 0, 0)),
    "authorities": message(counts=(1, 0, 65535, 0)),
    "additional records that are not there": message(counts=(1, 0, 0, 4)),
    "65535 additional records": message(QUESTION + OPT * 65, counts=(1, 0, 0, 65535)),
    "two OPT records": message(QUESTION + OPT * 2, counts=(1, 0, 0, 2)),
    "an OPT record that is cut": message(QUESTION + OPT[:-3], counts=(1, 0, 0, 1)),
    "a pointer to itself": message(b"\xc0\x0c" + QUESTION[-4:]),
    "a pointer forwards": message(b"\xc0\x10" + QUESTION[-4:] + bytes(20)),
    "a pointer into the header": message(b"\xc0\x00" + QUESTION[-4:]),
    "a pointer that is cut": message(b"\xc0"),
    "a label type that is none": message(b"\x40abc\0" + QUESTION[-4:]),
    "a label beyond the end": message(b"\x3fabc"),
    "a name that is too long": message((b"\x3f" + b"a" * 63) * 4 + b"\0" + QUESTION[-4:]),
    "a name without an end": message(b"\1a" * 5),
    "no class": message(QUESTION[:-2]),
    "octets left over": message(QUESTION + b"x"),
    "more than a query has": message(QUESTION + OPT + bytes(3000), counts=(1, 0, 0, 1)),
}


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_malformed_is_answered_with_formerr(octets: bytes, stream: bool) -> None:
    server = responder()
    reply = server.respond(octets, stream=stream)
    assert reply is not None
    assert reply.octets == HEADER.pack(4711, dns.flags.QR | dns.rcode.FORMERR, 0, 0, 0, 0)
    assert server.counts["formerr"] == 1
    assert asked(server, "www.test").answer  # The next query is answered.


@pytest.mark.parametrize("size", range(12))
def test_less_than_a_header_is_dropped(size: int) -> None:
    server = responder()
    assert server.respond(message()[:size], stream=False) is None
    assert server.counts["dropped_short"] == 1


def test_a_reply_is_not_answered() -> None:
    """Two servers that answer each other's errors would never end."""
    server = responder()
    for rcode in range(16):
        assert server.respond(message(flags=dns.flags.QR | rcode), stream=False) is None
    assert server.counts["dropped_reply"] == 16


@pytest.mark.parametrize("opcode", range(1, 16))
def test_other_opcodes_are_not_implemented(opcode: int) -> None:
    server = responder()
    reply = server.respond(message(flags=opcode << 11 | dns.flags.RD), stream=False)
    assert reply is not None
    flags = dns.flags.QR | opcode << 11 | dns.flags.RD | dns.rcode.NOTIMP
    assert reply.octets == HEADER.pack(4711, flags, 0, 0, 0, 0)


@pytest.mark.parametrize("rdclass", [0, 2, 3, 4, 254, 255, 4711, 65535])
def test_other_classes_are_refused(rdclass: int) -> None:
    octets = message(QUESTION[:-2] + rdclass.to_bytes(2, "big"))
    reply = responder().respond(octets, stream=False)
    assert reply is not None
    assert dns.message.from_wire(reply.octets).rcode() == dns.rcode.REFUSED


def test_the_cache_of_replies_is_bounded() -> None:
    """A flood of names costs no more memory than a thousand of them."""
    server = responder()
    for number in range(1500):
        asked(server, f"n{number}.test")
    assert server.cached == 1024
    assert asked(server, "n0.test").rcode() == dns.rcode.NXDOMAIN


@given(st.binary(max_size=80), st.integers(0, 3), st.booleans())
def test_any_octets_are_answered_or_dropped(body: bytes, additional: int, stream: bool) -> None:
    server = responder()
    octets = message(body, counts=(1, 0, 0, additional))
    reply = server.respond(octets, stream=stream)
    assert reply is not None
    assert reply.octets[:2] == octets[:2]
    assert reply.octets[2] & 0x80
    assert server.counts["servfail"] == 0


@given(st.binary(max_size=40))
def test_any_start_is_answered_or_dropped(octets: bytes) -> None:
    server = responder()
    reply = server.respond(octets, stream=False)
    assert reply is None or reply.octets[2] & 0x80
    assert server.counts["servfail"] == 0


def test_a_query_that_is_cut_anywhere_is_no_query() -> None:
    octets = query("www.test", use_edns=0)
    server = responder()
    for size in range(12, len(octets)):
        reply = server.respond(octets[:size], stream=False)
        assert reply is not None
        assert reply.octets[3] & 0xF == dns.rcode.FORMERR
