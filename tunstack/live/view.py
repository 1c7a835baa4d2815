"""A view of a host: samples of all of it, and connections that are followed."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.host.host import loop_of
from tunstack.host.ss import end_name
from tunstack.ladder.layout import UNICODE
from tunstack.live.followed import Followed
from tunstack.live.sample import (
    ConnectionRow,
    DatagramRow,
    ListenerRow,
    Sample,
    Totals,
)
from tunstack.live.scan import Known, Scan, Wanted
from tunstack.stack.statistics import GAUGES
from tunstack.wire import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tunstack.host.host import Host
    from tunstack.ladder.layout import Symbols
    from tunstack.stack.flow import Flow
    from tunstack.stack.stack import Stack
    from tunstack.stack.time_wait import TimeWait

_DROPS: Final = (
    *(reason.value for reason in Reason),
    "tcp_backlog_full",
    "tcp_too_many",
    "tcp_no_memory",
    "half_open_dropped",
    "out_of_order_pruned",
    "peer_limited",
    "echo_overflow",
    "lost_to_full_link",
    "path_in_lost",
    "path_in_overflowed",
    "path_out_lost",
    "path_out_overflowed",
    "rules_dropped",
)
"""The counters of what was dropped, by the host or on a path that is ours."""
_RETRANSMISSIONS: Final = "retransmission_"
"""What the names of the counters of retransmissions begin with."""
_ALL: Final = Wanted()
SHORTEST: Final = 0.2
"""Seconds, of which the rates are at least."""


class _Moment(NamedTuple):
    """A sample, and what is remembered of it.

    Attributes:
        now: When it was taken, by trio's clock.
        sample: The sample.
        known: Of each connection.
    """

    now: float
    sample: Sample
    known: dict[int, Known]


class View:
    """What a host does, for those who look at it; one view for each who looks.

    Rates are those since the last sample of this view; since the one before, if that is less than
    `SHORTEST` seconds ago, as when somebody presses a key.

    Args:
        host: The host.
        now: The moment, by trio's clock, from which `Sample.uptime` counts.
        symbols: For the words of ladders.

    Attributes:
        followed: The connections that are followed, by their numbers.
    """

    def __init__(self, host: Host, now: float, symbols: Symbols = UNICODE) -> None:
        self._host = host
        self._stack = loop_of(host).stack
        self._began = now
        self._symbols = symbols
        self._last: _Moment | None = None
        self._base: _Moment | None = None  # That of which the rates are: the last, or one before.
        self._left_out: dict[int, Known] = {}
        self._gone = Known(None, 0, 0)  # Of the connections that are left out; how many is below.
        self._gone_count = 0
        self.followed: dict[int, Followed] = {}

    def follow(self, number: int) -> Followed:
        """Follow a connection, by its `ConnectionRow.id`, until :meth:`unfollow`.

        Raises:
            LookupError: it is gone, or in TIME-WAIT without a socket.
        """
        followed = self.followed.get(number)
        if followed is None:
            flows = self._stack.demux.connections
            flow = next((each for each in flows if each.number == number), None)
            if flow is None:
                raise LookupError(f"connection {number} is gone")
            followed = self.followed[number] = Followed(self._host, flow, self._symbols)
        return followed

    def unfollow(self, number: int) -> None:
        """Undo :meth:`follow`, if it was followed."""
        followed = self.followed.pop(number, None)
        if followed is not None:
            followed.close()

    def close(self) -> None:
        """Follow none any more."""
        for number in [*self.followed]:
            self.unfollow(number)

    def sample(self, now: float, wanted: Wanted = _ALL) -> Sample:
        """Look at the host, by trio's clock at `now`."""
        host, stack = self._host, self._stack
        self._base = base = self._base_at(now)
        interval = 0.0 if base is None else max(0.0, now - base.now)
        seconds = interval or float("inf")
        known = {} if base is None else base.known
        scan = Scan(stack.demux.connections, known, wanted, None if base is None else now)
        there = wanted.there([*stack.time_waits])
        waits = wanted.waiting(there)
        rows = [self._row(flow, scan.known, now, seconds) for flow in scan.best]
        rows += [_waiting_row(wait) for wait in waits[: wanted.most - len(rows)]]
        counters = host.statistics()
        drops = {name: counters[name] for name in _DROPS if counters.get(name)}
        sample = Sample(
            time=stack.output.epoch + now,
            interval=interval,
            uptime=now - self._began,
            name=host.name,
            addresses=tuple(map(str, host.addresses)),
            mtu=host.mtu,
            totals=self._totals_of(scan, counters, sum(drops.values()), seconds),
            states=scan.states(len(there)),
            connections=(*rows, *self._others_followed(rows, scan.known, now, seconds)),
            matching=scan.matching + len(waits),
            listeners=tuple(islice(_listeners(stack), wanted.most)),
            datagrams=tuple(islice(_datagrams(stack), wanted.most)),
            drops=drops,
            counters=counters,
            counter_rates=_rates(counters, {} if base is None else base.sample.counters, seconds),
        )
        self._update_followed(sample)
        self._last, self._left_out = _Moment(now, sample, scan.known), scan.left_out
        return sample

    def _base_at(self, now: float) -> _Moment | None:
        """The sample of which the rates at a moment are; None for the first."""
        base, last = self._base, self._last
        if base is None or last is None or now - last.now >= SHORTEST:
            return last
        for number, known in last.known.items():
            if number not in base.known:
                base.known[number] = Known(known.since, 0, 0)
        return base

    # Rows

    def _row(
        self, flow: Flow, known: Mapping[int, Known], now: float, seconds: float
    ) -> ConnectionRow:
        since, received, acked = known[flow.number]
        was = None if self._base is None else self._base.known.get(flow.number)
        return ConnectionRow(
            flow.number,
            flow.info(),
            None if since is None else now - since,
            (received - (was.received if was else 0)) / seconds,
            (acked - (was.acked if was else 0)) / seconds,
            flow.sender.recovery.phase.value,
        )

    def _others_followed(
        self,
        rows: list[ConnectionRow],
        known: Mapping[int, Known],
        now: float,
        seconds: float,
    ) -> Iterator[ConnectionRow]:
        """Rows of the connections that are followed, and not among `rows`."""
        shown = {row.id for row in rows}
        for number, followed in self.followed.items():
            if number in shown:
                continue
            if number in known:
                yield self._row(followed.flow, known, now, seconds)
            elif (wait := self._wait_of(followed)) is not None:
                yield _waiting_row(wait)

    def _wait_of(self, followed: Followed) -> TimeWait | None:
        """That of a connection which has no socket any more, or None."""
        wait = self._stack.time_waits.get(followed.flow.four_tuple.incoming)
        return wait if wait is not None and wait.number == followed.id else None

    def _update_followed(self, sample: Sample) -> None:
        if not self.followed:
            return
        rows = {row.id: row for row in sample.connections}
        for followed in [*self.followed.values()]:
            row = rows.get(followed.id)
            if row is not None:
                followed.row = row
            elif not followed.ended:
                followed.end()
            followed.update(sample.time)

    # Sums

    def _leave_out(self, scan: Scan) -> None:
        """Add up what is gone of the connections that are left out."""
        for number, known in self._left_out.items():
            if number not in scan.left_out:
                gone = self._gone
                self._gone = Known(None, gone.received + known.received, gone.acked + known.acked)
                self._gone_count += 1

    def _totals_of(
        self, scan: Scan, counters: Mapping[str, int], dropped: int, seconds: float
    ) -> Totals:
        self._leave_out(scan)
        closed, gone = self._stack.closed, self._gone
        base = None if self._base is None else self._base.sample.totals
        sums = {
            "octets_in": closed.bytes_received - gone.received + scan.received,
            "octets_out": closed.bytes_acked - gone.acked + scan.acked,
            "packets_in": counters["packets_received"],
            "packets_out": counters["packets_sent"],
            "dropped": dropped,
            "retransmitted": sum(
                count for name, count in counters.items() if name.startswith(_RETRANSMISSIONS)
            ),
            "opened": closed.connections - self._gone_count + len(scan.known),
        }

        def rate(name: str) -> float:
            return 0.0 if base is None else max(0, sums[name] - getattr(base, name)) / seconds

        return Totals(
            **sums,
            rate_in=rate("octets_in"),
            rate_out=rate("octets_out"),
            packet_rate_in=rate("packets_in"),
            packet_rate_out=rate("packets_out"),
            drop_rate=rate("dropped"),
            retransmission_rate=rate("retransmitted"),
            open_rate=rate("opened"),
            memory=counters["memory_held"],
            memory_limit=self._stack.limits.memory,
        )


def _waiting_row(wait: TimeWait) -> ConnectionRow:
    return ConnectionRow(wait.number, wait.info(), None, 0.0, 0.0, "")


def _rates(
    counters: Mapping[str, int], before: Mapping[str, int], seconds: float
) -> dict[str, float]:
    return {
        name: (count - before[name]) / seconds
        for name, count in counters.items()
        if name in before and count != before[name] and name not in GAUGES
    }


def _listeners(stack: Stack) -> Iterator[ListenerRow]:
    for address, port, listener in stack.demux.listeners():
        yield ListenerRow(
            end_name(address, port),
            port,
            len(listener),
            len(listener.half_open),
            listener.backlog,
        )


def _datagrams(stack: Stack) -> Iterator[DatagramRow]:
    for sock in stack.datagrams.ports.sockets:
        yield DatagramRow(
            end_name(sock.local, sock.port),
            sock.port,
            end_name(sock.remote, sock.remote_port),
            sock.queue.used,
            sock.dropped,
        )
