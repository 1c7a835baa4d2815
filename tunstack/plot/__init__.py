"""Plots of connections, as SVG: of captures (``tunstack plot``), and of simulated ones.

`chart` draws, `sequence` makes a time-sequence diagram of segments, wherever they come from, and
`recorder` watches a connection in the simulator.
"""

from __future__ import annotations

from tunstack.plot.chart import Bars, Chart, Crosses, Line, Panel, svg
from tunstack.plot.recorder import Recorder
from tunstack.plot.sequence import TimeSequence

__all__ = ["Bars", "Chart", "Crosses", "Line", "Panel", "Recorder", "TimeSequence", "svg"]
