"""Files of plots, in both colour schemes; and matplotlib, which is imported when it is needed."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tunstack import SetupError, plot
from tunstack.ladder.palette import DARK, LIGHT
from tunstack.plot.drawing import figure_of
from tunstack.plot.series import Line, Panel
from tunstack.plot.style import format_of, rendered

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from tunstack.plot.style import Scheme

PNG = b"\x89PNG\r\n\x1a\n"
TITLE = "198.51.100.2 <to> & 0.12345"


def figure(scheme: Scheme | None = None) -> Figure:
    return figure_of([Panel("y", "segments", [Line("z", "blue", [(0, 1), (1, 2)])])], TITLE, scheme)


def test_an_svg_has_both_schemes_and_its_title() -> None:
    text = rendered(figure(), "svg").decode()
    root = ET.fromstring(text)
    assert root.findtext("{http://www.w3.org/2000/svg}title") == TITLE
    rules = re.search(r"<style>@media \(prefers-color-scheme:dark\)\{(.*)\}</style>", text)
    assert rules is not None
    for name in LIGHT.__slots__:
        light, dark = getattr(LIGHT, name), getattr(DARK, name)
        assert f'[style*="stroke: {light}"]{{stroke:{dark}!important}}' in rules[1]
    inks = {*re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", text.replace(rules[0], ""))}
    assert inks <= {getattr(LIGHT, name) for name in LIGHT.__slots__}


def test_a_dark_svg_is_dark_for_everybody() -> None:
    text = rendered(figure("dark"), "svg").decode()
    assert "prefers-color-scheme" not in text
    assert f"fill: {DARK.paper}" in text
    assert "prefers-color-scheme" not in rendered(figure("light"), "svg", adaptive=False).decode()


def test_the_same_figure_gives_the_same_octets() -> None:
    assert rendered(figure(), "svg") == rendered(figure(), "svg")


def test_a_file_is_of_the_format_that_its_name_says(tmp_path: Path) -> None:
    for name in ("x.png", "x.PNG"):
        plot.save(figure(), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(PNG)
    for name in ("x.svg", "x"):
        plot.save(figure(), str(tmp_path / name))
        assert b"<svg" in (tmp_path / name).read_bytes()
    buffer = io.BytesIO()
    plot.save(figure(), buffer, "png")
    assert buffer.getvalue().startswith(PNG)


def test_other_formats_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x\.gif: plots are \.svg or \.png, not \.gif"):
        format_of("x.gif")
    with pytest.raises(ValueError, match="plots are svg or png, not gif"):
        rendered(figure(), "gif")


def test_a_scheme_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="scheme must be 'light' or 'dark', not 'pink'"):
        figure("pink")  # type: ignore[arg-type]


def test_importing_the_package_and_reading_captures_needs_no_matplotlib() -> None:
    code = (
        "import sys\n"
        "from tunstack.cli.running import bench, bench_loss, plot\n"
        "from tunstack import plot, read_capture\n"
        "plot.sequence; assert not {'matplotlib', 'numpy'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "matplotlib":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SetupError, match=r"plots need matplotlib: pip install 'tunstack\[plot\]'"):
        figure()
