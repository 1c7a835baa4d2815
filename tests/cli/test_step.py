"""Reading packets that the codec would rightly drop, and comments that a host of ours wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cli.exchange import KERNEL, OURS, Exchange, ping
from tunstack.cli.ladder import Step, read_packet, step_from_capture, step_from_observation
from tunstack.ip.icmp import IcmpMessage
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


def test_a_wrong_icmp_checksum_is_read_over() -> None:
    assert read_packet(0.0, spoil(ping(reply=True), 22)).text == "ICMP echo reply id 7 seq 1 len 56"


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


def ipv6(protocol: int, payload: bytes) -> bytes:
    return (
        b"\x60\0\0\0"
        + len(payload).to_bytes(2, "big")
        + bytes((protocol, 255, *[0] * 32))
        + payload
    )


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (ipv6(58, b"\x85\0\0\0"), "IPv6 router solicitation"),
        (ipv6(0, bytes((58, 0, *[0] * 6)) + b"\x8f\0"), "IPv6 multicast listener report"),
        (ipv6(58, b"\x87"), "IPv6 neighbour solicitation"),
        (ipv6(58, b"\xc8"), "IPv6 ICMP type 200"),
        (ipv6(6, bytes(20)), "IPv6 TCP"),
        (ipv6(17, bytes(8)), "IPv6 UDP"),
        (ipv6(58, b""), "IPv6"),
        (ipv6(0, b"\x3a"), "IPv6"),
        (ipv6(47, bytes(8)), "IPv6"),
        (b"\x60", "IPv6"),
    ],
)
def test_ipv6_has_a_name_though_it_is_not_read(packet: bytes, kind: str) -> None:
    step = read_packet(0.0, packet)
    assert (step.kind, step.text) == (kind, f"{len(packet)} bytes: {kind}")


def test_what_is_no_tcp_has_a_name() -> None:
    assert read_packet(0.0, ping(reply=True)).kind == "ICMP"
    assert read_packet(0.0, b"\x45").kind == "truncated"
