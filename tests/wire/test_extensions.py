"""Extension headers of IPv6, one rule after the other; what Linux 6.18 answers was tried on it."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.damage import damaged
from tests.wire.packets import (
    ALL_NODES,
    KERNEL_6,
    OURS_6,
    examples,
    fragment_header,
    ipv6_packet,
    options_header,
    routing_header,
    tcp_bytes,
)
from tunstack.ip.datagram import ICMPV6, TCP, UDP, Datagram
from tunstack.wire import Discard, Reason, decode_datagram, decode_quote, encode_datagram, finish
from tunstack.wire.extensions import (
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    MAXIMUM_HEADERS,
    MAXIMUM_OPTIONS,
    NO_NEXT_HEADER,
    ROUTING,
)

SEGMENT = tcp_bytes(addresses=KERNEL_6 + OURS_6)
SKIPPED = b"\x1e\2\0\0"
"""An option that nobody knows and that is to be skipped."""

both_kinds = pytest.mark.parametrize(
    "kind", [HOP_BY_HOP, DESTINATION], ids=["hop-by-hop", "destination"]
)


def accepted(first: int, headers: bytes, dst: bytes = OURS_6) -> None:
    datagram = decode_datagram(ipv6_packet(headers + SEGMENT, next_header=first, dst=dst))
    assert (datagram.protocol, datagram.payload, datagram.options) == (TCP, SEGMENT, headers)


def discarded(
    first: int, payload: bytes, reason: Reason, *problem: int, dst: bytes = OURS_6
) -> None:
    """The packet is discarded, and its source is told this code and pointer, or nothing."""
    packet = ipv6_packet(payload, next_header=first, dst=dst)
    with pytest.raises(Discard) as caught:
        decode_datagram(packet)
    assert caught.value.reason is reason
    found = caught.value.problem
    assert (found[1:] if found else ()) == problem
    if found is not None:
        assert b"".join(encode_datagram(found[0])) == packet, "an error quotes what came"


@pytest.mark.rfc("8200:4.1", "8200:4.1-1", "8504:5.1-1")
def test_headers_come_in_any_order_and_number() -> None:
    accepted(
        HOP_BY_HOP,
        options_header(DESTINATION)
        + options_header(ROUTING)
        + routing_header(ROUTING, 3, 0)
        + routing_header(DESTINATION, 0, 0, 40)
        + options_header(TCP),
    )


@pytest.mark.rfc("8200:4", "8200:4-2", "7045:2.2")
def test_hop_by_hop_options_elsewhere_are_an_unknown_protocol() -> None:
    for first, headers in (
        (HOP_BY_HOP, options_header(HOP_BY_HOP)),
        (DESTINATION, options_header(HOP_BY_HOP)),
        (FRAGMENT, fragment_header(HOP_BY_HOP)),
    ):
        packet = ipv6_packet(headers + options_header(TCP) + SEGMENT, next_header=first)
        datagram = decode_datagram(packet)
        assert (datagram.protocol, datagram.options) == (HOP_BY_HOP, headers)


@pytest.mark.rfc("8504:5.3", "8504:5.3-1")
def test_the_number_of_headers_is_bounded() -> None:
    accepted(DESTINATION, options_header(DESTINATION) * (MAXIMUM_HEADERS - 1) + options_header(TCP))
    for number in (MAXIMUM_HEADERS, 8000):
        headers = options_header(DESTINATION) * number + options_header(TCP)
        discarded(DESTINATION, headers + SEGMENT, Reason.BAD_EXTENSION_HEADER)


def test_a_fragment_header_that_is_not_all_there_is_told_of() -> None:
    for size in range(8):
        header = fragment_header(TCP)[:size]
        discarded(FRAGMENT, header, Reason.BAD_EXTENSION_HEADER, 0, 40)
        before = options_header(FRAGMENT) + header
        discarded(DESTINATION, before, Reason.BAD_EXTENSION_HEADER, 0, 48)


@pytest.mark.parametrize("kind", [HOP_BY_HOP, DESTINATION, ROUTING])
def test_a_header_that_is_not_all_there_is_dropped(kind: int) -> None:
    header = bytes((TCP, 0, 1, 0, 1, 0, 1, 0))
    for size in range(8):
        discarded(kind, header[:size], Reason.BAD_EXTENSION_HEADER)
        before = options_header(kind) + header[:size]
        if kind != HOP_BY_HOP:
            discarded(DESTINATION, before, Reason.BAD_EXTENSION_HEADER)


@pytest.mark.parametrize("kind", [HOP_BY_HOP, DESTINATION, ROUTING])
def test_a_header_that_reaches_beyond_the_packet_is_dropped(kind: int) -> None:
    for units in (3, 255):
        header = bytes((TCP, units, 1, 0, 0, 0, 0, 0))
        discarded(kind, header + SEGMENT, Reason.BAD_EXTENSION_HEADER)


@pytest.mark.rfc("8200:4.7", "8200:4.7-1")
@pytest.mark.parametrize("headers", [b"", options_header(NO_NEXT_HEADER)])
def test_behind_no_next_header_nothing_is_looked_at(headers: bytes) -> None:
    kind = DESTINATION if headers else NO_NEXT_HEADER
    for rest in (b"", SEGMENT):
        discarded(kind, headers + rest, Reason.NO_NEXT_HEADER)


@both_kinds
@pytest.mark.rfc("8200:4.2", "8200:4.2-1", "8504:5.1-1")
@pytest.mark.parametrize("option", [0x1E, 0x3E, 0x05, 0x26])
def test_an_unknown_option_with_action_0_is_skipped(kind: int, option: int) -> None:
    header = options_header(TCP, bytes((option, 2, 0, 0)))
    accepted(kind, header)
    accepted(kind, header, dst=ALL_NODES)


@both_kinds
@pytest.mark.rfc("8200:4.2", "8200:4.2-2")
@pytest.mark.parametrize("option", [0x40, 0x5E, 0x7E])
def test_an_unknown_option_with_action_1_drops_the_packet(kind: int, option: int) -> None:
    header = options_header(TCP, SKIPPED, bytes((option, 2, 0, 0)))
    for dst in (OURS_6, ALL_NODES):
        discarded(kind, header + SEGMENT, Reason.BAD_IP_OPTIONS, dst=dst)


@both_kinds
@pytest.mark.rfc("8200:4.2", "8200:4.2-3")
@pytest.mark.parametrize("option", [0x80, 0x8B, 0x9E, 0xBE])
def test_an_unknown_option_with_action_2_is_told_of_always(kind: int, option: int) -> None:
    header = options_header(TCP, SKIPPED, bytes((option, 2, 0, 0)))
    for dst in (OURS_6, ALL_NODES):
        discarded(kind, header + SEGMENT, Reason.BAD_IP_OPTIONS, 2, 46, dst=dst)


@both_kinds
@pytest.mark.rfc("8200:4.2", "8200:4.2-4")
@pytest.mark.parametrize("option", [0xC2, 0xC9, 0xDE, 0xFE])
def test_an_unknown_option_with_action_3_is_told_of_but_to_a_multicast(
    kind: int, option: int
) -> None:
    header = options_header(TCP, SKIPPED, bytes((option, 2, 0, 0)))
    discarded(kind, header + SEGMENT, Reason.BAD_IP_OPTIONS, 2, 46)
    discarded(kind, header + SEGMENT, Reason.BAD_IP_OPTIONS, dst=ALL_NODES)


def test_the_pointer_is_into_the_header_that_has_the_option() -> None:
    headers = options_header(DESTINATION) + options_header(TCP, b"\x9e\2\0\0")
    discarded(HOP_BY_HOP, headers + SEGMENT, Reason.BAD_IP_OPTIONS, 2, 50)


@both_kinds
@pytest.mark.rfc("8504:5.3", "8504:5.3-1")
def test_the_number_of_options_in_a_header_is_bounded(kind: int) -> None:
    accepted(kind, options_header(TCP, *[SKIPPED] * MAXIMUM_OPTIONS))
    many = options_header(TCP, *[SKIPPED] * (MAXIMUM_OPTIONS + 1))
    discarded(kind, many + SEGMENT, Reason.BAD_IP_OPTIONS)
    told_of = options_header(TCP, *[SKIPPED] * MAXIMUM_OPTIONS, b"\x9e\2\0\0")
    discarded(kind, told_of + SEGMENT, Reason.BAD_IP_OPTIONS)
    accepted(kind, options_header(TCP, *[b"\x1e\xf8" + bytes(248)] * MAXIMUM_OPTIONS))


@both_kinds
@pytest.mark.rfc("8504:5.3", "8504:5.3-1")
@pytest.mark.parametrize(
    ("options", "good"),
    [
        pytest.param(bytes(6), True, id="six octets of Pad1"),
        pytest.param(bytes(7) + b"\x1e\5" + bytes(5), True, id="seven octets of Pad1"),
        pytest.param(bytes(8) + b"\x1e\4" + bytes(4), False, id="eight octets of Pad1"),
        pytest.param(b"\1\5" + bytes(5) + b"\x1e\5" + bytes(5), True, id="PadN of seven"),
        pytest.param(b"\1\6" + bytes(6) + b"\x1e\4" + bytes(4), False, id="PadN of eight"),
        pytest.param(
            b"\1\5" + bytes(5) + b"\0\x1e\4" + bytes(4), False, id="PadN of seven, and Pad1"
        ),
        pytest.param(
            b"\1\5" + bytes(5) + b"\x1e\6" + bytes(6) + b"\1\5" + bytes(5),
            True,
            id="an option between",
        ),
        pytest.param(b"\1\4\0\0\1\0", False, id="padding that is not zero"),
        pytest.param(b"\1\0\1\0\1\0", True, id="PadN of two"),
    ],
)
def test_padding_is_bounded(kind: int, options: bytes, good: bool) -> None:
    header = bytes((TCP, len(options) // 8)) + options
    assert len(header) % 8 == 0
    if good:
        accepted(kind, header)
    else:
        discarded(kind, header + SEGMENT, Reason.BAD_IP_OPTIONS)


@both_kinds
@pytest.mark.parametrize("options", [b"\x1e\5\0\0\0\0", b"\1\3\0\0\0\x1e", b"\1\5\0\0\0\0"])
def test_an_option_that_reaches_beyond_its_header_drops_the_packet(
    kind: int, options: bytes
) -> None:
    discarded(kind, bytes((TCP, 0)) + options + SEGMENT, Reason.BAD_IP_OPTIONS)


@pytest.mark.parametrize("alert", [b"\5\0", b"\5\4\0\0\0\0"])
def test_a_router_alert_of_another_length_is_dropped_among_hop_by_hop_options(
    alert: bytes,
) -> None:
    discarded(HOP_BY_HOP, options_header(TCP, alert) + SEGMENT, Reason.BAD_IP_OPTIONS)
    accepted(DESTINATION, options_header(TCP, alert))


@pytest.mark.rfc("5095:3", "8200:4.4", "5095:3-1", "8200:4.4-2", "8504:5.2-1")
@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 200])
def test_a_routing_header_with_segments_left_is_refused(kind: int) -> None:
    for left in (1, 255):
        header = routing_header(TCP, kind, left, 24)
        discarded(ROUTING, header + SEGMENT, Reason.BAD_ROUTING_HEADER, 0, 42)
        headers = options_header(ROUTING) + header
        discarded(DESTINATION, headers + SEGMENT, Reason.BAD_ROUTING_HEADER, 0, 50)
        discarded(ROUTING, header + SEGMENT, Reason.BAD_ROUTING_HEADER, dst=ALL_NODES)


@pytest.mark.rfc("8200:4.4", "8200:4.4-1")
@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 200])
def test_a_routing_header_without_segments_left_is_skipped(kind: int) -> None:
    for size in (8, 24, 2048):
        accepted(ROUTING, routing_header(TCP, kind, 0, size))


@pytest.mark.rfc("6946:4", "8200:4.5", "6946:4-1", "8200:4.5-9")
def test_an_atomic_fragment_is_a_whole_datagram() -> None:
    header = fragment_header(TCP, identification=77)
    accepted(FRAGMENT, header)
    accepted(DESTINATION, options_header(FRAGMENT) + header)
    datagram = decode_datagram(ipv6_packet(header + SEGMENT, next_header=FRAGMENT))
    assert (datagram.more_fragments, datagram.fragment_offset) == (False, 0)
    assert (datagram.identification, datagram.dont_fragment) == (77, False)


def test_a_second_fragment_header_is_refused() -> None:
    for inner in (fragment_header(TCP), fragment_header(TCP, more=True)):
        headers = fragment_header(FRAGMENT) + inner
        discarded(FRAGMENT, headers + bytes(24), Reason.BAD_FRAGMENT, 0, 48)
    headers = fragment_header(FRAGMENT, more=True) + fragment_header(TCP)
    discarded(FRAGMENT, headers + bytes(24), Reason.BAD_FRAGMENT)


@pytest.mark.rfc("8200:4.5", "8200:4.5-4")
@pytest.mark.parametrize("offset", [0, 8, 1280])
def test_a_fragment_that_is_not_the_last_is_a_multiple_of_eight_octets(offset: int) -> None:
    header = fragment_header(UDP, offset, more=True)
    decode_datagram(ipv6_packet(header + bytes(24), next_header=FRAGMENT))
    for size in (21, 25, 28):
        discarded(FRAGMENT, header + bytes(size), Reason.BAD_FRAGMENT, 0, 4)
        discarded(FRAGMENT, header + bytes(size), Reason.BAD_FRAGMENT, dst=ALL_NODES)
    last = fragment_header(UDP, max(offset, 8))
    decode_datagram(ipv6_packet(last + bytes(21), next_header=FRAGMENT))


@pytest.mark.rfc("8200:4.5", "8200:4.5-5")
def test_a_fragment_beyond_the_largest_packet_is_refused() -> None:
    header = fragment_header(UDP, 65528)
    decode_datagram(ipv6_packet(header + bytes(7), next_header=FRAGMENT))
    discarded(FRAGMENT, header + bytes(8), Reason.BAD_FRAGMENT, 0, 42)
    more = fragment_header(UDP, 65528, more=True)
    discarded(FRAGMENT, more + bytes(8), Reason.BAD_FRAGMENT, 0, 42)
    # The headers before it count in the payload length of the reassembled packet.
    headers = options_header(FRAGMENT) + header
    discarded(DESTINATION, headers + bytes(7), Reason.BAD_FRAGMENT, 0, 50)


@pytest.mark.rfc("7112:5", "8200:4.5", "7112:5-2", "8200:4.5-6")
@pytest.mark.parametrize(("protocol", "needed"), [(TCP, 20), (UDP, 8), (ICMPV6, 8), (200, 1)])
@pytest.mark.parametrize("headers", [b"", options_header(DESTINATION) + options_header(0)])
def test_a_first_fragment_has_all_headers(headers: bytes, protocol: int, needed: int) -> None:
    if headers:
        kind, headers = DESTINATION, headers[:8] + bytes((protocol,)) + headers[9:]
    else:
        kind = protocol
    header = fragment_header(kind, more=True)
    whole = headers + bytes(-needed % 8 + needed)
    fragment = decode_datagram(ipv6_packet(header + whole, next_header=FRAGMENT))
    assert (fragment.protocol, fragment.payload, fragment.options) == (kind, whole, b"")
    for size in range(len(headers) + needed):
        discarded(FRAGMENT, header + whole[:size], Reason.BAD_FRAGMENT, 3, 0)
    # A later one has none.
    later = fragment_header(kind, 8, more=True)
    decode_datagram(ipv6_packet(later + bytes(8), next_header=FRAGMENT))


def test_a_problem_leads_to_the_protocol_whatever_is_wrong_before_it() -> None:
    """So that no error is sent about an ICMPv6 error (RFC 4443 section 2.4 e.1)."""
    message = struct.pack(">BBHI", 1, 4, 0, 0)
    headers = options_header(ROUTING, b"\x9e\2\0\0") + routing_header(ICMPV6, 0, 1)
    with pytest.raises(Discard) as caught:
        decode_datagram(ipv6_packet(headers + message, next_header=HOP_BY_HOP))
    assert caught.value.problem is not None
    datagram = caught.value.problem[0]
    assert (datagram.protocol, datagram.payload) == (ICMPV6, message)


# Whatever comes

headers_of_a_kind = {
    HOP_BY_HOP: lambda after: options_header(after, SKIPPED),
    DESTINATION: lambda after: options_header(after, b"\5\2\0\0", SKIPPED),
    ROUTING: lambda after: routing_header(after, 0, 0, 24),
    FRAGMENT: lambda after: fragment_header(after, 0),
}
kinds = st.lists(st.sampled_from(sorted(headers_of_a_kind)), max_size=5)


def chained(chain: list[int], payload: bytes) -> bytes:
    """A packet with headers of these kinds."""
    after = TCP
    for kind in reversed(chain):
        payload = headers_of_a_kind[kind](after) + payload
        after = kind
    return ipv6_packet(payload, next_header=after)


def again(packet: bytes, datagram: Datagram) -> None:
    """The datagram encodes to the packet, but for reserved bits, and what is beyond its length."""
    encoded = b"".join(encode_datagram(datagram))
    assert encoded == packet[: len(encoded)] or FRAGMENT in packet


@settings(examples, max_examples=1000)
@given(kinds, st.data())
def test_of_any_packet_nothing_but_a_discard_comes(chain: list[int], data: st.DataObject) -> None:
    for packet in damaged(chained(chain, SEGMENT), data):
        try:
            datagram = decode_datagram(packet)
            again(packet, datagram)
            again(packet, finish(datagram))
        except Discard as discard:
            if discard.problem is not None:
                again(packet, discard.problem[0])
        with suppress(Discard):
            decode_quote(memoryview(packet))


@examples
@given(kinds.filter(lambda chain: chain.count(FRAGMENT) <= 1))
def test_any_chain_of_good_headers_is_followed_and_encoded_alike(chain: list[int]) -> None:
    packet = chained(chain, SEGMENT)
    datagram = decode_datagram(packet)
    assert b"".join(encode_datagram(datagram)) == packet
    assert datagram.protocol == (HOP_BY_HOP if HOP_BY_HOP in chain[1:] else TCP)
