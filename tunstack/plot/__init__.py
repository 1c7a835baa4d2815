"""Plots on matplotlib axes, of captures, of live traces, and of benchmarks (``tunstack[plot]``).

::

    capture = tunstack.read_capture("x.pcapng")
    ax = tunstack.plot.sequence(capture)             # in a notebook
    tunstack.plot.window(capture, axes[1])           # on axes of your own
    tunstack.plot.save(ax, "x.svg")                  # light and dark, as the reader prefers

traces       `sequence`, `window`, `utilisation`, `overview`: of a capture or trace
bars         `ratios`: of two programs, as ``tunstack bench`` draws them
panels       `curves`: panels of lines, as ``tunstack bench-loss`` draws them
sequences    the data of the time-sequence diagram; `windows`, `rates`: of the others
delivery     what a receiver has, by its acknowledgments
series       what a plot shows, as values: lines, bars, crosses
drawing      panels on axes
style        matplotlib on first use, colour schemes, SVG and PNG

What is drawn is first a value, without matplotlib, which tests compare. matplotlib is imported by
the first function that draws.
"""

from __future__ import annotations

from tunstack.plot.bars import Ratio, ratios
from tunstack.plot.panels import Curves, curves
from tunstack.plot.style import save
from tunstack.plot.traces import overview, sequence, utilisation, window

__all__ = [
    "sequence",
    "window",
    "utilisation",
    "overview",
    "Ratio",
    "ratios",
    "Curves",
    "curves",
    "save",
]
