"""Plots of connections as SVG: of captures (``tunstack plot``), and of simulated ones.

chart     panels with axes, lines, bars and crosses, as SVG
sequence  the time-sequence diagram of a connection's segments
recorder  a tap of the simulator that records one connection
ladder    the packets of a capture between two columns (``tunstack trace --svg``)
"""

from __future__ import annotations

from tunstack.plot.chart import Bars, Chart, Crosses, Line, Panel, svg
from tunstack.plot.recorder import Recorder
from tunstack.plot.sequence import TimeSequence

__all__ = ["Bars", "Chart", "Crosses", "Line", "Panel", "Recorder", "TimeSequence", "svg"]
