"""The pictures of the pages show what the view shows now."""

from __future__ import annotations

import re

from tests.cli.top.pictures import FOLDER, pictures


def test_the_pictures_are_as_they_are_drawn_now() -> None:
    drawn = pictures()
    assert {file.name for file in FOLDER.iterdir()} == set(drawn)
    for name, text in drawn.items():
        assert (FOLDER / name).read_text() == text, f"{name}: make snapshot"


def test_nothing_in_them_is_fetched() -> None:
    files = list(FOLDER.iterdir())
    assert files
    for file in files:
        assert not re.search(r"url\((?!#)|href=", file.read_text())
