"""matplotlib, imported when it is needed; the look of plots; files, also such that adapt.

No other module imports matplotlib at run time, and :func:`library` is the only place that names
what to install.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import contextmanager
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeAlias

from tunstack.ladder.palette import DARK, LIGHT, Palette
from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.figure import SubFigure

Scheme: TypeAlias = Literal["light", "dark"]

PALETTES: Final[dict[str, Palette]] = {"light": LIGHT, "dark": DARK}
FORMATS: Final = ("svg", "png")
PIXELS: Final = 100
"""Pixels per inch."""
_FONT: Final = 9
_DIGITS: Final = re.compile(rb"(\d\.\d\d)\d+")
"""Digits of coordinates after the second, which nobody sees."""
_TAG: Final = re.compile(rb"<[a-z][^>]*>")


def library(name: str = "") -> ModuleType:
    """Import matplotlib, or a module of it.

    Raises:
        SetupError: it is not installed.
    """
    try:
        return import_module(f"matplotlib.{name}" if name else "matplotlib")
    except ModuleNotFoundError as missing:
        if missing.name != "matplotlib":
            raise
        raise SetupError("plots need matplotlib: pip install 'tunstack[plot]'") from missing


def palette_of(scheme: Scheme | None) -> Palette:
    """The palette of a scheme; light by default.

    Raises:
        ValueError: there is no such scheme.
    """
    palette = PALETTES.get(scheme or "light")
    if palette is None:
        raise ValueError(f"scheme must be 'light' or 'dark', not {scheme!r}")
    return palette


def palette_on(ax: Axes, scheme: Scheme | None) -> Palette:
    """The palette of a scheme; by default, the one that is readable on the axes' background."""
    if scheme is not None:
        return palette_of(scheme)
    red, green, blue, alpha = library("colors").to_rgba(ax.get_facecolor())
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return DARK if alpha > 0.5 and luminance < 0.5 else LIGHT


def new_figure(
    width: float, height: float, scheme: Scheme | None = None, *, shown: bool = False
) -> Figure:
    """A figure in a scheme, of a size in pixels.

    Args:
        width: In pixels.
        height: In pixels.
        scheme: Its colours.
        shown: Whether pyplot knows it, and a notebook shows it.
    """
    palette = palette_of(scheme)
    size = (width / PIXELS, height / PIXELS)
    make: Any = library("pyplot").figure if shown else library("figure").Figure
    figure: Figure = make(figsize=size, dpi=PIXELS, layout="constrained", facecolor=palette.paper)
    return figure


@contextmanager
def styled(palette: Palette) -> Iterator[None]:
    """matplotlib's parameters for what is made meanwhile."""
    with library().rc_context(
        {
            "font.size": _FONT,
            "axes.facecolor": palette.paper,
            "axes.edgecolor": palette.dim,
            "axes.labelcolor": palette.ink,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": palette.grid,
            "grid.linewidth": 0.8,
            "text.color": palette.ink,
            "xtick.color": palette.dim,
            "ytick.color": palette.dim,
            "xtick.labelcolor": palette.ink,
            "ytick.labelcolor": palette.ink,
            "xtick.major.size": 0,
            "ytick.major.size": 0,
            "xtick.minor.size": 0,
            "ytick.minor.size": 0,
        }
    ):
        yield


def save(
    drawing: Axes | SubFigure | Figure,
    file: str | os.PathLike[str] | IO[bytes],
    format: str | None = None,
) -> None:
    """Write a figure as SVG or PNG.

    A figure in the light scheme becomes an SVG that shows the dark one where the reader prefers it
    (``prefers-color-scheme``). The same figure gives the same octets.

    Args:
        drawing: A figure, or the axes that a function of this package returned.
        file: Path, or a binary file.
        format: ``"svg"`` or ``"png"``; by default as the path ends, else SVG.

    Raises:
        OSError: the file cannot be written.
        ValueError: the format is another.
    """
    figure: Any = drawing
    while not isinstance(figure, library("figure").Figure):
        figure = figure.figure
    data = rendered(figure, format or format_of(file))
    if isinstance(file, (str, os.PathLike)):
        with open(file, "wb") as target:
            target.write(data)
    else:
        file.write(data)


def format_of(file: str | os.PathLike[str] | IO[bytes]) -> str:
    """The format by the end of a path; SVG without one.

    Raises:
        ValueError: the path ends otherwise.
    """
    if not isinstance(file, (str, os.PathLike)):
        return FORMATS[0]
    name = os.fspath(file)
    ending = os.path.splitext(name)[1].lower().lstrip(".")
    if not ending:
        return FORMATS[0]
    if ending not in FORMATS:
        raise ValueError(f"{name}: plots are .svg or .png, not .{ending}")
    return ending


def rendered(
    figure: Figure, format: str, description: str | None = None, *, adaptive: bool = True
) -> bytes:
    """A figure as the octets of a file.

    Args:
        figure: The figure.
        format: ``"svg"`` or ``"png"``.
        description: For the file's metadata.
        adaptive: Whether an SVG in the light scheme becomes one in both.

    Raises:
        ValueError: the format is another.
    """
    if format not in FORMATS:
        raise ValueError(f"plots are svg or png, not {format}")
    buffer = io.BytesIO()
    metadata: dict[str, str | None] = {}
    if figure.axes and (title := figure.axes[0].get_title("left")):
        metadata["Title"] = title
    if description:
        metadata["Description"] = description
    if format == "svg":
        metadata = {**metadata, "Date": None, "Creator": "tunstack"}
    with library().rc_context({"svg.hashsalt": "tunstack", "svg.fonttype": "none"}):
        figure.savefig(
            buffer,
            format=format,
            dpi=PIXELS * (1 if format == "svg" else 2),
            metadata=metadata,
            facecolor="auto",
            bbox_inches="tight",
            pad_inches=0.12,
        )
    data = buffer.getvalue()
    if format == "svg":
        data = _TAG.sub(_shortened, data)
    return _adaptive(data) if format == "svg" and adaptive else data


def _shortened(tag: re.Match[bytes]) -> bytes:
    """A tag in one line, with coordinates of two digits."""
    return _DIGITS.sub(rb"\1", tag[0].replace(b" \n", b" ").replace(b"\n", b" "))


def _adaptive(svg: bytes) -> bytes:
    """Add the dark scheme to a picture in the light one, as rules for its inline styles."""
    if f"fill: {LIGHT.paper}".encode() not in svg.partition(b"</g>")[0]:
        return svg  # Of a background that is another's choice.
    rules = "".join(
        f'[style*="{what}: {getattr(LIGHT, name)}"]{{{what}:{getattr(DARK, name)}!important}}'
        for name in LIGHT.__slots__
        for what in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>\n <defs>"
    return svg.replace(b"<defs>", style.encode(), 1)
