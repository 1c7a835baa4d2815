"""What a segment is expected to be like, and how the difference reads."""

from __future__ import annotations

from typing import Any

import pytest

from tunstack.conversation.expectation import Expectation
from tunstack.conversation.failure import table
from tunstack.conversation.segment import TcpSegment
from tunstack.path.rules.packet import Packet

PACKET = Packet(b"", "in")


def segment(**fields: Any) -> TcpSegment:
    """An ACK without data, but for `fields`."""
    usual: dict[str, Any] = {
        "flags": "ACK",
        "seq": 1,
        "ack": 1,
        "window": 502,
        "payload": b"",
        "urgent": None,
        "mss": None,
        "window_scale": None,
        "sack_permitted": False,
        "timestamps": None,
        "sack": (),
        "options": b"",
        "packet": PACKET,
        "time": 0.0,
        "direction": "in",
    }
    return TcpSegment(**usual | fields)


def differing(came: TcpSegment, flags: str | None = None, **wanted: Any) -> list[str]:
    """The names of the fields that differ."""
    return [field.name for field in Expectation(flags, wanted).compare(came) if field.differs]


@pytest.mark.parametrize(
    ("expected", "came", "suits"),
    [
        ("ACK", "ACK", True),
        ("ACK", "PSH,ACK", True),
        ("PSH,ACK", "PSH,ACK", True),
        ("PSH,ACK", "ACK", False),
        ("ack,syn", "SYN,ACK", True),
        ("SYN", "SYN,ACK", False),
        ("SYN,ACK", "SYN", False),
        ("SYN", "SYN,ECE,CWR", False),
        ("none", "none", True),
        ("none", "ACK", False),
    ],
)
def test_flags_are_all_that_are_set_but_psh_if_it_is_not_named(
    expected: str, came: str, suits: bool
) -> None:
    assert differing(segment(flags=came), expected) == ([] if suits else ["flags"])


def test_a_flag_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="TCP has no flag 'SIN'"):
        Expectation("SIN", {})


@pytest.mark.parametrize("name", ["payload", "options"])
def test_text_is_no_octets(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be bytes, not a str: 'hello'"):
        Expectation("ACK", {name: "hello"})


def test_what_is_not_given_may_be_anything() -> None:
    assert differing(segment(), None, seq=None, payload=None) == []


def test_numbers_are_modulo_2_to_the_32() -> None:
    assert differing(segment(seq=-1), seq=2**32 - 1) == []
    assert differing(segment(seq=-1), seq=1) == ["seq"]


def test_an_ack_that_is_not_there_differs_from_every_number() -> None:
    assert differing(segment(flags="RST", ack=None), ack=0) == ["ack"]


@pytest.mark.parametrize(
    ("wanted", "with_", "without"),
    [(True, True, False), (False, False, True), ((5, 6), True, False), ((5, 7), False, False)],
)
def test_timestamps_are_a_pair_or_any_or_none(
    wanted: bool | tuple[int, int], with_: bool, without: bool
) -> None:
    assert (not differing(segment(timestamps=(5, 6)), timestamps=wanted)) == with_
    assert (not differing(segment(), timestamps=wanted)) == without


def test_a_predicate_decides() -> None:
    assert differing(segment(window=502), window=lambda window: window > 500) == []
    assert differing(segment(window=502), window=lambda window: window > 502) == ["window"]
    assert differing(segment(payload=b"x" * 1460), payload=lambda data: len(data) == 1460) == []


def test_where_sees_the_whole_segment() -> None:
    expectation = Expectation("ACK", {}, where=lambda each: each.mss is None)
    assert not any(field.differs for field in expectation.compare(segment()))
    assert [f.name for f in expectation.compare(segment(mss=536)) if f.differs] == ["where"]


def test_what_a_predicate_raises_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        differing(segment(), window=lambda window: bool(window / 0))


def test_sack_blocks_may_be_lists() -> None:
    assert differing(segment(sack=((11, 21),)), sack=[[11, 21]]) == []
    assert differing(segment(sack=((11, 21),)), sack=[(11, 22)]) == ["sack"]


def test_the_table_shows_where_long_payloads_begin_to_differ() -> None:
    expected = b"GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n"
    came = segment(flags="PSH,ACK", payload=expected.replace(b"1.0", b"1.1"))
    fields = Expectation("ACK", {"seq": 1, "ack": 6, "payload": expected}).compare(came)
    assert table(fields).splitlines() == [
        "           expected                    came",
        "  flags    ACK                         PSH,ACK",
        "  seq      1                           1",
        "  ack      6                           1                           differs",
        r"  payload  [9:17] b'P/1.0\r\nH' of 41  [9:17] b'P/1.1\r\nH' of 41  differs",
    ]


def test_an_expectation_in_one_line() -> None:
    def is_data(data: bytes) -> bool:
        return bool(data)

    wanted = {"seq": 6, "payload": is_data, "window": lambda _: True, "sack_permitted": True}
    assert str(Expectation("fin,ack", wanted)) == (
        "FIN,ACK seq 6 payload (is_data()) window (a predicate) sack_permitted yes"
    )
    assert str(Expectation(None, {})) == "a segment"
