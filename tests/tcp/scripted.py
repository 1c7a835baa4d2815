"""A transfer over the simulator whose path does to each segment what a script says, and its trace.

The trace is the sender's view: what it sends, what the path makes of that, what it hears. Data is
counted in segments from 0; `ack 3` means that all before segment 3 has arrived.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tests.simulator.verdict import CountedCubic
from tests.tcp.inspection import Tcb
from tunstack.ip.family import IPV4
from tunstack.simulator import Application, Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.recovery.recovery_variables import Phase
from tunstack.tcp.segment import FIN, SYN
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunstack.ip.datagram import Buffer
    from tunstack.ip.family import Family
    from tunstack.stack.flow import Flow
    from tunstack.stack.observation import Observation
    from tunstack.tcp.segment import Segment

DELAY: Final = 0.05
"""Seconds, each way."""
PACE: Final = 0.001
"""Seconds that a packet of the server's occupies the path: they come one after the other."""
MTU: Final = 1052
"""A segment has 1000 octets beside timestamps; so the MSS is what an IPv4 link allows."""

Fate: TypeAlias = float | None
"""How much longer than others it takes, in seconds; None if it is lost."""
Script: TypeAlias = "Mapping[tuple[int, int], Fate]"
"""Keyed by segment, and by which transmission of it it is, from 1."""


class Path:
    """What the server sends meets its script's fate; the rest takes `DELAY`."""

    def __init__(self, script: Script, size: int) -> None:
        self._script = script
        self._size = size
        self._seen: Counter[int] = Counter()
        self._iss: int | None = None
        self._fates: deque[Fate] = deque()
        self._free_at = 0.0

    def number(self, segment: Segment) -> int:
        """Of the first octet of `segment`, in segments; the handshake has -1."""
        if segment.flags & SYN:
            self._iss = segment.seq
            return -1
        assert self._iss is not None
        return (segment.seq - self._iss - 1) % 2**32 // self._size

    def decide(self, segment: Segment) -> Fate:
        """What will become of `segment`, which is sent now."""
        fate: Fate = 0.0
        if segment.payload or segment.flags & FIN:
            number = self.number(segment)
            self._seen[number] += 1
            fate = self._script.get((number, self._seen[number]), 0.0)
        else:
            self.number(segment)
        self._fates.append(fate)
        return fate

    def admit(self, now: float, size: int) -> list[float]:
        """As :class:`tunstack.path.impair.Impairer` does."""
        self._free_at = max(self._free_at, now) + PACE
        fate = self._fates.popleft()
        return [] if fate is None else [self._free_at + DELAY + fate]

    def corrupt(self, packet: Buffer) -> Buffer:
        """Nothing is damaged."""
        return packet


class ScriptedTransfer:
    """The server sends `segments` to the client.

    Attributes:
        lines: The trace.
        statistics: The server's.
        sender: The server's connection.
    """

    def __init__(
        self, segments: int, script: Script, *, family: Family = IPV4, **config: Any
    ) -> None:
        timestamps = config.get("timestamps", True)
        self._size = 1000 if timestamps else 1012
        self._path = Path(script, self._size)
        self.lines: list[str] = []
        setup = Config(mss=MTU - 40, congestion=CountedCubic, **config)
        mtu = max(MTU, family.minimum_mtu)
        self._simulator = Simulator(seed=3, mtu=mtu, config=setup, tap=self._observe, family=family)
        simulator = self._simulator
        simulator.client.impairer = _Straight()  # type: ignore[assignment]
        simulator.server.impairer = self._path  # type: ignore[assignment]
        self._server: Application | None = None
        client, server = simulator.connect()
        self._server = server
        data = bytes(n % 251 for n in range(segments * self._size))
        server.send(data)
        simulator.run(lambda: client.flow is not None and len(client.received) == len(data))
        simulator.run(lambda: Tcb(self.sender).outstanding == 0)
        assert client.received == data
        self.statistics = simulator.server.stack.statistics()

    @property
    def sender(self) -> Flow:
        assert self._server is not None
        assert self._server.flow is not None
        return self._server.flow

    @property
    def timeouts(self) -> int:
        """How often the server's retransmission timer fired."""
        congestion = Tcb(self.sender).congestion
        assert isinstance(congestion, CountedCubic)
        return congestion.timeouts

    def _observe(self, side: str, seen: Observation) -> None:
        if side != "server":
            return
        segment = decode_segment(decode_datagram(seen.packet))[2]
        if seen.direction == "in":
            if self._server is not None and self._server.flow is not None:
                self._heard(segment)
            return
        fate = self._path.decide(segment)
        if segment.payload:
            self._note(f"--> {self._path.number(segment):<4}", seen.verdict, _told(fate))

    def _heard(self, segment: Segment) -> None:
        tcb = Tcb(self.sender)
        if not tcb.synchronized or segment.flags & SYN:
            return
        at = [self._segment(segment.ack)]
        held = [(self._segment(left), self._segment(right) - 1) for left, right in segment.sack]
        runs = [f"{left}-{right}" if left < right else f"{left}" for left, right in held]
        what = f"<-- ack {at[0]}" + f" sack {' '.join(runs)}" * bool(runs)
        phase = tcb.phase
        window = f"cwnd {tcb.cwnd / self._size:.1f}"
        self._note(what, f"{window} {phase.value}" if phase is not Phase.OPEN else window)

    def _segment(self, seq: int) -> int:
        return (seq - Tcb(self.sender).initial_seq - 1) % 2**32 // self._size

    def _note(self, what: str, *notes: str) -> None:
        text = ", ".join(note for note in notes if note)
        self.lines.append(f"{self._simulator.now * 1000:7.1f} ms  {what:<30} {text}".rstrip())


class _Straight:
    def admit(self, now: float, size: int) -> list[float]:
        return [now + DELAY]

    def corrupt(self, packet: Buffer) -> Buffer:
        return packet


def _told(fate: Fate) -> str:
    if fate is None:
        return "lost"
    return f"late by {fate * 1000:.0f} ms" if fate else ""
