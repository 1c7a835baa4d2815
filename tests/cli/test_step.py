"""Reading packets that the codec would rightly drop, and comments that a host of ours wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cli.exchange import KERNEL, OURS, Exchange, ping
from tunstack.cli.ladder import Step, read_packet, step_from_capture, step_from_observation
from tunstack.ip.icmp import IcmpMessage
from tunstack.observation import Observation
from tunstack.tcp.segment import ACK, PSH, Segment
from tunstack.tcp.state import State
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
