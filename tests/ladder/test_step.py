"""Reading packets that the codec would rightly drop, and comments that a host of ours wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.ladder.exchange import KERNEL, OURS, PAIRS, Exchange, ping
from tests.wire.packets import (
    KERNEL_6,
    OURS_6,
    fragment_header,
    ipv4_packet,
    ipv6_packet,
    options_header,
    routing_header,
)
from tunstack.ip.icmp import IcmpMessage
from tunstack.ladder import Step, read_packet, step_from_capture, step_from_observation
from tunstack.stack.observation import Observation, Windows
from tunstack.tcp.connection.state import State
from tunstack.tcp.segment import ACK, PSH, Segment
from tunstack.wire import encode_icmp, encode_segment


@pytest.fixture
def packet() -> bytes:
    segment = Segment(1, 2, PSH | ACK, 502, payload=b"payload")
    return b"".join(encode_segment(KERNEL, OURS, 40312, 80, segment))


def spoil(packet: bytes, at: int) -> bytes:
    return packet[:at] + bytes((packet[at] ^ 0xFF,)) + packet[at + 1 :]


def check(step: Step) -> None:
    assert step.source == ("198.51.100.1", 40312)
    assert step.destination == ("198.51.100.2", 80)
    assert step.segment is not None
    assert (step.segment.seq, step.segment.flags, len(step.segment.payload)) == (1, PSH | ACK, 7)


@pytest.mark.parametrize("at", [10, 36], ids=["IP", "TCP"])
def test_a_wrong_checksum_is_read_over(packet: bytes, at: int) -> None:
    check(read_packet(0.0, spoil(packet, at)))


@pytest.mark.parametrize("kept", [40, 44])
def test_a_packet_that_was_cut_short_by_the_capture_keeps_its_length(
    packet: bytes, kept: int
) -> None:
    check(read_packet(0.0, packet[:kept]))


@pytest.mark.parametrize(
    ("family", "at", "text"),
    [
        ("IPv4", 22, "ICMP echo reply seq 1 len 56"),
        ("IPv6", 42, "ICMPv6 echo reply seq 1 len 56"),
    ],
)
def test_a_wrong_icmp_checksum_is_read_over(family: str, at: int, text: str) -> None:
    step = read_packet(0.0, spoil(ping(reply=True, family=family), at))
    assert step.text == text
    assert (step.source[1], step.destination[1]) == (0, 7)  # The identifier is the asker's.


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (IcmpMessage(11, 1, payload=bytes(28)), "56 bytes: bad ICMP quote"),
        (IcmpMessage(13, 2, payload=bytes(12)), "ICMP type 13 code 2 len 12"),
    ],
)
def test_other_icmp_messages(message: IcmpMessage, text: str) -> None:
    packet = b"".join(encode_icmp(KERNEL, OURS, message))
    assert read_packet(0.0, packet).text == text


@pytest.mark.parametrize("length", range(0, 61))
def test_no_prefix_of_a_packet_and_no_noise_is_too_short_to_be_read(length: int) -> None:
    exchange = Exchange()
    exchange.handshake()
    for start in (exchange.observations[0].packet, b"\x4f" * 61, b"\xff" * 61, bytes(61)):
        step = read_packet(0.0, start[:length])
        assert step.text or step.segment


@pytest.mark.parametrize("before", [None, *State])
@pytest.mark.parametrize("after", [None, *State])
@pytest.mark.parametrize("verdict", ["", "accepted", "dropped: bad TCP checksum"])
def test_states_are_read_back_from_the_comment(
    before: State | None, after: State | None, verdict: str, packet: bytes
) -> None:
    old, new = before and before.value, after and after.value
    if old is not None and new is None:
        new = old  # a comment does not tell that a connection was deleted
    seen = Observation(1.0, "in", packet, old, new, verdict)
    step = step_from_capture(1.0, packet, seen.comment)
    assert replace(step, direction="in") == step_from_observation(seen)


@pytest.mark.parametrize("comment", ["look here", "ESTABLISHEDNESS: x", "SYN-SENT", ""])
def test_a_comment_from_elsewhere_is_a_note_and_no_state(comment: str, packet: bytes) -> None:
    step = step_from_capture(1.0, packet, comment)
    if comment == "SYN-SENT":
        assert (step.before, step.after, step.verdict) == ("SYN-SENT", "SYN-SENT", "")
    else:
        assert (step.before, step.after, step.verdict) == (None, None, comment)


@pytest.mark.parametrize(
    "told", ["", "ESTABLISHED", "ESTABLISHED: accepted", "accepted", "SYN-SENT"]
)
@pytest.mark.parametrize("windows", [Windows(14480, None, 1448), Windows(2896, 7240, 1448)])
def test_the_congestion_window_is_read_back_from_the_comment(
    told: str, windows: Windows, packet: bytes
) -> None:
    without = step_from_capture(1.0, packet, told)
    step = step_from_capture(1.0, packet, "; ".join(filter(None, (told, str(windows)))))
    assert step.windows == windows
    assert replace(step, windows=None) == without


def icmpv6(kind: int, code: int = 0, rest: int = 0, body: bytes = b"") -> bytes:
    return b"".join(encode_icmp(KERNEL_6, OURS_6, IcmpMessage(kind, code, rest, body)))


@pytest.mark.parametrize(
    ("packet", "kind", "text"),
    [
        (icmpv6(133), "ICMPv6 router solicitation", "ICMPv6 router solicitation len 0"),
        (
            ipv6_packet(options_header(58) + icmpv6(143)[40:], next_header=0),
            "ICMPv6 multicast listener report",
            "ICMPv6 multicast listener report len 0",
        ),
        (icmpv6(137, body=bytes(32)), "ICMPv6", "ICMPv6 redirect len 32"),
        (icmpv6(200), "ICMPv6", "ICMPv6 type 200 len 0"),
        (icmpv6(129, 3), "ICMPv6", "ICMPv6 echo reply code 3 len 0"),
        (ipv6_packet(bytes(20)), "bad TCP offset", "60 bytes: bad TCP offset"),
        (ipv6_packet(bytes(8), next_header=17), "UDP", "UDP len 0"),
        (ipv6_packet(b"", next_header=58), "truncated ICMP", "40 bytes: truncated ICMP"),
        (ipv6_packet(bytes(9), next_header=47), "protocol 47", "protocol 47, 9 bytes"),
        (ipv6_packet(bytes(9), next_header=59), "protocol 59", "protocol 59, 9 bytes"),
        (b"\x60" + bytes(47), "bad IP total length", "48 bytes: bad IP total length"),
        (b"\x60", "truncated", "1 bytes: truncated"),
        (b"\x70" + bytes(59), "bad IP version", "60 bytes: bad IP version"),
    ],
)
def test_other_packets_of_ipv6(packet: bytes, kind: str, text: str) -> None:
    step = read_packet(0.0, packet)
    assert (step.kind, step.text) == (kind, text)


@pytest.mark.parametrize("kind", range(256))
@pytest.mark.parametrize("family", PAIRS)
def test_neighbour_discovery_and_mld_are_housekeeping(kind: int, family: str) -> None:
    message = IcmpMessage(kind, 0, 0, bytes(80))
    step = read_packet(0.0, b"".join(encode_icmp(*PAIRS[family], message)))
    chatter = family == "IPv6" and kind in {130, 131, 132, 133, 134, 135, 136, 143}
    assert step.housekeeping is chatter


def test_extension_headers_are_named_in_their_order() -> None:
    headers = (
        options_header(60)
        + options_header(43)
        + routing_header(44, 4, 0)
        + fragment_header(17)
        + bytes((0, 1, 0, 2, 0, 8, 0, 0))
    )
    step = read_packet(0.0, ipv6_packet(headers, next_header=0))
    assert (step.source[1], step.destination[1], step.text) == (1, 2, "UDP len 0")
    assert step.details == (
        "hop-by-hop options",
        "destination options",
        "routing header type 4",
        "atomic fragment",
    )


@pytest.mark.parametrize(
    ("headers", "first", "details"),
    [
        (
            routing_header(17, 0, 2),
            43,
            ("routing header type 0 with 2 segments left", "bad routing header"),
        ),
        (options_header(17, b"\xc7\0"), 60, ("destination options", "bad IP options")),
        (options_header(60) * 17 + options_header(17), 60, None),
    ],
)
def test_invalid_extension_headers_are_skipped_and_named(
    headers: bytes, first: int, details: tuple[str, ...] | None
) -> None:
    udp = bytes((0, 1, 0, 2, 0, 12, 0, 0)) + b"data"
    step = read_packet(0.0, ipv6_packet(headers + udp, next_header=first))
    if details is None:  # So many that nobody looks behind them.
        assert step.details == ("destination options",) * 16 + ("bad extension header",)
    else:
        assert (step.text, step.details) == ("UDP len 4", details)


def test_ipv4_options_are_mentioned() -> None:
    udp = bytes((0, 1, 0, 2, 0, 8, 0, 0))
    step = read_packet(0.0, ipv4_packet(udp, protocol=17, options=bytes(8)))
    assert (step.text, step.details) == ("UDP len 0", ("IP options, 8 octets",))


@pytest.mark.parametrize("length", [0, 7, 13, 65535])
def test_an_invalid_udp_length_is_mentioned(length: int) -> None:
    udp = bytes((0, 1, 0, 2)) + length.to_bytes(2, "big") + bytes(2) + b"data"
    step = read_packet(0.0, ipv4_packet(udp, protocol=17))
    assert (step.text, step.details) == ("UDP len 4", (f"a length of {length} in 12 octets",))


def test_what_is_no_tcp_has_a_name() -> None:
    assert read_packet(0.0, ping(reply=True)).kind == "ICMP"
    assert read_packet(0.0, b"\x45").kind == "truncated"
