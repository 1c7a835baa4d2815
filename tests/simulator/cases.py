"""The classic cases of loss recovery, each on a path that does as it is told; and their plots.

    python -m tests.simulator.cases

writes their data anew, and draws them (``make snapshot``).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.tcp.inspection import Tcb
from tunstack.capture import Recorder
from tunstack.path.impair import Impairments
from tunstack.plot.drawing import figure_of
from tunstack.plot.sequences import sequence_panel
from tunstack.plot.series import Bars, Line, Panel
from tunstack.plot.style import rendered
from tunstack.plot.windows import window_panel
from tunstack.simulator import Application, Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.congestion import Cubic, Reno
from tunstack.wire import decode_datagram, decode_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunstack.plot.series import Color, Series
    from tunstack.tcp.congestion import CongestionControl


PLOTS: Final = Path(__file__).with_name("plots")
BASE: Final = Config(receive_buffer=4 << 20, send_buffer=4 << 20)
MSS: Final = 1448
RTT: Final = 0.05
RATE: Final = 20e6
QUEUE: Final = 200


class Script:
    """What becomes of the server's segments that carry data, counted from 1, and of ACKs.

    Args:
        lost: Of these, the first that is sent is lost; of one that is named twice, two are.
        late: These are late by so many seconds, the first time that they are sent.
        stall: From a time to a time no ACK arrives; then all of them do.
    """

    def __init__(
        self,
        *lost: int,
        late: dict[int, float] | None = None,
        stall: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._lost = Counter(lost)
        self._late = dict(late or {})
        self._stall = stall
        self._numbers: dict[int, int] = {}

    def __call__(self, side: str, packet: bytes, now: float) -> float | None:
        segment = decode_segment(decode_datagram(packet))[2]
        if side == "client":
            begin, end = self._stall
            return end - now if begin <= now < end else 0.0
        if not len(segment.payload):
            return 0.0
        number = self._numbers.setdefault(segment.seq, len(self._numbers) + 1)
        if self._lost[number]:
            self._lost[number] -= 1
            return None
        return self._late.pop(number, 0.0)


@dataclass
class Case:
    """A transfer from the server to the client.

    Attributes:
        title: For the plot.
        size: Octets.
        script: What happens on the way.
        config: Of both sides.
        pauses: From a time to a time the client does not read.
    """

    title: str
    size: int
    script: Callable[[], Script] = Script
    config: Config = field(default_factory=lambda: BASE)
    pauses: tuple[float, float] | None = None


@dataclass
class Outcome:
    """What became of a case.

    Attributes:
        notes: How often the server noted what about its segments.
        undone: How many recoveries were undone.
        seconds: When it was over.
        recorder: What the server's sender went through.
    """

    notes: Counter[str]
    undone: int
    seconds: float
    recorder: Recorder


def run(case: Case) -> Outcome:
    """Run a case; all of the data arrives."""
    recorder = Recorder("server")
    simulator = Simulator(
        seed=1,
        impairments=Impairments(delay=RTT / 2),
        bottleneck=(RATE, QUEUE),
        config=case.config,
        tap=recorder,
        script=case.script(),
    )
    client, server = simulator.connect()
    recorder.watch(server)
    server.send(bytes(case.size))
    if case.pauses is not None:
        for when, reading in zip(case.pauses, (False, True), strict=True):
            simulator.at(when, _reading(client, reading))
    simulator.run(lambda: server.flow is not None and Tcb(server.flow).acknowledged == case.size)
    assert len(client.received) == case.size
    assert server.flow is not None
    counters = simulator.server.stack.counters
    notes = Counter({note: count for note, count in counters.items() if " " in note})
    return Outcome(notes, Tcb(server.flow).undone, simulator.now, recorder)


def _reading(application: Application, reading: bool) -> Callable[[], None]:
    return lambda: application.read(reading)


CASES: Final[dict[str, Case]] = {
    "one-loss": Case("Slow start, and one segment lost", 280 * MSS, lambda: Script(60)),
    "lost-retransmission": Case(
        "A segment lost, and its retransmission as well", 280 * MSS, lambda: Script(60, 60)
    ),
    "lost-tail": Case("The last three segments lost", 42 * MSS, lambda: Script(40, 41, 42)),
    "reordered-bursts": Case(
        "Two bursts that are late by 8 ms, less than a quarter of a round trip",
        200 * MSS,
        lambda: Script(late=dict.fromkeys([*range(40, 45), *range(120, 125)], 0.008)),
    ),
    "spurious-timeout": Case(
        "No ACK arrives from 0.2 s to 0.8 s, though nothing is lost",
        280 * MSS,
        lambda: Script(stall=(0.2, 0.8)),
    ),
    "zero-window": Case(
        "The client reads nothing from 0.3 s to 2.5 s",
        400 * MSS,
        config=replace(BASE, receive_buffer=100_000),
        pauses=(0.3, 2.5),
    ),
}


@dataclass(frozen=True)
class Drawing:
    """A plot as data.

    Attributes:
        title: Of the whole.
        panels: From top to bottom.
    """

    title: str
    panels: list[Panel]

    @property
    def text(self) -> str:
        """All that is drawn, a series a line: its axis, name and kind, and its values."""
        lines = [self.title]
        for panel in self.panels:
            axis = f"{panel.label or 'count'}, {panel.unit}"
            lines += [f"{axis}: {_written(each)}" for each in panel.shown]
        return "\n".join([*lines, ""])

    @property
    def digest(self) -> str:
        """What the picture says it was drawn of."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def svg(self) -> bytes:
        """The picture."""
        return rendered(figure_of(self.panels, self.title), "svg", f"sha256 {self.digest}")


def _written(series: Series) -> str:
    values = series.bars if isinstance(series, Bars) else series.points
    texts = ["/".join(_number(value) for value in each) for each in values]
    return f"{series.name}, {type(series).__name__}: {' '.join(texts)}"


def _number(value: float) -> str:
    return f"{round(value, 4) + 0.0:.10g}"


def drawing(case: Case) -> Drawing:
    """The plot of a case."""
    connection = run(case).recorder.connection()
    panels = [sequence_panel(connection, "server"), window_panel(connection, "server")]
    return Drawing(case.title, panels)


LONG: Final = 10.0
"""Seconds: Reno's window saws once and a half."""
SLOW: Final = 10e6
SHORT: Final = 40
SAMPLE: Final = 0.02
"""Seconds between the points of a line."""


def rivals() -> Drawing:
    """The windows of CUBIC and of Reno, each alone on a long path with a short queue."""
    lines: list[Line] = []
    contenders: tuple[tuple[str, Color, type[CongestionControl]], ...] = (
        ("CUBIC", "blue", Cubic),
        ("Reno", "orange", Reno),
    )
    for name, color, congestion in contenders:
        recorder = Recorder("server")
        simulator = Simulator(
            seed=1,
            impairments=Impairments(delay=0.05),
            bottleneck=(SLOW, SHORT),
            config=replace(BASE, congestion=congestion),
            tap=recorder,
        )
        _, server = simulator.connect()
        recorder.watch(server)
        server.send(bytes(int(SLOW / 8 * LONG)))
        simulator.run(lambda simulator=simulator: simulator.now >= LONG)  # type: ignore[misc]
        lines.append(Line(name, color, sampled(recorder.congestion_window())))
    title = f"CUBIC and Reno, each alone: {SLOW / 1e6:g} Mbit/s, 100 ms, a queue of {SHORT} packets"
    return Drawing(title, [Panel("congestion window", "segments", lines)])


def sampled(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The last point of each interval."""
    last = {int(time / SAMPLE): (time, value) for time, value in points}
    return [*last.values()]


DRAWN: Final[dict[str, Callable[[], Drawing]]] = {
    **{name: partial(drawing, case) for name, case in CASES.items()},
    "cubic-and-reno": rivals,
}
"""All plots, by the names of their files."""


def main() -> None:
    PLOTS.mkdir(exist_ok=True)
    for name, draw in DRAWN.items():
        drawn = draw()
        (PLOTS / f"{name}.txt").write_text(drawn.text)
        (PLOTS / f"{name}.svg").write_bytes(drawn.svg())


if __name__ == "__main__":
    main()
