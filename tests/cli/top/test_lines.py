"""Lines that fit, whatever is in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tunstack.cli.top.lines import filled, fitted, joined, printable, wrapped
from tunstack.ladder import Piece, plain_text

PIECES = st.lists(st.builds(Piece, st.text(max_size=20), st.sampled_from(["", "dim"])), max_size=5)


@given(PIECES, st.integers(0, 40))
def test_a_fitted_line_is_no_wider_and_has_no_control_characters(
    pieces: list[Piece], width: int
) -> None:
    text = plain_text(fitted(tuple(pieces), width))
    assert cell_len(text) <= width
    assert text.isprintable() or not text


@given(PIECES, st.integers(0, 40))
def test_a_filled_line_is_as_wide_as_the_terminal(pieces: list[Piece], width: int) -> None:
    line = filled(tuple(pieces), width, "reverse")
    assert cell_len(plain_text(line)) == width
    assert all("reverse" in piece.style for piece in line)


def test_wide_characters_are_not_cut_in_two() -> None:
    assert plain_text(fitted((Piece("漢字"),), 3)) == "漢 "


def test_control_characters_and_bidirectional_overrides_are_question_marks() -> None:
    assert printable("a\x1b[31m\u202eb\x9bc") == "a?[31m?b?c"


def test_words_are_wrapped_and_lines_joined() -> None:
    assert wrapped(["aa", "bb", "ccc"], 5) == ["aa bb", "ccc"]
    assert joined([(Piece("a"),), (), (Piece("b"),)]) == (Piece("a"), Piece("  "), Piece("b"))
