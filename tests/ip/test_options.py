"""Options of IPv4 headers: which are well formed, and what is wrong with those that are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ip.ip_options import CASES, ROUTES, Case
from tunstack.ip.options import fault, reflected


@pytest.mark.rfc("791:3.1")
@pytest.mark.parametrize("case", [*CASES, *ROUTES], ids=lambda case: case.what)
def test_the_octet_that_is_wrong_is_found(case: Case) -> None:
    assert fault(bytes.fromhex(case.options)) == case.pointer


def test_no_options_are_right() -> None:
    assert fault(b"") is None


@settings(deadline=None, derandomize=True, max_examples=2000)
@given(st.binary(max_size=40))
def test_whatever_they_are_the_octet_is_one_of_them(options: bytes) -> None:
    pointer = fault(options)
    assert pointer is None or 20 <= pointer < 20 + len(options)


HOST = bytes((198, 51, 100, 2))
OTHER = bytes((198, 51, 100, 9))
TIME = 0x01020304
STAMP = TIME.to_bytes(4, "big")


def route(pointer: int, *entries: bytes) -> bytes:
    data = b"".join(entries)
    return bytes((7, 3 + len(data), pointer)) + data


def timestamps(pointer: int, flag: int, *entries: bytes) -> bytes:
    data = b"".join(entries)
    return bytes((68, 4 + len(data), pointer, flag)) + data


EMPTY = bytes(4)
REFLECTIONS = {
    "twice": (route(4, EMPTY, EMPTY, EMPTY), route(12, HOST, HOST, EMPTY)),
    "behind others": (route(8, OTHER, EMPTY, EMPTY), route(16, OTHER, HOST, HOST)),
    "room for one": (route(8, OTHER, EMPTY), route(12, OTHER, HOST)),
    "full": (route(8, OTHER), route(8, OTHER)),
    "no room at all": (bytes((7, 3, 4)), bytes((7, 3, 4))),
    "times": (timestamps(5, 0, EMPTY, EMPTY), timestamps(13, 0, STAMP, STAMP)),
    "times, full": (timestamps(9, 0x10, STAMP), timestamps(9, 0x20, STAMP)),
    "addresses": (
        timestamps(5, 1, EMPTY, EMPTY, EMPTY, EMPTY),
        timestamps(21, 1, HOST, STAMP, HOST, STAMP),
    ),
    "asked for": (
        timestamps(5, 3, HOST, EMPTY, HOST, EMPTY),
        timestamps(21, 3, HOST, STAMP, HOST, STAMP),
    ),
    "asked for once": (
        timestamps(5, 3, HOST, EMPTY, OTHER, EMPTY),
        timestamps(13, 3, HOST, STAMP, OTHER, EMPTY),
    ),
    "asked of another": (timestamps(5, 3, OTHER, EMPTY), timestamps(5, 3, OTHER, EMPTY)),
    "asked for, full": (timestamps(13, 3, HOST, STAMP), timestamps(13, 3, HOST, STAMP)),
    "both": (
        timestamps(5, 0, EMPTY) + route(4, EMPTY),
        route(8, HOST) + timestamps(9, 0, STAMP),
    ),
    "others": (bytes((1, 148, 4, 0, 0)), b""),
}


@pytest.mark.rfc("1122:3.2.2.6")
@pytest.mark.parametrize("what", REFLECTIONS)
def test_a_reply_returns_routes_and_timestamps_with_the_host_recorded(what: str) -> None:
    options, expected = REFLECTIONS[what]
    found = reflected(options, HOST, TIME)
    assert (found, len(found) % 4) == (expected + bytes(-len(expected) % 4), 0)


@settings(deadline=None, derandomize=True, max_examples=2000)
@given(st.binary(max_size=40))
def test_what_is_reflected_is_well_formed(options: bytes) -> None:
    if fault(options) is None:
        found = reflected(options, HOST, TIME)
        assert fault(found) is None
        assert len(found) <= 40
