"""The rules for sending ICMPv6 messages, and what errors say (RFC 4443, RFC 4861)."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tunstack.ip import icmpv6
from tunstack.ip.address import packed
from tunstack.ip.datagram import TCP, UDP, Datagram
from tunstack.ip.icmp import IcmpMessage
from tunstack.ip.icmpv6 import (
    DESTINATION_UNREACHABLE,
    ECHO_REPLY,
    ECHO_REQUEST,
    ERRONEOUS_HEADER,
    PACKET_TOO_BIG,
    PARAMETER_PROBLEM,
    PORT_UNREACHABLE,
    REASSEMBLY_TIME_EXCEEDED,
    REDIRECT,
    TIME_EXCEEDED,
    UNKNOWN_NEXT_HEADER,
    UNKNOWN_OPTION,
)

if TYPE_CHECKING:
    from collections.abc import Callable

KERNEL = packed("2001:db8::1")
OURS = packed("2001:db8::2")
MULTICAST = packed("ff02::1")
UNSPECIFIED = bytes(16)

PING = Datagram(KERNEL, OURS, icmpv6.PROTOCOL, b"", dont_fragment=True)
REQUEST = IcmpMessage(ECHO_REQUEST, rest=0x12345678, payload=b"ping data")
DATAGRAM = Datagram(KERNEL, OURS, UDP, bytes(20), dont_fragment=True)


def problem(datagram: Datagram, code: int = ERRONEOUS_HEADER) -> IcmpMessage | None:
    return icmpv6.parameter_problem(datagram, 40, code)


ERRORS: list[Callable[[Datagram], IcmpMessage | None]] = [
    icmpv6.port_unreachable,
    icmpv6.protocol_unreachable,
    icmpv6.reassembly_time_exceeded,
    problem,
]
every_error = pytest.mark.parametrize(
    "about", ERRORS, ids=["port", "next header", "reassembly", "parameter problem"]
)


@pytest.mark.rfc("4443:4.2")
@pytest.mark.parametrize("to", [OURS, MULTICAST], ids=["us", "many"])
def test_echo_request_is_answered_with_its_own_data(to: bytes) -> None:
    reply = icmpv6.reply_to(replace(PING, dst=to), REQUEST)
    assert reply == IcmpMessage(ECHO_REPLY, rest=0x12345678, payload=b"ping data")


@pytest.mark.parametrize("kind", [ECHO_REPLY, *range(130, 144), 200, 255, *range(128)])
def test_nothing_but_an_echo_request_is_answered(kind: int) -> None:
    assert icmpv6.reply_to(PING, IcmpMessage(kind)) is None


@pytest.mark.parametrize("source", [UNSPECIFIED, MULTICAST])
def test_echo_request_from_no_single_node_is_not_answered(source: bytes) -> None:
    assert icmpv6.reply_to(replace(PING, src=source), REQUEST) is None


@pytest.mark.rfc("4443:3.1", "4443:3.3", "4443:3.4")
def test_errors_have_their_codes_and_quote_the_datagram() -> None:
    assert icmpv6.port_unreachable(DATAGRAM) == IcmpMessage(
        DESTINATION_UNREACHABLE, PORT_UNREACHABLE, quoted=DATAGRAM
    )
    assert icmpv6.protocol_unreachable(DATAGRAM, 48) == IcmpMessage(
        PARAMETER_PROBLEM, UNKNOWN_NEXT_HEADER, 48, quoted=DATAGRAM
    )
    assert icmpv6.reassembly_time_exceeded(DATAGRAM) == IcmpMessage(
        TIME_EXCEEDED, REASSEMBLY_TIME_EXCEEDED, quoted=DATAGRAM
    )
    for code in (ERRONEOUS_HEADER, UNKNOWN_OPTION):
        assert icmpv6.parameter_problem(DATAGRAM, 70000, code) == IcmpMessage(
            PARAMETER_PROBLEM, code, 70000, quoted=DATAGRAM
        )


@pytest.mark.rfc("4443:2.4", "4443:2.4-5", "4443:2.4-6")
@every_error
@pytest.mark.parametrize("kind", [DESTINATION_UNREACHABLE, PACKET_TOO_BIG, 127, REDIRECT])
def test_no_error_about_an_error_or_a_redirect(
    about: Callable[[Datagram], IcmpMessage | None], kind: int
) -> None:
    assert about(replace(PING, payload=bytes((kind,)) + bytes(7))) is None


@pytest.mark.rfc("4443:2.4")
@every_error
def test_an_error_about_a_query_is_allowed(
    about: Callable[[Datagram], IcmpMessage | None],
) -> None:
    assert about(replace(PING, payload=bytes((ECHO_REQUEST,)) + bytes(7))) is not None
    assert about(replace(PING, payload=b"")) is None  # It may have been an error.


@pytest.mark.rfc("4443:2.4", "4443:2.4-7", "4443:2.4-8")
@every_error
def test_no_error_about_a_datagram_to_many_or_from_no_single_node(
    about: Callable[[Datagram], IcmpMessage | None],
) -> None:
    assert about(replace(DATAGRAM, dst=MULTICAST)) is None
    assert about(replace(DATAGRAM, src=UNSPECIFIED)) is None
    assert about(replace(DATAGRAM, src=MULTICAST)) is None


@pytest.mark.rfc("4443:2.4", "4443:2.4-7")
def test_an_unknown_option_is_told_of_even_about_a_datagram_to_many() -> None:
    assert problem(replace(DATAGRAM, dst=MULTICAST), UNKNOWN_OPTION) is not None
    assert problem(replace(DATAGRAM, dst=MULTICAST, src=UNSPECIFIED), UNKNOWN_OPTION) is None


@every_error
def test_of_later_fragments_it_is_told_only_that_they_are_malformed(
    about: Callable[[Datagram], IcmpMessage | None],
) -> None:
    assert about(replace(DATAGRAM, more_fragments=True)) is not None
    assert (about(replace(DATAGRAM, fragment_offset=8)) is not None) is (about is problem)


@pytest.mark.rfc("8200:4.5", "8200:4.5-4")
@pytest.mark.parametrize("protocol", [UDP, icmpv6.PROTOCOL])
def test_a_malformed_fragment_is_told_of_whatever_it_carries(protocol: int) -> None:
    """As by Linux: an ICMPv6 error is never fragmented, and no other one is told of."""
    fragment = replace(DATAGRAM, protocol=protocol, payload=b"\1odd", fragment_offset=8)
    assert problem(fragment) is not None
    assert problem(fragment, UNKNOWN_OPTION) is None
    assert problem(replace(fragment, dst=MULTICAST)) is None


@pytest.mark.rfc("4443:2.4")
@pytest.mark.parametrize(
    ("kind", "code", "number", "hard"),
    [
        (DESTINATION_UNREACHABLE, 0, errno.ENETUNREACH, False),
        (DESTINATION_UNREACHABLE, 1, errno.EACCES, True),
        (DESTINATION_UNREACHABLE, 2, errno.EHOSTUNREACH, False),
        (DESTINATION_UNREACHABLE, 3, errno.EHOSTUNREACH, False),
        (DESTINATION_UNREACHABLE, 4, errno.ECONNREFUSED, True),
        (DESTINATION_UNREACHABLE, 5, errno.EACCES, True),
        (DESTINATION_UNREACHABLE, 6, errno.EACCES, True),
        (DESTINATION_UNREACHABLE, 7, errno.EPROTO, True),
        (PACKET_TOO_BIG, 0, errno.EMSGSIZE, False),
        (TIME_EXCEEDED, 0, errno.EHOSTUNREACH, False),
        (TIME_EXCEEDED, 1, errno.EHOSTUNREACH, False),
        (PARAMETER_PROBLEM, 0, errno.EPROTO, True),
        (PARAMETER_PROBLEM, 1, errno.EPROTO, True),
        (100, 0, errno.EPROTO, False),  # An error of a type that nobody knows.
    ],
)
def test_an_error_has_linux_s_number(kind: int, code: int, number: int, hard: bool) -> None:
    message = IcmpMessage(kind, code)
    error = icmpv6.as_os_error(message)
    assert error is not None
    assert (error.errno, icmpv6.is_hard(message)) == (number, hard)


@pytest.mark.parametrize("kind", [ECHO_REQUEST, ECHO_REPLY, REDIRECT, 255])
def test_what_is_no_error_has_none(kind: int) -> None:
    assert icmpv6.as_os_error(IcmpMessage(kind)) is None


@pytest.mark.rfc("4861:6.1", "4861:7.1", "4861:8.1")
@pytest.mark.parametrize("kind", range(133, 138))
def test_discovery_is_believed_of_neighbours_only(kind: int) -> None:
    """A router would have counted the hop limit down."""
    near = replace(PING, ttl=255)
    assert icmpv6.is_acceptable(near, IcmpMessage(kind))
    assert not icmpv6.is_acceptable(near, IcmpMessage(kind, 1))
    assert not icmpv6.is_acceptable(replace(PING, ttl=254), IcmpMessage(kind))


@pytest.mark.parametrize("kind", [ECHO_REQUEST, DESTINATION_UNREACHABLE, 130, 143])
def test_other_messages_may_come_from_far(kind: int) -> None:
    assert icmpv6.is_acceptable(replace(PING, ttl=1), IcmpMessage(kind, 1))


def test_too_big_and_reassembly_are_told_from_others() -> None:
    assert icmpv6.is_too_big(IcmpMessage(PACKET_TOO_BIG))
    assert not icmpv6.is_too_big(IcmpMessage(DESTINATION_UNREACHABLE, 4))
    assert icmpv6.is_reassembly_timeout(IcmpMessage(TIME_EXCEEDED, 1))
    assert not icmpv6.is_reassembly_timeout(IcmpMessage(TIME_EXCEEDED, 0))


def test_of_a_tcp_segment_too_the_first_fragment_is_told_of() -> None:
    first = replace(DATAGRAM, protocol=TCP, more_fragments=True, payload=bytes(1024))
    assert icmpv6.reassembly_time_exceeded(first) is not None
