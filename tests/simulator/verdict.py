"""What the simulator makes of our loss recovery and congestion control: the tables of snapshot.txt.

    python -m tests.simulator.verdict

writes them anew (``make snapshot``). All that is in them is a function of seeds: whoever changes
how the core behaves sees it there, and so does whoever reviews the change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.tcp.inspection import Tcb
from tunstack.path.impair import Impairments
from tunstack.simulator import Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.congestion import Cubic, Reno

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SNAPSHOT: Final = Path(__file__).with_name("snapshot.txt")

SEPARATOR: Final = "\n\n\n"

SIZE: Final = 1_000_000
SEEDS: Final = range(3)
RATE: Final = 100e6
QUEUE: Final = 250
LOSSES: Final = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
TIMES: Final = (0.001, 0.01, 0.05, 0.2)

HEAD: Final = f"""\
What the simulator makes of tunstack. `make snapshot` writes this file, the tests compare it.

A server sends {SIZE / 1e6:g} MB over a bottleneck of {RATE / 1e6:g} Mbit/s with a queue of {QUEUE}
packets. Each cell tells of {len(SEEDS)} transfers: their mean goodput in Mbit/s, and in parentheses
what they came to together: segments sent again, retransmission timeouts, and recoveries that were
undone, because nothing had been lost. Losses are independent of one another, and both ways.
"""


class CountedReno(Reno):
    """Reno, and how often the retransmission timer fired."""

    timeouts = 0

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        self.timeouts += 1
        super().timeout(flight_size, now, repeated=repeated)


class CountedCubic(Cubic):
    """CUBIC, and how often the retransmission timer fired."""

    timeouts = 0

    def timeout(self, flight_size: int, now: float, *, repeated: bool) -> None:
        self.timeouts += 1
        super().timeout(flight_size, now, repeated=repeated)


@dataclass(frozen=True)
class Transfer:
    """What one transfer came to; or several, added up."""

    octets: int = 0
    seconds: float = 0.0
    again: int = 0
    timeouts: int = 0
    undone: int = 0


BASE: Final = Config(receive_buffer=8 << 20, send_buffer=8 << 20)
RENO: Final = replace(BASE, congestion=CountedReno)
CUBIC: Final = replace(BASE, congestion=CountedCubic)


def transfer(seed: int, path: Impairments, config: Config, mtu: int = 1500) -> Transfer:
    """A server sends `SIZE` octets, and closes; the clock stops when the client has read all."""
    config = replace(config, mss=mtu - 40)
    simulator = Simulator(
        seed=seed, impairments=path, mtu=mtu, bottleneck=(RATE, QUEUE), config=config
    )
    client, server = simulator.connect()
    server.send(bytes(SIZE))
    server.shutdown()
    client.shutdown()
    simulator.run(lambda: client.ended)
    assert len(client.received) == SIZE
    assert server.flow is not None
    tcb = Tcb(server.flow)
    congestion = tcb.congestion
    assert isinstance(congestion, CountedReno | CountedCubic)
    return Transfer(
        SIZE,
        simulator.now,
        tcb.retransmissions,
        congestion.timeouts,
        tcb.undone,
    )


def cell(path: Impairments, config: Config, mtu: int = 1500) -> str:
    """Some transfers, as the tables tell of them."""
    done = [transfer(seed, path, config, mtu) for seed in SEEDS]
    goodput = sum(each.octets * 8e-6 / each.seconds for each in done) / len(done)
    again = sum(each.again for each in done)
    timeouts = sum(each.timeouts for each in done)
    undone = sum(each.undone for each in done)
    return f"{figure(goodput)} ({again}, {timeouts}, {undone})"


def figure(number: float) -> str:
    """Three digits, never more than can be trusted."""
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def table(title: str, columns: Iterable[str], rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Lines of a table whose columns are aligned."""
    lines = [("", *columns), *((name, *cells) for name, cells in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(each.ljust(width) for each, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([title, "", *text, ""])


def percent(part: float) -> str:
    return f"{part * 100:g} %"


def against_loss(name: str, config: Config) -> str:
    """Goodput for every loss and every round-trip time."""
    return table(
        f"{name}: loss, and round-trip time",
        (f"{time * 1000:g} ms" for time in TIMES),
        (
            (
                percent(loss),
                [cell(Impairments(loss=loss, delay=time / 2), config) for time in TIMES],
            )
            for loss in LOSSES
        ),
    )


BOTH: Final = {"Reno": RENO, "CUBIC": CUBIC}


def against_disorder() -> str:
    """Goodput with packets that come late, twice, or spaced out; nothing is lost."""
    fifty = Impairments(delay=0.025)
    paths = {
        "nothing": fifty,
        **{
            f"reordering {percent(part)}": replace(fifty, reorder=part)
            for part in (0.001, 0.01, 0.05, 0.2)
        },
        **{
            f"duplicates {percent(part)}": replace(fifty, duplicate=part)
            for part in (0.001, 0.01, 0.1, 1.0)
        },
        "jitter 20 ms": replace(fifty, jitter=0.02),
        "all: 1 %, 5 ms": replace(fifty, reorder=0.01, duplicate=0.01, jitter=0.005),
    }
    return table(
        "What comes late or twice, 50 ms; what is late is late by half to one and a half of 25 ms",
        BOTH,
        ((name, [cell(path, config) for config in BOTH.values()]) for name, path in paths.items()),
    )


def without_something() -> str:
    """Goodput where the peer has less to offer than we."""
    path = Impairments(delay=0.025, loss=0.01)
    lacking: dict[str, tuple[dict[str, bool], int]] = {
        "nothing": ({}, 1500),
        "SACK": ({"sack": False}, 1500),
        "timestamps": ({"timestamps": False}, 1500),
        "SACK and timestamps": ({"sack": False, "timestamps": False}, 1500),
        "window scaling": ({"window_scaling": False}, 1500),
        "large packets: 576": ({}, 576),
        "large packets: 9000": ({}, 9000),
    }
    return table(
        "What is lacking, 50 ms, loss 1 %",
        BOTH,
        (
            (name, [cell(path, replace(config, **options), mtu) for config in BOTH.values()])  # type: ignore[arg-type]
            for name, (options, mtu) in lacking.items()
        ),
    )


SHARED: Final = 10e6
WARM: Final = 10.0
MEASURED: Final = 20.0


def fairness() -> str:
    """Two flows that share a bottleneck, the second of which begins later."""
    return table(
        f"Two flows at one bottleneck of {SHARED / 1e6:g} Mbit/s, 50 ms, with a queue of as long;"
        f" the second\nbegins after 2 s; {MEASURED:g} s are measured after {WARM:g} s",
        ("first", "second", "Mbit/s", "Jain's index"),
        (
            (f"{one} and {other}", shares(BOTH[one], BOTH[other]))
            for one, other in (("Reno", "Reno"), ("CUBIC", "CUBIC"), ("Reno", "CUBIC"))
        ),
    )


def shares(one: Config, other: Config) -> list[str]:
    """What each of two flows gets, what both get, and how fair that is."""
    queue = round(SHARED * 0.05 / 8 / 1500)
    simulator = Simulator(
        seed=1, impairments=Impairments(delay=0.025), bottleneck=(SHARED, queue), config=BASE
    )
    received: list[Callable[[], int]] = []

    def begin(config: Config) -> None:
        client, server = simulator.connect(config)
        client.send(bytes(int(SHARED / 8 * (WARM + MEASURED))))
        received.append(lambda: len(server.received))

    simulator.at(0.0, lambda: begin(one))
    simulator.at(2.0, lambda: begin(other))
    simulator.run(lambda: simulator.now >= WARM)
    before = [count() for count in received]
    began = simulator.now
    simulator.run(lambda: simulator.now >= WARM + MEASURED)
    seconds = simulator.now - began
    got = [(count() - old) * 8e-6 / seconds for count, old in zip(received, before, strict=True)]
    jain = sum(got) ** 2 / (len(got) * sum(each**2 for each in got))
    return [figure(got[0]), figure(got[1]), figure(sum(got)), f"{jain:.3f}"]


STREAM_LOWAT: Final = 16384
ANSWERS: Final = {"135 kB": 135_000, "1 MB": 1_000_000, "5 MB": 5_000_000}
PATHS: Final = tuple((rate, time) for rate in (100e6, 1e9) for time in (0.02, 0.066, 0.2))


def utilisation(*, offload: bool) -> str:
    """How much of the path one answer makes use of, by rate, round-trip time and size."""
    how = "with large segments (offload)" if offload else "without offload"
    return table(
        f"One answer {how}, as trio's streams write it (TCP_NOTSENT_LOWAT 16 KiB):\n"
        "a round trip and its octets at the full rate, in per cent of the time that it took",
        ("", *ANSWERS),
        (
            (
                f"{rate / 1e6:g} Mbit/s",
                (
                    f"{time * 1000:g} ms",
                    *(answer(rate, time, size, offload=offload) for size in ANSWERS.values()),
                ),
            )
            for rate, time in PATHS
        ),
    )


def answer(rate: float, rtt: float, size: int, *, offload: bool) -> str:
    """One answer to one request, over a queue of one bandwidth-delay product."""
    simulator = Simulator(
        seed=1,
        impairments=Impairments(delay=rtt / 2),
        bottleneck=(rate, max(QUEUE, round(rate * rtt / 8 / 1500))),
        config=replace(CUBIC, nodelay=True),
        offload=offload,
    )
    client, server = simulator.connect()
    server.lowat = STREAM_LOWAT
    client.send(b"?")
    simulator.run(lambda: bool(server.received))
    began = simulator.now - rtt / 2  # When the client asked.
    server.send(bytes(size))
    simulator.run(lambda: len(client.received) == size)
    ideal = rtt + size * (1500 / 1448) * 8 / rate
    return f"{ideal / (simulator.now - began) * 100:.0f} %"


SECTIONS: Final[dict[str, Callable[[], str]]] = {
    "head": lambda: HEAD,
    "Reno": lambda: against_loss("Reno", RENO),
    "CUBIC": lambda: against_loss("CUBIC", CUBIC),
    "disorder": against_disorder,
    "lacking": without_something,
    "fairness": fairness,
    "utilisation": lambda: utilisation(offload=True),
    "utilisation without offload": lambda: utilisation(offload=False),
}


def kept() -> dict[str, str]:
    """The sections as they stand in the file, by the names of `SECTIONS`."""
    parts = SNAPSHOT.read_text().removesuffix("\n").split(SEPARATOR)
    return dict(zip(SECTIONS, (f"{part}\n" for part in parts), strict=True))


def main() -> None:
    SNAPSHOT.write_text(
        SEPARATOR.join(make().removesuffix("\n") for make in SECTIONS.values()) + "\n"
    )


if __name__ == "__main__":
    main()
