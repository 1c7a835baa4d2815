"""What a simulated connection went through: its segments, and its congestion window."""

from __future__ import annotations

from collections import Counter
from math import nan
from typing import TYPE_CHECKING, Final

from tunstack.ip.datagram import TCP
from tunstack.plot.chart import BLUE, GREY, ORANGE, Line, Panel
from tunstack.plot.sequence import TimeSequence
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from tunstack.ip.datagram import Address
    from tunstack.plot.chart import Point
    from tunstack.simulator import Application
    from tunstack.stack.flow import Flow
    from tunstack.stack.observation import Observation

_UNLIMITED: Final = 1 << 30


class Recorder:
    """A tap for :class:`~tunstack.simulator.simulator.Simulator` that watches one connection's
    sender, of either family. What is no TCP segment of it is left out.

    ::

        recorder = Recorder("server")
        simulator = Simulator(seed=1, tap=recorder)
        client, server = simulator.connect()
        recorder.watch(server)
        ...
        chart = Chart("a transfer", [recorder.sequence(), recorder.windows()])

    Args:
        side: The side of the recorded sender: "client" or "server".
    """

    def __init__(self, side: str) -> None:
        self._side = side
        self._application: Application | None = None
        self._seen: list[tuple[str, Observation]] = []
        self._cwnd: list[Point] = []
        self._ssthresh: list[Point] = []
        self._flight: list[Point] = []

    def watch(self, application: Application) -> None:
        """Record the connection of `application`, which is on the recorder's side."""
        self._application = application

    @property
    def _flow(self) -> Flow | None:
        return None if self._application is None else self._application.flow

    def __call__(self, side: str, observation: Observation) -> None:
        """Record an observation of one side."""
        self._seen.append((side, observation))
        if side != self._side or (flow := self._flow) is None or not flow.sender.synchronized:
            return
        sender = flow.sender
        time, mss = observation.time, sender.mss
        self._cwnd.append((time, sender.congestion.cwnd / mss))
        self._flight.append((time, sender.recovery.pipe / mss))
        ssthresh = sender.congestion.ssthresh
        self._ssthresh.append((time, ssthresh / mss if ssthresh < _UNLIMITED else nan))

    def sequence(self, height: int = 300) -> Panel:
        """Sequence numbers over time, as the sender sees them."""
        return self.time_sequence().panel(height)

    def time_sequence(self) -> TimeSequence:
        """The time-sequence diagram of the recorded sender."""
        diagram = TimeSequence()
        arrived = Counter(
            seen.packet
            for side, seen in self._seen
            if side != self._side and seen.direction == "in"
        )
        for side, seen in self._seen:
            if side != self._side:
                continue
            datagram = decode_datagram(seen.packet)
            if datagram.protocol != TCP or datagram.fragment_offset or datagram.more_fragments:
                continue
            sport, dport, segment = decode_segment(datagram)
            ends = (datagram.src, sport), (datagram.dst, dport)
            if not self._is_watched(*(ends if seen.direction == "out" else ends[::-1])):
                continue
            if seen.direction == "in":
                diagram.answered(seen.time, segment)
                continue
            lost = not arrived[seen.packet]
            if not lost:
                arrived[seen.packet] -= 1
            diagram.sent(seen.time, segment, seen.verdict, lost=lost)
        return diagram

    def _is_watched(self, local: tuple[Address, int], remote: tuple[Address, int]) -> bool:
        flow = self._flow
        return flow is not None and flow.four_tuple == (*local, *remote)

    def windows(self, height: int = 160, top: float | None = None) -> Panel:
        """The congestion window, the slow-start threshold and the flight size over time."""
        return Panel(
            "segments",
            [
                Line("on its way", GREY, self._flight),
                Line("threshold", ORANGE, self._ssthresh, dashed=True),
                Line("congestion window", BLUE, self._cwnd),
            ],
            height,
            top,
        )

    def congestion_window(self, name: str, color: str) -> Line:
        """The congestion window alone, for comparison with another's."""
        return Line(name, color, self._cwnd)
