"""Options of IPv4 headers: which are well formed, and what is wrong with those that are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ip.ip_options import CASES, ROUTES, Case
from tunstack.ip.options import fault


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
