"""Which packets a selection matches, and which selections are refused at once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tunstack import Packet, TcpInfo
from tunstack.path.rules.known import Known
from tunstack.path.rules.selection import Matcher, key_of

OURS, THEIRS = "198.51.100.2", "198.51.100.1"


def known_as(
    state: str,
    *,
    sent: tuple[int, int] | None = None,
    received: tuple[int, int] | None = None,
) -> Known:
    """A connection in this state, of whose streams these are the beginnings."""

    def info() -> TcpInfo:
        raise AssertionError("no snapshot is needed to match")

    return Known(0, state, sent, received, info)


def matcher(**selection: Any) -> Matcher:
    return Matcher(selection, random.Random(1))  # type: ignore[arg-type]


def matches(packet: Packet, **selection: Any) -> bool:
    return matcher(**selection).matches(packet, lambda packet: True)


def segment(direction: str = "in", known: Known | None = None, **fields: Any) -> Packet:
    """A segment between port 4711 of THEIRS and port 80 of OURS."""
    there, here = (THEIRS, 4711), (OURS, 80)
    if direction == "out":
        there, here = here, there
    packet = Packet.tcp(
        source=there[0],
        source_port=there[1],
        destination=here[0],
        destination_port=here[1],
        direction=direction,  # type: ignore[arg-type]
        **fields,
    )
    return Packet(packet.data, packet.direction, lookup=lambda *ends: known)


@pytest.mark.parametrize(
    ("selection", "incoming", "outgoing"),
    [
        ({}, True, True),
        ({"protocol": "tcp"}, True, True),
        ({"protocol": 6}, True, True),
        ({"protocol": "udp"}, False, False),
        ({"source": THEIRS}, True, False),
        ({"destination": THEIRS}, False, True),
        ({"local": OURS}, True, True),
        ({"remote": OURS}, False, False),
        ({"remote": "198.51.100.0/31"}, True, True),
        ({"remote": "198.51.100.4/30"}, False, False),
        ({"local": "2001:db8::/32"}, False, False),
        ({"source_port": 4711}, True, False),
        ({"destination_port": 4711}, False, True),
        ({"local_port": 80}, True, True),
        ({"remote_port": 80}, False, False),
        ({"local": OURS, "remote": THEIRS, "local_port": 80, "remote_port": 4711}, True, True),
    ],
)
def test_the_ends_of_a_packet(selection: dict[str, Any], incoming: bool, outgoing: bool) -> None:
    assert matches(segment("in"), **selection) == incoming
    assert matches(segment("out"), **selection) == outgoing


@pytest.mark.parametrize(
    ("wanted", "flags", "expected"),
    [
        ("SYN", "SYN", True),
        ("SYN", "SYN,ACK", True),
        ("SYN,!ACK", "SYN", True),
        ("SYN,!ACK", "SYN,ACK", False),
        ("syn, ack", "SYN,ACK", True),
        ("!SYN", "ACK", True),
        ("FIN,ACK", "ACK", False),
    ],
)
def test_flags(wanted: str, flags: str, expected: bool) -> None:
    assert matches(segment(flags=flags), flags=wanted) == expected


def test_the_state_of_the_connection() -> None:
    known = known_as("CLOSE-WAIT")
    assert matches(segment(known=known), state="CLOSE-WAIT")
    assert matches(segment(known=known), state=["ESTABLISHED", "close_wait"])
    assert not matches(segment(known=known), state="ESTABLISHED, FIN-WAIT-1")
    assert not matches(segment(), state="CLOSE-WAIT")


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        ((0, 1), False),
        ((0, 10), False),
        ((0, 11), True),
        ((12, 13), True),
        ((14, 20), True),
        ((15, 20), False),
        (range(8, 12), True),
    ],
)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_octets_of_the_stream(direction: str, octets: Any, expected: bool) -> None:
    stream = 2**32 - 5, 3
    known = known_as(
        "ESTABLISHED", **{"in": {"received": stream}, "out": {"sent": stream}}[direction]
    )
    packet = segment(direction, known, seq=5, payload=b"abcde")  # From 10 on.
    assert packet.offset == 10
    assert matches(packet, octets=octets) == expected


def test_octets_beyond_four_gigabytes() -> None:
    far = 5 << 32
    known = known_as("ESTABLISHED", received=(0, far + 7))
    assert segment(known=known, seq=3, payload=b"x").offset == far + 3
    assert segment(known=known, seq=2**32 - 1, payload=b"x").offset == far - 1


def test_a_segment_without_data_has_no_octets() -> None:
    known = known_as("ESTABLISHED", received=(0, 0))
    assert not matches(segment(known=known, seq=3), octets=(0, 10))


def test_no_ip_packet_matches_only_what_asks_for_nothing_of_ip() -> None:
    packet = Packet(b"\xff" * 40, "in")
    assert matches(packet)
    assert matches(packet, direction="in", where=lambda packet: True)
    for selection in ({"protocol": "tcp"}, {"local": OURS}, {"local_port": 80}, {"flags": "!SYN"}):
        assert not matches(packet, **selection)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"nth": 2}, [2]),
        ({"every": 3}, [3, 6]),
        ({"first": 2}, [1, 2]),
    ],
)
def test_ordinals_count_what_matches_all_the_rest(
    selection: dict[str, int], expected: list[int]
) -> None:
    counting = matcher(flags="SYN", where=lambda packet: packet.seq != 100, **selection)
    found = []
    for number in range(1, 8):
        for other in (segment(flags="ACK"), segment(flags="SYN", seq=100)):
            assert not counting.matches(other, lambda packet: True)
        if counting.matches(segment(flags="SYN", seq=number), lambda packet: True):
            found.append(number)
    assert found == expected


def test_what_an_action_cannot_be_done_to_does_not_count() -> None:
    counting = matcher(nth=1)
    assert not counting.matches(segment(), lambda packet: False)
    assert counting.matches(segment(), lambda packet: True)


def test_a_probability_is_seeded() -> None:
    def draws(seed: int) -> list[bool]:
        asked = Matcher({"probability": 0.3}, random.Random(seed))
        return [asked.matches(segment(), lambda packet: True) for _ in range(1000)]

    assert draws(1) == draws(1) != draws(2)
    assert 250 < sum(draws(1)) < 350


def test_a_connection_has_one_key_in_both_directions() -> None:
    exact = matcher(local=OURS, remote=THEIRS, local_port=80, remote_port=4711)
    assert exact.key == key_of(segment("in")) == key_of(segment("out"))
    assert matcher(local=OURS, remote=THEIRS, local_port=80).key is None
    assert matcher(local=OURS, remote="198.51.100.0/31", local_port=80, remote_port=1).key is None


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"direction": "up"}, 'direction must be "in" or "out", not \'up\''),
        ({"protocol": "sctp"}, "protocol must be icmp, tcp, udp, icmpv6 or a number, not 'sctp'"),
        ({"protocol": 256}, "protocol must be"),
        ({"protocol": "udp", "flags": "SYN"}, "only TCP has flags: a rule for udp"),
        ({"protocol": "udp", "octets": (0, 1)}, "only TCP has octets: a rule for udp"),
        ({"protocol": "icmp", "state": "CLOSED"}, "only TCP has state: a rule for icmp"),
        ({"protocol": "icmp", "local_port": 1}, "icmp has no ports: a rule with local_port"),
        ({"local": OURS, "remote": "::1"}, "local and remote are of two families"),
        ({"local": OURS, "protocol": "icmpv6"}, "local and protocol are of two families"),
        ({"local": "198.51.100.1/24"}, "local must be an address or a prefix: .* has host bits"),
        ({"local": "peer"}, "local must be an address or a prefix"),
        ({"local_port": 0}, "local_port must be from 1 to 65535, not 0"),
        ({"direction": "in", "source": OURS, "remote": THEIRS}, "source is remote of a packet in"),
        (
            {"direction": "out", "source_port": 1, "local_port": 2},
            "source_port is local_port of a packet out",
        ),
        ({"flags": "SYN,!SYN"}, "can never match"),
        ({"flags": "SYM"}, "TCP has no flag 'SYM'"),
        ({"flags": ""}, "TCP has no flag ''"),
        ({"state": "LISTEN"}, "not in LISTEN"),
        ({"state": []}, "not in none"),
        ({"octets": (5, 5)}, r"octets must be some from 0 on, not \(5, 5\)"),
        ({"octets": (-1, 5)}, "octets must be some from 0 on"),
        ({"octets": 5}, r"octets must be \(start, stop\) or a range, not 5"),
        ({"octets": range(0, 9, 2)}, "octets must follow each other"),
        ({"nth": 0}, "nth must be 1 or more, not 0"),
        ({"every": -1}, "every must be 1 or more, not -1"),
        ({"nth": 1, "first": 2}, "a rule counts by one of nth, every and first, not 2"),
        ({"probability": 0}, "probability must be above 0 and at most 1, not 0"),
        ({"probability": 1.5}, "probability must be above 0 and at most 1, not 1.5"),
    ],
)
def test_a_selection_that_cannot_match_is_refused(selection: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        matcher(**selection)


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="rules do not select by 'port'; there are direction"):
        matcher(port=80)
    with pytest.raises(TypeError, match="where must be a function of a packet, not 3"):
        matcher(where=3)
