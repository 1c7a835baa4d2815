"""Keys, as terminals send them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunstack.cli.top.keys import Keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q/80", ["q", "/", "8", "0"]),
        (b"\x1b[A\x1b[B\x1bOC\x1b[D", ["up", "down", "right", "left"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["page up", "page down", "home", "end"]),
        (b"\r\n\x7f\x08\x15\x0c", ["enter", "enter", "backspace", "backspace", "clear", "redraw"]),
        ("ß€".encode(), ["ß", "€"]),
        (b"\x1b[1;5Aq", ["q"]),  # Ctrl with an arrow.
        (b"\x1bqq", ["q"]),  # Alt with q.
        (b"\x00\x01\xffq", ["\N{REPLACEMENT CHARACTER}", "q"]),
        (b"\x1b[" + b"9" * 20 + b"q", ["9"] * 6 + ["q"]),
    ],
)
def test_keys_have_names(data: bytes, keys: list[str]) -> None:
    assert Keys().feed(data) == keys


@given(st.lists(st.sampled_from([b"q", b"\x1b[A", b"\x1bOB", b"\x1b[5~", "€".encode()])), st.data())
def test_how_octets_are_divided_does_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    keys, found = Keys(), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        found += keys.feed(whole[:size])
        whole = whole[size:]
    assert found == Keys().feed(b"".join(parts))
    assert len(found) == len(parts)
    assert not keys.waiting


def test_an_escape_alone_is_a_key_after_a_moment() -> None:
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.waiting
    assert keys.flush() == ["escape"]
    assert keys.feed(b"\x1b[") == []
    assert keys.flush() == []
    assert not keys.waiting


@given(st.binary(max_size=60))
def test_whatever_comes_is_names_or_printable_characters(data: bytes) -> None:
    for key in Keys().feed(data):
        assert len(key) > 1 or key.isprintable()
