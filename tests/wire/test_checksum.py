"""The checksum, against RFC 1071 done word by word and against dpkt's."""

from __future__ import annotations

from random import Random

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.packets import examples, naive_checksum
from tunstack.wire import checksum, ones_sum, verifies

# Plenty of zeros and ones: the two zeros of one's complement are where a short cut would fail.
buffers = (
    st.binary(max_size=80)
    | st.lists(st.sampled_from([b"\x00", b"\xff", b"\x00\xff", b"\xff\xff"]), max_size=12).map(
        b"".join
    )
    | st.builds(
        lambda kind, times, end: kind * times + end,
        st.binary(min_size=1, max_size=40) | st.sampled_from([b"\x00", b"\xff"]),
        st.integers(1, 90),
        st.binary(max_size=3),
    )
)


@examples
@given(buffers)
def test_agrees_with_rfc_1071_and_with_dpkt(data: bytes) -> None:
    assert checksum(data) == naive_checksum(data) == dpkt.in_cksum(data)


@examples
@given(buffers)
def test_ones_sum_is_the_complement_of_the_checksum(data: bytes) -> None:
    assert ones_sum(data) == 0xFFFF - naive_checksum(data)
    assert ones_sum(memoryview(data)) == ones_sum(bytearray(data)) == ones_sum(data)


@examples
@given(st.lists(buffers, max_size=5))
def test_parts_of_any_length_count_as_their_concatenation(parts: list[bytes]) -> None:
    assert checksum(*parts) == naive_checksum(b"".join(parts))


@examples
@given(buffers.filter(lambda data: len(data) % 2 == 0), st.integers(0, 0xFFFF))
def test_only_the_right_checksum_verifies(data: bytes, wrong: int) -> None:
    right = naive_checksum(data)
    assert verifies(data, right.to_bytes(2, "big"))
    # 0 and 0xffff are the same number, so with data that is not all zeros either may stand there.
    if wrong % 0xFFFF != right % 0xFFFF:
        assert not verifies(data, wrong.to_bytes(2, "big"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(bytes(6), 0, id="zeros"),
        pytest.param(b"\xff\xff", 0xFFFF, id="negative zero"),
        pytest.param(b"\xff\xfe\x00\x01", 0xFFFF, id="a sum that is zero"),
        pytest.param(b"\x01", 0x0100, id="odd"),
        pytest.param(b"\x00\x00\xff", 0xFF00, id="odd, high octet full"),
        pytest.param(b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 0xDDF2, id="the example of RFC 1071"),
    ],
)
def test_ones_sum_of_known_buffers(data: bytes, expected: int) -> None:
    assert ones_sum(data) == expected


@pytest.mark.parametrize("size", [512, 720, 1440, 1448, 1500, 1536, 2880, 4320, 8980, 65_534])
@pytest.mark.parametrize("beyond", [0, 1, 2])
def test_large_buffers_are_summed_as_small_ones_are(size: int, beyond: int) -> None:
    size = min(size + beyond, 65_535)
    for data in (
        Random(size).randbytes(size),
        bytes(size),
        b"\xff" * size,
        bytes(size - 1) + b"\x01",
        b"\x01" + bytes(size - 1),
        b"\xff\xfe" + bytes(size - 4) + b"\x00\x01",
    ):
        assert checksum(data) == naive_checksum(data)
        assert checksum(b"\x7f", memoryview(data)) == naive_checksum(b"\x7f" + data)


def test_zeros_with_a_zero_checksum_do_not_verify() -> None:
    assert checksum(bytes(8)) == 0xFFFF
    assert not verifies(bytes(8))
