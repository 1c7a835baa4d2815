"""What a simulated connection went through: its segments, and its congestion window."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tunstack.capture.collecting import Collector
from tunstack.ip.address import text as address_text
from tunstack.ladder.step import step_from_observation
from tunstack.stack.observation import Windows

if TYPE_CHECKING:
    from tunstack.capture.rows import ConnectionRow
    from tunstack.simulator import Application
    from tunstack.stack.flow import Flow
    from tunstack.stack.observation import Observation

_UNLIMITED: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class _Sender:
    """What congestion control says at a moment."""

    time: float
    windows: Windows
    pipe: int


class Recorder:
    """A tap for :class:`~tunstack.simulator.simulator.Simulator` that watches one connection's
    sender, of either family. What is no TCP segment of it is left out.

    ::

        recorder = Recorder("server")
        simulator = Simulator(seed=1, tap=recorder)
        client, server = simulator.connect()
        recorder.watch(server)
        ...
        tunstack.plot.sequence(recorder.connection())

    Args:
        side: The side of the recorded sender: "client" or "server".
    """

    def __init__(self, side: str) -> None:
        self._side = side
        self._application: Application | None = None
        self._seen: list[tuple[str, Observation, _Sender | None]] = []

    def watch(self, application: Application) -> None:
        """Record the connection of `application`, which is on the recorder's side."""
        self._application = application

    @property
    def _flow(self) -> Flow | None:
        return None if self._application is None else self._application.flow

    def __call__(self, side: str, observation: Observation) -> None:
        """Record an observation of one side."""
        state = None
        if side == self._side and (flow := self._flow) is not None and flow.sender.synchronized:
            sender, congestion = flow.sender, flow.sender.congestion
            ssthresh = congestion.ssthresh if congestion.ssthresh < _UNLIMITED else None
            windows = Windows(congestion.cwnd, ssthresh, sender.mss)
            state = _Sender(observation.time, windows, sender.recovery.pipe)
        self._seen.append((side, observation, state))

    def congestion_window(self) -> list[tuple[float, float]]:
        """The congestion window in segments over virtual time, without decoding any packet."""
        return [
            (state.time, state.windows.cwnd / state.windows.mss)
            for _, _, state in self._seen
            if state is not None
        ]

    def connection(self) -> ConnectionRow:
        """The recorded connection, with `PacketRow.pipe` and `PacketRow.lost`.

        Raises:
            ValueError: no packet of a watched connection was seen.
        """
        flow = self._flow
        if flow is not None:
            name = flow.four_tuple
            ends = {
                (address_text(name.local), name.local_port),
                (address_text(name.remote), name.remote_port),
            }
            collector = self._collect(ends)
            if collector.connections:
                (connection,) = collector.connections
                return replace(connection, start=0.0)
        raise ValueError("no packet of a watched connection was seen")

    def _collect(self, ends: set[tuple[str, int]]) -> Collector:
        collector = Collector(start=0.0)
        arrived = Counter(
            seen.packet
            for side, seen, _ in self._seen
            if side != self._side and seen.direction == "in"
        )
        for side, seen, state in self._seen:
            if side != self._side:
                continue
            step = step_from_observation(seen)
            if step.segment is None or {step.source, step.destination} != ends:
                continue
            lost = False
            if seen.direction == "out":
                lost = not arrived[seen.packet]
                arrived[seen.packet] -= not lost
            collector.add(
                step,
                len(seen.packet),
                direction=seen.direction,
                windows=None if state is None else state.windows,
                pipe=None if state is None else state.pipe,
                lost=lost,
            )
        return collector
