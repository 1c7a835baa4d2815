"""The rules for answering with an ICMP message, and for reading one that is about TCP."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tunstack.ip.address import packed
from tunstack.ip.datagram import ICMP, TCP, UDP, Datagram
from tunstack.ip.icmp import (
    DESTINATION_UNREACHABLE,
    ECHO_REPLY,
    ECHO_REQUEST,
    ERRORS,
    HOST_UNREACHABLE,
    PARAMETER_PROBLEM,
    PORT_UNREACHABLE,
    PROTOCOL_UNREACHABLE,
    REASSEMBLY_TIME_EXCEEDED,
    TIME_EXCEEDED,
    IcmpMessage,
    is_hard,
    parameter_problem,
    port_unreachable,
    protocol_unreachable,
    quoted,
    reassembly_time_exceeded,
    reply_to,
)
from tunstack.wire import decode_datagram, decode_icmp, encode_icmp

if TYPE_CHECKING:
    from collections.abc import Callable

KERNEL = packed("198.51.100.1")
OURS = packed("198.51.100.2")
BROADCASTS = frozenset({packed("198.51.100.255")})

PING = Datagram(KERNEL, OURS, ICMP, b"")
REQUEST = IcmpMessage(ECHO_REQUEST, rest=0x12345678, payload=b"ping data")
UDP_DATAGRAM = Datagram(KERNEL, OURS, UDP, bytes(20))

no_single_host = pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "198.51.100.255"],
)
to_many = pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "198.51.100.255"])


@pytest.mark.rfc("1122:3.2.2.6")
def test_echo_request_is_answered_with_its_own_data() -> None:
    """RFC 1122 section 3.2.2.6."""
    reply = reply_to(PING, REQUEST, broadcasts=BROADCASTS)
    assert reply == IcmpMessage(ECHO_REPLY, rest=0x12345678, payload=b"ping data")
    assert (reply.identifier, reply.sequence) == (0x1234, 0x5678)


@pytest.mark.parametrize("kind", sorted(ERRORS | {ECHO_REPLY, 13, 17, 255}))
def test_nothing_but_an_echo_request_is_answered(kind: int) -> None:
    assert reply_to(PING, IcmpMessage(kind)) is None


@pytest.mark.rfc("1122:3.2.2.6")
@to_many
def test_echo_request_to_many_is_not_answered(address: str) -> None:
    datagram = replace(PING, dst=packed(address))
    assert reply_to(datagram, REQUEST, broadcasts=BROADCASTS) is None


@no_single_host
def test_echo_request_from_no_single_host_is_not_answered(address: str) -> None:
    datagram = replace(PING, src=packed(address))
    assert reply_to(datagram, REQUEST, broadcasts=BROADCASTS) is None


@pytest.mark.parametrize("about", [port_unreachable, protocol_unreachable])
def test_the_second_word_of_an_unreachable_is_zero(about: Callable[..., IcmpMessage]) -> None:
    """RFC 792: unused; in one kind, the MTU of the next hop (RFC 1191)."""
    packet = b"".join(encode_icmp(OURS, KERNEL, about(UDP_DATAGRAM)))
    assert packet[24:28] == bytes(4)


@pytest.mark.rfc("1122:3.2.2-2")
def test_unreachable_quotes_the_datagram() -> None:
    assert port_unreachable(UDP_DATAGRAM, broadcasts=BROADCASTS) == IcmpMessage(
        DESTINATION_UNREACHABLE, PORT_UNREACHABLE, quoted=UDP_DATAGRAM
    )
    unknown = replace(UDP_DATAGRAM, protocol=253)
    assert protocol_unreachable(unknown, broadcasts=BROADCASTS) == IcmpMessage(
        DESTINATION_UNREACHABLE, PROTOCOL_UNREACHABLE, quoted=unknown
    )


@pytest.mark.rfc("1122:3.2.2", "1122:3.2.2-6")
@to_many
def test_no_error_about_a_datagram_to_many(address: str) -> None:
    datagram = replace(UDP_DATAGRAM, dst=packed(address))
    assert port_unreachable(datagram, broadcasts=BROADCASTS) is None
    assert protocol_unreachable(datagram, broadcasts=BROADCASTS) is None
    assert parameter_problem(datagram, 20, broadcasts=BROADCASTS) is None


@pytest.mark.rfc("1122:3.2.2", "1122:3.2.2-8")
@no_single_host
def test_no_error_to_what_is_no_single_host(address: str) -> None:
    datagram = replace(UDP_DATAGRAM, src=packed(address))
    assert port_unreachable(datagram, broadcasts=BROADCASTS) is None
    assert protocol_unreachable(datagram, broadcasts=BROADCASTS) is None


@pytest.mark.rfc("1122:3.2.2.5")
def test_a_parameter_problem_points_at_an_octet() -> None:
    message = parameter_problem(UDP_DATAGRAM, 23, broadcasts=BROADCASTS)
    assert message == IcmpMessage(PARAMETER_PROBLEM, 0, 23 << 24, quoted=UDP_DATAGRAM)
    assert message.pointer == 23


@pytest.mark.rfc("1122:3.2.2", "1122:3.2.2-7")
def test_no_error_about_a_fragment_but_the_first() -> None:
    first = replace(UDP_DATAGRAM, more_fragments=True)
    assert protocol_unreachable(first) is not None
    assert protocol_unreachable(replace(first, fragment_offset=8)) is None


@pytest.mark.rfc("1122:3.2.2", "1122:3.2.2-5")
@pytest.mark.parametrize("kind", sorted(ERRORS))
def test_no_error_about_an_error(kind: int) -> None:
    message = replace(PING, payload=bytes((kind,)) + bytes(7))
    assert protocol_unreachable(message) is None
    assert port_unreachable(message) is None


def test_no_error_about_what_may_have_been_an_error() -> None:
    assert protocol_unreachable(replace(PING, payload=b"")) is None


def test_error_about_a_query_is_allowed() -> None:
    query = replace(PING, payload=bytes((ECHO_REQUEST,)) + bytes(7))
    assert protocol_unreachable(query) is not None


def error_about(quoted: Datagram | None) -> IcmpMessage:
    return IcmpMessage(DESTINATION_UNREACHABLE, HOST_UNREACHABLE, quoted=quoted)


QUOTE = Datagram(OURS, KERNEL, TCP, struct.pack(">HHI", 80, 40000, 0xDEADBEEF))


def test_error_about_a_segment_names_its_connection_and_place() -> None:
    quote = quoted(error_about(QUOTE))
    assert quote == (OURS, KERNEL, 80, 40000, QUOTE.payload)
    assert quote is not None
    assert (quote.src, quote.sport, quote.octets[4:8]) == (OURS, 80, b"\xde\xad\xbe\xef")


@pytest.mark.parametrize("tos", [0x02, 0x03, 0xB8])
def test_error_about_a_segment_names_it_whatever_its_service(tos: int) -> None:
    """ECN-capable or marked (RFC 3168), or of a service that was asked for."""
    packet = b"".join(encode_icmp(KERNEL, OURS, error_about(replace(QUOTE, tos=tos))))
    message = decode_icmp(decode_datagram(packet))
    assert message.quoted is not None
    assert message.quoted.tos == tos
    assert quoted(message) == (OURS, KERNEL, 80, 40000, QUOTE.payload)


@pytest.mark.parametrize(
    "about",
    [
        pytest.param(None, id="nothing quoted"),
        pytest.param(replace(QUOTE, fragment_offset=8), id="a later fragment"),
        pytest.param(replace(QUOTE, payload=bytes(7)), id="too short"),
    ],
)
def test_error_about_something_else_names_no_connection(about: Datagram | None) -> None:
    assert quoted(error_about(about)) is None


def test_a_time_exceeded_is_about_the_first_fragment() -> None:
    first = replace(UDP_DATAGRAM, more_fragments=True)
    assert reassembly_time_exceeded(first, broadcasts=BROADCASTS) == IcmpMessage(
        TIME_EXCEEDED, REASSEMBLY_TIME_EXCEEDED, quoted=first
    )
    assert reassembly_time_exceeded(replace(first, fragment_offset=8)) is None
    assert reassembly_time_exceeded(replace(first, dst=packed("224.0.0.1"))) is None


@pytest.mark.parametrize(
    ("kind", "code", "hard"),
    [
        *((DESTINATION_UNREACHABLE, code, False) for code in (0, 1, 5, 11, 12)),
        *((DESTINATION_UNREACHABLE, code, True) for code in (2, 3, 4, 6, 7, 8, 9, 10, 13, 14, 15)),
        (TIME_EXCEEDED, 0, False),
        (PARAMETER_PROBLEM, 0, True),
    ],
)
def test_errors_are_hard_as_linux_has_it(kind: int, code: int, hard: bool) -> None:
    assert is_hard(IcmpMessage(kind, code)) is hard
