"""Options of a segment that is sent, from words."""

from __future__ import annotations

from typing import Any

import pytest

from tunstack.conversation.options import option_octets


def octets(**words: Any) -> bytes:
    none: dict[str, Any] = {
        "mss": None,
        "window_scale": None,
        "sack_permitted": False,
        "timestamps": None,
        "sack": (),
    }
    return option_octets(**none | words)


def test_without_words_there_are_none() -> None:
    assert octets() == b""


def test_all_options_of_a_syn() -> None:
    assert octets(
        mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 2)
    ) == bytes.fromhex("020405b4 0402080a 00000001 00000002 01030307")


def test_sack_blocks() -> None:
    assert octets(sack=[(1, 2)]) == bytes.fromhex("0101050a 00000001 00000002")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"mss": 65536}, "mss must be from 0 to 65535, not 65536"),
        ({"mss": -1}, "mss must be from 0 to 65535, not -1"),
        ({"window_scale": 256}, "window_scale must be from 0 to 255, not 256"),
        ({"timestamps": (2**32, 0)}, "timestamps must be from 0 to 4294967295"),
        ({"sack": [(0, 1)] * 5}, "5 SACK blocks do not fit"),
        ({"sack": [(0, 1)] * 4, "timestamps": (0, 0)}, "4 SACK blocks do not fit"),
    ],
)
def test_what_does_not_fit_is_an_error(words: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        octets(**words)
