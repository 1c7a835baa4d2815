"""What the page is told: a sample of a host, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunstack.live.followed import Followed, Point
    from tunstack.live.page.requests import Query
    from tunstack.live.sample import ConnectionRow, Sample


def encoded(data: dict[str, Any]) -> bytes:
    """Return it as one line of JSON."""
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def sample_data(sample: Sample, port: int) -> dict[str, Any]:
    """What the page shows of a host; of each connection what its table has.

    Args:
        sample: The sample.
        port: The page's own.
    """
    whole = {
        name: getattr(sample, name)
        for name in ("time", "interval", "name", "addresses", "mtu", "states", "matching")
    }
    return {
        **whole,
        "totals": sample.totals.to_dict(),
        "connections": [_row(row, port) for row in sample.connections],
        "listeners": [{**row.to_dict(), "own": row.port == port} for row in sample.listeners],
        "datagrams": [row.to_dict() for row in sample.datagrams],
        "counters": {name: count for name, count in sample.counters.items() if count},
        "counter_rates": dict(sample.counter_rates),
    }


def _row(row: ConnectionRow, port: int) -> dict[str, Any]:
    info = row.info
    return {
        "id": row.id,
        "state": row.state,
        "local": row.local,
        "remote": row.remote,
        "recv_q": info.unread,
        "send_q": info.unacked + info.notsent,
        "rate_in": round(row.rate_in, 1),
        "rate_out": round(row.rate_out, 1),
        "cwnd": info.snd_cwnd // info.snd_mss if info.snd_cwnd and info.snd_mss else None,
        "rtt": info.rtt,
        "retransmits": info.retransmits,
        "age": None if row.age is None else round(row.age, 1),
        "own": info.local[1] == port,
    }


def chosen_data(followed: Followed, view: str, query: Query) -> dict[str, Any]:
    """What the page shows of a connection; what is new to it of the ladder and the plots.

    Args:
        followed: The connection.
        view: The view that has it.
        query: What was asked; its `row` and `point` count if they are of this view.
    """
    same = query.view == view
    data = followed.to_dict(rows=query.row if same else 0, points=followed.points.count)
    fresh = followed.points.since(query.point if same else 0)
    return {**data, "points": [_point(point) for point in fresh], "view": view, "gone": False}


def _point(point: Point) -> tuple[float | None, ...]:
    """A point as the script has it: by the places of its fields."""
    return (
        point.time,
        point.cwnd,
        point.ssthresh,
        point.in_flight,
        point.acked,
        point.sent,
        point.edge,
        point.received,
        point.received + point.rcv_wnd,
    )


def gone_data(number: int, view: str) -> dict[str, Any]:
    """What is said of a connection that cannot be followed, as there is none any more."""
    empty: dict[str, Any] = {"row": None, "rows": [], "points": [], "packets": 0}
    return {**empty, "id": number, "view": view, "gone": True, "ended": True}


__all__ = ["chosen_data", "encoded", "gone_data", "sample_data"]
