"""What is written on the terminal meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunstack.cli.top.output import Output


@given(st.lists(st.binary(max_size=50), max_size=30), st.integers(1, 100))
def test_the_end_of_what_was_written_is_kept(chunks: list[bytes], most: int) -> None:
    output = Output(most)
    for chunk in chunks:
        output.add(chunk)
    whole = b"".join(chunks)
    assert output.kept() == whole[-most:]
    assert output.lost == max(0, len(whole) - most)
    assert output.count == len(whole)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\ntw", ["one", "tw"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b" 10%\r 50%\r100%", ["100%"]),
        (b" 10%\r 50%\r", [" 50%"]),
        (b"\x1b[1;31mred\x1b[0m\n", ["red"]),
        (b"\x1b]0;title\x07text\x1b]8;;x\x1b\\link\n", ["textlink"]),
        (b"a\tb\n", ["a       b"]),
        (b"\xff\n", ["\N{REPLACEMENT CHARACTER}"]),
        (b"\n", [""]),
        (b"", []),
    ],
)
def test_lines_are_as_a_terminal_shows_them(data: bytes, lines: list[str]) -> None:
    output = Output()
    output.add(data)
    assert output.tail() == lines


def test_the_last_lines_are_bounded_in_number_and_length() -> None:
    output = Output()
    output.add(b"x" * 100_000 + b"\n" + b"".join(b"%d\n" % number for number in range(1000)))
    assert output.tail() == [str(number) for number in range(950, 1000)]
    output.add(b"y" * 5000)
    output.add(b"z" * 10)
    assert len(output.tail()[-1]) == 1000
    assert output.tail()[-1].endswith("yz" + "z" * 9)
