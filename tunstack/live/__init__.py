"""A running host, as those who look at it see it: the model below the live page and ``--watch``.

:class:`View` reads a host when it is asked to: :meth:`View.sample` returns a :class:`Sample`, with
the connections as rows, the listeners, the UDP sockets, and the counters with their rates. Nothing
is attached to the host for that, and while nobody asks nothing is spent. A connection that is
chosen is :class:`Followed`: its windows and sequence numbers over time, and its packets as rows of
a ladder; for that its packets, and no others, are observed by a tap.

The work of a sample is bounded: of each connection five numbers are read, and only the rows that
are shown are made. All that is kept is bounded as well. :func:`pause_after` says how long to wait
for the next sample, so that looking takes a small share of the time however many connections there
are.

It is sans-trio: the time is an argument, and whoever looks has the loop. `sample` has the values,
`view` reads the host by a pass of `scan`, `followed` keeps what a chosen connection has done,
`pace` has the intervals, and `port` the page's port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.lazy import lazily

if TYPE_CHECKING:
    from tunstack.live.followed import Followed, Point, row_to_dict
    from tunstack.live.pace import pause_after
    from tunstack.live.page import serve_page
    from tunstack.live.sample import (
        ConnectionRow,
        DatagramRow,
        ListenerRow,
        Order,
        Sample,
        Totals,
    )
    from tunstack.live.scan import Wanted
    from tunstack.live.view import View

__all__ = [
    "ConnectionRow",
    "DatagramRow",
    "Followed",
    "ListenerRow",
    "Order",
    "Point",
    "Sample",
    "Totals",
    "View",
    "Wanted",
    "pause_after",
    "row_to_dict",
    "serve_page",
]

__getattr__ = lazily(
    __name__,
    {
        "followed": ("Followed", "Point", "row_to_dict"),
        "pace": ("pause_after",),
        "page": ("serve_page",),
        "sample": ("ConnectionRow", "DatagramRow", "ListenerRow", "Order", "Sample", "Totals"),
        "scan": ("Wanted",),
        "view": ("View",),
    },
)
"""The module of each public name, which is imported on the first use of the name."""


def __dir__() -> list[str]:
    return sorted(__all__)
