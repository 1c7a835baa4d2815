"""Those who look: each has a view of the host, and they take turns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import trio

from tunstack.live.pace import INTERVAL, SHARE, pause_after
from tunstack.live.page.data import chosen_data, encoded, gone_data, sample_data
from tunstack.live.scan import Wanted
from tunstack.live.view import View

if TYPE_CHECKING:
    from tunstack.host.host import Host
    from tunstack.live.followed import Followed
    from tunstack.live.page.requests import Query

_FOLLOWING_INTERVAL: Final = 0.25
"""Seconds between two samples for somebody who follows a connection, at least."""


class Turns:
    """When samples may be taken: together they take no more than `SHARE` of the time.

    Attributes:
        viewers: Those who look.
        cost: Seconds of processor time that the last sample took.
    """

    def __init__(self) -> None:
        self.viewers = 0
        self.cost = 0.0
        self._lock = trio.Lock()
        self._next = float("-inf")

    async def take(self, viewer: Viewer, query: Query, own: int) -> bytes:
        """Return what `viewer` sees, as JSON, when it is time for it.

        Args:
            viewer: Who looks.
            query: What they want to see.
            own: How many connections the page has.
        """
        async with self._lock:
            await trio.sleep_until(self._next)
            began = time.thread_time()
            body = encoded({"pause": self._pause(query), "own": own, **viewer.look(query)})
            self.cost = time.thread_time() - began
            self._next = trio.current_time() + self.cost / SHARE
        return body

    def _pause(self, query: Query) -> float:
        """How long the viewer is to wait before the next sample."""
        interval = INTERVAL if query.follow is None else _FOLLOWING_INTERVAL
        return round(pause_after(self.cost * self.viewers, interval=interval), 3)


class Viewer:
    """Somebody who looks at a host.

    Args:
        host: The host.
        port: The page's port.
        name: What to call the view.
    """

    def __init__(self, host: Host, port: int, name: str) -> None:
        self._port = port
        self._name = name
        self._view = View(host, trio.current_time())

    def close(self) -> None:
        """Follow no connection any more."""
        self._view.close()

    def look(self, query: Query) -> dict[str, Any]:
        """Return what there is to see now."""
        chosen = self._follow(query.follow)
        wanted = Wanted(
            query.order,
            query.most,
            query.port,
            query.state,
            without=None if query.own else self._port,
        )
        data = sample_data(self._view.sample(trio.current_time(), wanted), self._port)
        if query.follow is None:
            return {**data, "chosen": None}
        if chosen is None:
            return {**data, "chosen": gone_data(query.follow, self._name)}
        return {**data, "chosen": chosen_data(chosen, self._name, query)}

    def _follow(self, number: int | None) -> Followed | None:
        """Follow this connection, and no other; returns None if it is gone."""
        for other in [*self._view.followed]:
            if other != number:
                self._view.unfollow(other)
        if number is None:
            return None
        try:
            return self._view.follow(number)
        except LookupError:
            return None


__all__ = ["Turns", "Viewer"]
