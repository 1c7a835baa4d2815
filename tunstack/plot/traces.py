"""The plots of a trace: sequence numbers, windows, utilisation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from tunstack.capture.capture import Capture
from tunstack.capture.rows import ConnectionRow
from tunstack.ladder.layout import write_end
from tunstack.plot.drawing import draw_panel, figure_of
from tunstack.plot.rates import utilisation_of_capture, utilisation_of_connection
from tunstack.plot.sequences import sender_of, sequence_panel
from tunstack.plot.windows import has_windows, window_panel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tunstack.plot.style import Scheme
    from tunstack.stack.observation import Observation

    Trace: TypeAlias = Capture | ConnectionRow | Iterable[Observation]


def sequence(
    trace: Trace,
    ax: Axes | None = None,
    connection: int | None = None,
    *,
    reverse: bool = False,
    title: str | None = None,
    scheme: Scheme | None = None,
) -> Axes:
    """Draw the time-sequence diagram of one TCP connection, as of tcptrace.

    Seconds since the connection's first packet to the right, octets upwards: segments sent,
    retransmitted and lost, SND.UNA, SACK blocks, the right edge of the window.

    Args:
        trace: A capture, one of its connections, or the observations of a host's tap.
        ax: Where to draw; by default the axes of a new figure.
        connection: Its number; by default the one with the most data.
        reverse: Draw the direction with less data.
        title: Stands above the legend, which is above the axes; by default the connection's ends.
        scheme: ``"light"`` or ``"dark"``; by default what is readable on the axes' background.

    Returns:
        The axes.

    Raises:
        ValueError: there is no such TCP connection.
        SetupError: matplotlib is not installed.
    """
    chosen = _chosen(trace, connection)
    panel = sequence_panel(chosen, sender_of(chosen, reverse=reverse))
    title = ends_of(chosen, reverse=reverse) if title is None else title
    return draw_panel(panel, ax, title=title, scheme=scheme)


def window(
    trace: Trace,
    ax: Axes | None = None,
    connection: int | None = None,
    *,
    reverse: bool = False,
    title: str | None = None,
    scheme: Scheme | None = None,
) -> Axes:
    """Draw the congestion window, the slow start threshold and the segments in flight over time.

    Of a sender whose congestion window the capture does not have (all but tunstack's), what is
    sent and not acknowledged is drawn alone.

    Args:
        trace: As of :func:`sequence`.
        ax: Likewise.
        connection: Likewise.
        reverse: Likewise.
        title: Likewise.
        scheme: Likewise.

    Returns:
        The axes.

    Raises:
        ValueError: there is no such TCP connection.
        SetupError: matplotlib is not installed.
    """
    chosen = _chosen(trace, connection)
    panel = window_panel(chosen, sender_of(chosen, reverse=reverse))
    title = ends_of(chosen, reverse=reverse) if title is None else title
    return draw_panel(panel, ax, title=title, scheme=scheme)


def utilisation(
    trace: Trace,
    ax: Axes | None = None,
    connection: int | None = None,
    *,
    rate: float | None = None,
    interval: float | None = None,
    reverse: bool = False,
    title: str | None = None,
    scheme: Scheme | None = None,
) -> Axes:
    """Draw the octets per second over time; of the path's rate if that is known.

    Of a connection: what its sender puts on the wire, with headers and retransmissions, and the
    data that is delivered: acknowledged, or selectively (SACK). Of a whole capture: all packets,
    in each direction.

    Args:
        trace: As of :func:`sequence`.
        ax: Likewise.
        connection: Its number; by default the whole capture, or the connection that was given.
        rate: Of the path, in bits per second: the plot is in per cent of it.
        interval: Seconds that are counted together; by default about a sixtieth of the time.
        reverse: As of :func:`sequence`.
        title: Likewise.
        scheme: Likewise.

    Returns:
        The axes.

    Raises:
        ValueError: there is no such TCP connection; `rate` or `interval` is not positive.
        SetupError: matplotlib is not installed.
    """
    if connection is None and not isinstance(trace, ConnectionRow):
        panel = utilisation_of_capture(_capture(trace), rate=rate, interval=interval)
        return draw_panel(panel, ax, title=title or "all packets", scheme=scheme)
    chosen = _chosen(trace, connection)
    sender = sender_of(chosen, reverse=reverse)
    panel = utilisation_of_connection(chosen, sender, rate=rate, interval=interval)
    title = ends_of(chosen, reverse=reverse) if title is None else title
    return draw_panel(panel, ax, title=title, scheme=scheme)


def overview(
    trace: Trace,
    connection: int | None = None,
    *,
    reverse: bool = False,
    title: str | None = None,
    scheme: Scheme | None = None,
) -> Figure:
    """A figure of one TCP connection, as ``tunstack plot`` draws it.

    The time-sequence diagram, and below it the congestion window if the capture has the sender's.

    Args:
        trace: As of :func:`sequence`.
        connection: Likewise.
        reverse: Likewise.
        title: By default the connection's ends, its data and time, and its retransmissions.
        scheme: ``"light"`` or ``"dark"``.

    Returns:
        The figure, for :func:`save`; in a notebook, the value of a cell.

    Raises:
        ValueError: there is no such TCP connection.
        SetupError: matplotlib is not installed.
    """
    chosen = _chosen(trace, connection)
    sender = sender_of(chosen, reverse=reverse)
    panels = [sequence_panel(chosen, sender)]
    if has_windows(chosen, sender):
        panels.append(window_panel(chosen, sender))
    title = summary_of(chosen, reverse=reverse) if title is None else title
    return figure_of(panels, title, scheme)


def ends_of(connection: ConnectionRow, *, reverse: bool = False) -> str:
    """The sender's end, and the receiver's."""
    ends = [
        write_end((connection.client, connection.client_port), "TCP"),
        write_end((connection.server, connection.server_port), "TCP"),
    ]
    if sender_of(connection, reverse=reverse) == "server":
        ends.reverse()
    return " to ".join(ends)


def summary_of(connection: ConnectionRow, *, reverse: bool = False) -> str:
    """The ends, octets sent, duration and retransmissions of a direction."""
    to_client = sender_of(connection, reverse=reverse) == "server"
    octets = connection.octets_to_client if to_client else connection.octets_to_server
    again = (
        connection.retransmissions_to_client if to_client else connection.retransmissions_to_server
    )
    time = connection.end - connection.start
    return (
        f"{ends_of(connection, reverse=reverse)}: {_size(octets)}"
        f" in {time:.3g} s, {again} segments retransmitted"
    )


def _capture(trace: Capture | Iterable[Observation]) -> Capture:
    if isinstance(trace, (str, bytes, os.PathLike)):
        raise TypeError(f"draw tunstack.read_capture({trace!r}), and not the name of a file")
    return trace if isinstance(trace, Capture) else Capture.from_observations(trace)


def _chosen(trace: Trace, number: int | None) -> ConnectionRow:
    if not isinstance(trace, ConnectionRow):
        return _capture(trace).connection(number)
    if number not in (None, trace.number):
        raise ValueError(f"this is connection {trace.number}, not {number}")
    return trace


def _size(octets: int) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if octets >= size:
            return f"{octets / size:.3g} {unit}"
    return f"{octets} B"
