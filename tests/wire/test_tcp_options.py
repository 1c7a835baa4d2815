"""TCP options: every layout that is legal, and those that are not."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.packets import KERNEL, OURS, examples, tcp_bytes, tcp_datagram
from tunstack.tcp.segment import ACK, SYN, Segment
from tunstack.wire import decode_segment, encode_segment

NOP = b"\x01"
EOL = b"\x00"
MSS = b"\x02\x04\x05\xb4"
WSCALE = b"\x03\x03\x07"
SACK_PERMITTED = b"\x04\x02"
SACK = b"\x05\x0a\x00\x00\x00\x64\x00\x00\x00\xc8"
TIMESTAMPS = b"\x08\x0a\x00\x00\x00\x07\x00\x00\x00\x08"
FAST_OPEN = b"\x22\x06\xde\xad\xbe\xef"
UNKNOWN = b"\xfd\x04\xca\xfe"

FIELDS: dict[bytes, dict[str, object]] = {
    MSS: {"mss": 1460},
    WSCALE: {"wscale": 7},
    SACK_PERMITTED: {"sack_permitted": True},
    SACK: {"sack": ((100, 200),)},
    TIMESTAMPS: {"ts_val": 7, "ts_ecr": 8},
    FAST_OPEN: {"fast_open": b"\xde\xad\xbe\xef"},
    UNKNOWN: {},
}
ABSENT: dict[str, object] = {
    "mss": None,
    "wscale": None,
    "sack_permitted": False,
    "sack": (),
    "ts_val": None,
    "ts_ecr": 0,
    "fast_open": None,
}


def padded(options: bytes) -> bytes:
    return options + bytes(-len(options) % 4)


def read(options: bytes) -> dict[str, object]:
    """What is read of a segment with these options, which must be received whatever they are."""
    segment = decode_segment(tcp_datagram(tcp_bytes(padded(options), b"data")))[2]
    assert segment.payload == b"data"
    return {name: getattr(segment, name) for name in ABSENT}


def of(*options: bytes) -> dict[str, object]:
    fields = dict(ABSENT)
    for option in options:
        fields |= FIELDS[option]
    return fields


@pytest.mark.rfc("MUST-4", "MUST-64")
@examples
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(list(FIELDS))),
        unique_by=lambda item: item[1],
    ).filter(lambda items: sum(nops + len(option) for nops, option in items) <= 40)
)
def test_options_in_any_order_at_any_alignment(items: list[tuple[int, bytes]]) -> None:
    """RFC 9293 MUST-64."""
    options = b"".join(NOP * nops + option for nops, option in items)
    assert read(options) == of(*(option for _, option in items))


@pytest.mark.parametrize("subset", [s for n in range(6) for s in combinations(list(FIELDS)[:5], n)])
def test_every_set_of_options(subset: tuple[bytes, ...]) -> None:
    assert read(b"".join(subset)) == of(*subset)


@pytest.mark.rfc("MUST-4")
def test_options_beyond_the_end_of_the_list_are_not_read() -> None:
    assert read(WSCALE + EOL + MSS) == of(WSCALE)


@pytest.mark.rfc("MUST-4")
def test_header_of_nothing_but_padding_has_no_options() -> None:
    assert read(NOP * 40) == read(EOL * 40) == ABSENT


@pytest.mark.rfc("MUST-6")
def test_unknown_option_is_skipped() -> None:
    """RFC 9293 MUST-6."""
    assert read(UNKNOWN + MSS) == of(MSS)


def test_option_that_comes_twice_counts_as_it_comes_last() -> None:
    assert read(b"\x02\x04\x00\x01" + MSS) == of(MSS)


@pytest.mark.rfc("MUST-7")
@pytest.mark.parametrize(
    "illegal",
    [
        pytest.param(b"\x02\x00", id="length 0"),
        pytest.param(b"\x02\x01", id="length 1"),
        pytest.param(b"\xfd\x00", id="unknown, length 0"),
        pytest.param(b"\xfd\x01", id="unknown, length 1"),
        pytest.param(b"\x08\x0a", id="past the end"),
        pytest.param(b"\xfd\xff", id="unknown, past the end"),
    ],
)
def test_illegal_length_ends_the_options_but_not_the_segment(illegal: bytes) -> None:
    """RFC 9293 MUST-7."""
    assert read(WSCALE + illegal + SACK_PERMITTED) == of(WSCALE)


@pytest.mark.rfc("MUST-7")
@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(NOP * 2 + b"\x05\x12" + bytes(8), id="SACK of two blocks, one there"),
        pytest.param(b"\x02\x08\x05\xb4", id="MSS"),
        pytest.param(NOP + b"\x03\x04\x07", id="window scale"),
        pytest.param(NOP * 2 + b"\x04\x03", id="SACK permitted"),
    ],
)
def test_option_that_goes_past_the_end_is_not_read_in_part(cut: bytes) -> None:
    assert read(cut) == ABSENT


@pytest.mark.rfc("MUST-7")
@pytest.mark.parametrize("kind", [2, 3, 4, 5, 8, 253])
def test_kind_without_a_length_at_the_very_end(kind: int) -> None:
    assert read(MSS + NOP * 3 + bytes((kind,))) == of(MSS)


@pytest.mark.rfc("MUST-7")
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(b"\x02\x03\xff", id="MSS of 3"),
        pytest.param(b"\x02\x06\x05\xb4\x00\x00", id="MSS of 6"),
        pytest.param(b"\x03\x02", id="window scale of 2"),
        pytest.param(b"\x03\x04\x07\x07", id="window scale of 4"),
        pytest.param(b"\x04\x03\x00", id="SACK permitted of 3"),
        pytest.param(b"\x05\x02", id="SACK without blocks"),
        pytest.param(b"\x05\x06\x00\x00\x00\x64", id="SACK of half a block"),
        pytest.param(b"\x05\x0e" + bytes(12), id="SACK of a block and a half"),
        pytest.param(b"\x08\x06\x00\x00\x00\x07", id="timestamps of 6"),
        pytest.param(b"\x08\x02", id="timestamps of 2"),
        pytest.param(b"\x22\x04\x00\x00", id="cookie of 2", marks=pytest.mark.rfc("7413:4.1.1")),
        pytest.param(b"\x22\x07" + bytes(5), id="cookie of 5", marks=pytest.mark.rfc("7413:4.1.1")),
        pytest.param(
            b"\x22\x14" + bytes(18), id="cookie of 18", marks=pytest.mark.rfc("7413:4.1.1")
        ),
    ],
)
def test_known_option_with_a_wrong_length_is_skipped(wrong: bytes) -> None:
    after = MSS if wrong[0] == SACK_PERMITTED[0] else SACK_PERMITTED
    assert read(NOP + wrong + after) == of(after)


@pytest.mark.rfc("7413:4.1.1")
@pytest.mark.parametrize("size", [0, 4, 6, 8, 10, 12, 14, 16])
def test_a_cookie_has_4_to_16_octets_or_none_at_all(size: int) -> None:
    cookie = bytes(range(size))
    option = bytes((34, 2 + size)) + cookie
    assert read(MSS + option) == of(MSS) | {"fast_open": cookie}
    whole = Segment(
        1, flags=SYN, mss=1460, wscale=7, sack_permitted=True, ts_val=7, ts_ecr=8, fast_open=cookie
    )
    before = MSS + SACK_PERMITTED + TIMESTAMPS + NOP + WSCALE
    assert sent(whole) == before + option + NOP * (-len(option) % 4)
    assert len(sent(whole)) <= 40
    assert sent(Segment(1, flags=SYN, fast_open=cookie)) == option + NOP * (-len(option) % 4)


def test_twelve_octets_that_are_not_the_usual_timestamps() -> None:
    assert read(TIMESTAMPS + NOP * 2) == of(TIMESTAMPS)
    assert read(MSS + NOP * 2 + SACK_PERMITTED + WSCALE + NOP) == of(MSS, SACK_PERMITTED, WSCALE)


def test_window_scale_beyond_14_is_handed_up() -> None:
    """RFC 7323 section 2.3: it is to be used as 14 and logged, which the core does."""
    assert read(b"\x03\x03\xff")["wscale"] == 255


@pytest.mark.rfc("MUST-7")
@examples
@given(st.binary(max_size=40))
def test_any_octets_as_options_leave_the_segment_whole(options: bytes) -> None:
    segment = decode_segment(tcp_datagram(tcp_bytes(padded(options), b"data")))[2]
    assert (segment.seq, segment.ack, segment.payload) == (1, 2, b"data")


def sent(segment: Segment) -> bytes:
    """The options of the segment as it is encoded."""
    packet = bytes(encode_segment(KERNEL, OURS, 1, 2, segment)[0])
    assert packet[32] >> 4 == (len(packet) - 20) // 4
    return packet[40:]


@pytest.mark.rfc("MUST-68")
@pytest.mark.parametrize(
    ("segment", "options"),
    [
        pytest.param(
            Segment(1, flags=SYN, mss=1460, wscale=7, sack_permitted=True, ts_val=7, ts_ecr=8),
            MSS + SACK_PERMITTED + TIMESTAMPS + NOP + WSCALE,
            id="SYN of Linux",
        ),
        pytest.param(Segment(1, flags=SYN, mss=1460), MSS, id="SYN with MSS alone"),
        pytest.param(
            Segment(1, flags=SYN, mss=1460, wscale=7, sack_permitted=True),
            MSS + NOP + NOP + SACK_PERMITTED + NOP + WSCALE,
            id="SYN without timestamps",
        ),
        pytest.param(
            Segment(1, flags=SYN, mss=1460, wscale=7, ts_val=7, ts_ecr=8),
            MSS + NOP + NOP + TIMESTAMPS + NOP + WSCALE,
            id="SYN without SACK",
        ),
        pytest.param(Segment(1, 2, ACK), b"", id="ACK"),
        pytest.param(
            Segment(1, 2, ACK, ts_val=7, ts_ecr=8), NOP + NOP + TIMESTAMPS, id="ACK, timestamps"
        ),
        pytest.param(
            Segment(1, 2, ACK, ts_val=7, ts_ecr=8, sack=((100, 200),)),
            NOP + NOP + TIMESTAMPS + NOP + NOP + SACK,
            id="ACK, timestamps, SACK",
        ),
        pytest.param(Segment(1, 2, ACK, sack=((100, 200),)), NOP + NOP + SACK, id="ACK, SACK"),
    ],
)
def test_options_are_laid_out_as_linux_does(segment: Segment, options: bytes) -> None:
    assert sent(segment) == options


@pytest.mark.parametrize(("ts_val", "count"), [(None, 4), (7, 3)])
def test_sack_blocks_that_do_not_fit_are_left_out(ts_val: int | None, count: int) -> None:
    blocks = tuple((n * 100, n * 100 + 50) for n in range(6))
    packet = b"".join(encode_segment(KERNEL, OURS, 1, 2, Segment(1, sack=blocks, ts_val=ts_val)))
    assert decode_segment(tcp_datagram(packet[20:]))[2].sack == blocks[:count]
