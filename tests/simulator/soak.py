"""Random runs of the simulator: whatever happens, nothing is lost, doubled or left behind.

    python -m tests.simulator.soak --runs 10000
    python -m tests.simulator.soak --seed 1234
    python -m tests.simulator.soak --family IPv6 --kind fragments

Everything about a run follows from its seed, family and kind: the path, the options of both sides,
what each side sends, when it pauses, half-closes, closes or aborts. Of kind ``fragments``, a router
cuts segments into fragments; of kind ``udp``, datagrams are exchanged beside the connections, and
some paths corrupt packets. Without a family or a kind, all are run. A seed that fails is printed
with the command that repeats it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Final

from tests.path.middlebox import Fragmenter, Marker
from tests.simulator.exchange import Exchange
from tests.tcp.inspection import Tcb
from tunstack.ip.family import FAMILIES, IPV4
from tunstack.path.impair import Impairments
from tunstack.simulator import Application, Simulator
from tunstack.tcp.config import Config
from tunstack.tcp.congestion import Cubic, Reno
from tunstack.tcp.connection.state import State
from tunstack.wire import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tunstack.ip.family import Family


BY_NAME: Final = {family.name: family for family in FAMILIES}

PLAIN_KIND: Final = "plain"
FRAGMENTS: Final = "fragments"
WITH_UDP: Final = "udp"
KINDS: Final = (PLAIN_KIND, FRAGMENTS, WITH_UDP)
"""What a run has beside its connections."""

PARTS: Final = 5
"""More than the fragments that a segment is cut into, but for what little does not divide."""

OF_FRAGMENTS: Final = {
    Reason.FRAGMENT_DUPLICATE,
    Reason.FRAGMENT_TIMEOUT,
    Reason.FRAGMENT_MEMORY,
}
"""Why packets may be dropped where they are fragmented and lost, or doubled."""

EVERY: Final = 7
"""Of so many seeds one runs twice, and must send the same octets at the same times again."""

LONGEST: Final = 50_000.0
"""Virtual seconds. The slowest go by one tiny window at a time, half of which are lost."""

STREAM: Final = Random(0).randbytes(1 << 18)
"""What everybody sends, from its beginning: what is missing, doubled or misplaced does not fit."""

PLAIN: Final = ("send", "send", "send", "pause", "resume", "half-close")
ENDS: Final = ("close", "abort")


class SoakError(AssertionError):
    """A run broke a promise."""


@dataclass
class End:
    """One end of a connection, and what its application does when.

    Attributes:
        name: For messages.
        application: The simulator's.
        shut: Whether it has closed its half.
        left: Whether it has closed or aborted.
        total: Octets that it meant to send.
    """

    name: str
    application: Application
    shut: bool = False
    left: bool = False
    total: int = 0

    def do(self, action: str, size: int) -> None:
        """Perform one of `PLAIN` or `ENDS`, if it can be."""
        application = self.application
        if self.left or (action in ENDS and application.flow is None):
            return
        match action:
            case "send" if not self.shut:
                application.send(STREAM[self.total : self.total + size])
                self.total = min(self.total + size, len(STREAM))
            case "pause":
                application.read(False)
            case "resume":
                application.read(True)
            case "half-close":
                self.shut = True
                application.shutdown()
            case "close":
                self.left = True
                application.close()
            case "abort":
                self.left = True
                application.abort()


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        digest: Of all that was sent, and when.
        tally: How often what happened, for the report.
    """

    digest: str
    tally: Counter[str]


def skewed(rng: Random, most: float) -> float:
    """A number from 0 to `most`, more often small than large."""
    return most * rng.random() ** 3


def random_config(rng: Random, mtu: int, sizes: Sequence[int]) -> Config:
    return Config(
        mss=mtu - 40,
        receive_buffer=rng.choice(sizes),
        send_buffer=rng.choice(sizes),
        timestamps=rng.random() < 0.7,
        window_scaling=rng.random() < 0.7,
        sack=rng.random() < 0.7,
        nodelay=rng.random() < 0.3,
        delayed_ack=rng.choice((0.0, 0.04, 0.2, 0.4)),
        initial_window=rng.choice((1, 3, 10)),
        congestion=rng.choice((Reno, Cubic)),
        keepalive=rng.random() < 0.1,
    )


def random_path(rng: Random) -> Impairments:
    """One direction: a good one as often as a bad one."""
    if rng.random() < 0.2:
        return Impairments()
    return Impairments(
        loss=rng.choice((0.0, 0.0, 0.01, 0.05, skewed(rng, 0.3))),
        delay=skewed(rng, 0.3),
        jitter=rng.choice((0.0, skewed(rng, 0.05))),
        reorder=rng.choice((0.0, skewed(rng, 0.3))),
        duplicate=rng.choice((0.0, skewed(rng, 0.3))),
    )


def with_extras(rng: Random, config: Config) -> Config:
    """The same with buffers that grow, ECN, MTU probes, Fast Open and keep-alive, at random.

    Keep-alive asks so often that chance alone cannot make a peer look dead.
    """
    return replace(
        config,
        receive_buffer=rng.choice((config.receive_buffer, config.receive_buffer, None)),
        send_buffer=rng.choice((config.send_buffer, config.send_buffer, None)),
        ecn=rng.choice((0, 1, 2)),
        mtu_probing=rng.choice((0, 1, 1, 2)),
        fast_open_queue=rng.choice((0, 1, 16)),
        keepalive=config.keepalive or rng.random() < 0.2,
        keepalive_idle=rng.choice((5.0, 60.0, 7200.0)),
        keepalive_count=100,
    )


def gentler(path: Impairments) -> Impairments:
    """The path on which a segment in fragments is lost about as often as one in one piece."""
    return replace(path, loss=path.loss / PARTS)


def with_errors(rng: Random, path: Impairments) -> Impairments:
    """The same path; of half of them bits are flipped in some packets."""
    return replace(path, corrupt=rng.choice((0.0, skewed(rng, 0.2))))


class Run:
    """One run, decided by `seed`, `family` and `kind`; `predict` must change nothing."""

    def __init__(
        self,
        seed: int,
        *,
        predict: bool = True,
        family: Family = IPV4,
        kind: str = PLAIN_KIND,
    ) -> None:
        rng = Random(seed)
        beside = Random(f"{kind} of {seed}")
        # What came later to the soak has chances of its own: old seeds decide the rest as before.
        extra = Random(f"extras of {seed}")
        # Small packets and small windows make many packets of little data.
        self.mtu = max(family.minimum_mtu, rng.choice((68, 256, 576, 1500, 1500, 9000)))
        sizes = (self.mtu // 2, 3 * self.mtu, 30_000, 1 << 20)
        self.most = min(1 << 17, 50 * self.mtu)
        self.paths = random_path(rng), random_path(rng)
        if kind == WITH_UDP:
            self.paths = with_errors(beside, self.paths[0]), with_errors(beside, self.paths[1])
        bottleneck: tuple[float, int] | None = rng.choice((None, None, (1e6, 10), (1e7, 50)))
        self.bottleneck = bottleneck
        config = with_extras(extra, random_config(rng, self.mtu, sizes))
        marker = Marker(extra.choice((2, 10, 100)))
        self.fragmenter: Fragmenter | None = None
        if kind == FRAGMENTS:
            parts = beside.randrange(2, PARTS)
            self.fragmenter = Fragmenter(max(128, self.mtu // parts), marker)
            self.paths = gentler(self.paths[0]), gentler(self.paths[1])
            if self.bottleneck is not None:
                rate, limit = self.bottleneck
                self.bottleneck = rate, PARTS * limit
        self.allowed = self._allowed(kind)
        self.simulator = Simulator(
            seed=seed,
            impairments=self.paths,
            mtu=self.mtu,
            bottleneck=self.bottleneck,
            config=config,
            middlebox=self.fragmenter or marker,
            script=self._look,
            offload=Random(f"device of {seed}").random() < 0.5,
            predict=predict,
            family=family,
        )
        self.ends: list[tuple[End, End]] = []
        self.exchange: Exchange | None = None
        early = extra.random() < 0.5
        if early:
            self._introduce()
        began = self.simulator.now
        for number in range(rng.choice((1, 1, 1, 2, 3))):
            config = with_extras(extra, random_config(rng, self.mtu, sizes))
            crossing = rng.random() < 0.05
            client, server = (
                self._crossing(config, number)
                if crossing
                else self.simulator.connect(config, early=early)
            )
            pair = End(f"client {number}", client), End(f"server {number}", server)
            self.ends.append(pair)
            if early:
                pair[0].do("send", int(skewed(extra, self.most)))
        for pair in self.ends:
            lowat = extra.choice((None, None, 1, 16384))
            for end in pair:
                end.application.lowat = lowat
        both = [end for pair in self.ends for end in pair]
        last = max(self._plan(rng, end) for end in both)
        for end in both:
            self.simulator.at(began + last, self._finishing(end))
        if kind == WITH_UDP:
            corrupts = any(path.corrupt for path in self.paths)
            self.exchange = Exchange(beside, self.simulator, self.mtu, last=last, corrupts=corrupts)

    def _allowed(self, kind: str) -> set[Reason]:
        """Why packets may be dropped."""
        if any(path.corrupt for path in self.paths):
            return {*Reason}
        return OF_FRAGMENTS if kind in (FRAGMENTS, WITH_UDP) else set()

    def _introduce(self) -> None:
        """A connection without data, by which the client may get a Fast Open cookie."""
        both = self.simulator.connect(early=True)
        for application in both:
            application.shutdown()
        self.simulator.run(limit=LONGEST)
        if not all(application.done and application.error is None for application in both):
            raise SoakError("the first connection did not end")

    def _crossing(self, config: Config, number: int) -> tuple[Application, Application]:
        """Both sides open at once (RFC 9293 figure 7)."""
        one, other = self.simulator.client, self.simulator.server
        ends = Application(one), Application(other)
        ports = 7001 + number, 8001 + number
        for node, peer, end, (local, remote) in (
            (one, other, ends[0], ports),
            (other, one, ends[1], ports[::-1]),
        ):
            now = self.simulator.now
            flow = node.stack.connect(peer.address, remote, now, local_port=local, config=config)
            end.attach(flow)
        return ends

    def _plan(self, rng: Random, end: End) -> float:
        """Have an application act at random moments; returns how late the last of them is."""
        began = self.simulator.now
        length = rng.choice((0.01, 1.0, 10.0))
        actions = rng.choices(PLAIN, k=rng.randrange(8))
        if rng.random() < 0.3:
            actions.append(rng.choice(ENDS))
        when = 0.0
        for action in actions:
            when += skewed(rng, length)
            self.simulator.at(began + when, self._acting(end, action, int(skewed(rng, self.most))))
        return when

    @staticmethod
    def _acting(end: End, action: str, size: int) -> Callable[[], None]:
        return lambda: end.do(action, size)

    @staticmethod
    def _finishing(end: End) -> Callable[[], None]:
        """Whoever is still there reads to the end, and closes its half."""

        def finish() -> None:
            end.do("resume", 0)
            end.do("half-close", 0)

        return finish

    def _look(self, side: str, packet: bytes, now: float) -> float:
        """Look at each packet as it is on the wire, and keep it no longer than others."""
        if len(packet) > self.mtu:
            raise SoakError(f"{side} sent {len(packet)} octets over {self.mtu} at {now}")
        return 0.0

    def __call__(self) -> Outcome:
        """Run it.

        Raises:
            SoakError: a promise was broken.
            StuckError: it does not end.
        """
        simulator = self.simulator
        began = simulator.now
        simulator.run(limit=began + LONGEST)
        self._give_up()
        simulator.run(limit=began + 2 * LONGEST)
        for client, server in self.ends:
            self._check(client, server)
            self._check(server, client)
        if self.exchange is not None:
            self.exchange.check(*self.paths, drops=self.bottleneck is not None)
            self.exchange.close()
        for node in simulator.nodes:
            stack = node.stack
            if left := [str(flow.state) for flow in stack.demux.connections]:
                raise SoakError(f"left behind: {', '.join(left)}")
            if stack.deadline() is not None:
                raise SoakError("a timer is left")
            if held := stack.statistics()["fragment_memory_held"]:
                raise SoakError(f"{held} octets of fragments are left")
            dropped = {reason for reason in Reason if stack.counters[reason]}
            if wrong := sorted(dropped - self.allowed):
                raise SoakError(f"dropped: {', '.join(wrong)}")
        tally = Counter[str]()
        for name, times in self._tally():
            tally[name] += times
        return Outcome(simulator.digest, tally)

    def _give_up(self) -> None:
        """Whoever waits for a peer whose RST was lost waits for ever, and has to know himself."""
        for pair in self.ends:
            for end, peer in (pair, pair[::-1]):
                flow = end.application.flow
                if peer.left and flow is not None and flow.state is State.FIN_WAIT_2:
                    end.do("close", 0)

    def _check(self, end: End, peer: End) -> None:
        """What `end` has received of what `peer` sent."""
        mine, theirs = end.application, peer.application
        received = bytes(mine.received)
        if received != STREAM[: len(received)]:
            raise SoakError(f"{end.name} received what was not sent")
        if len(received) > theirs.sent:
            raise SoakError(f"{end.name} received {len(received)} octets of {theirs.sent}")
        if mine.ended and len(received) != theirs.sent:
            raise SoakError(f"{end.name} came to the end after {len(received)} of {theirs.sent}")
        if not end.left and not peer.left:
            if mine.error is not None:
                raise SoakError(f"{end.name}: {mine.error!r}, though nobody left")
            if not mine.ended or theirs.sent != peer.total:
                raise SoakError(f"{end.name}: {len(received)} of {peer.total}, and no end")
        elif not end.left and mine.flow is not None and not mine.ended and mine.error is None:
            raise SoakError(f"{end.name} was not told that {peer.name} left")

    def _tally(self) -> Iterator[tuple[str, int]]:
        simulator = self.simulator
        ends = [end for pair in self.ends for end in pair]
        applications = [end.application for end in ends]
        yield "events", simulator.events
        yield "virtual seconds", int(simulator.now)
        yield "connections", len(self.ends)
        yield "ends closed or aborted", sum(end.left for end in ends)
        yield "ends told of an error", sum(each.error is not None for each in applications)
        yield "octets delivered", sum(len(each.received) for each in applications)
        flows = [each.flow for each in applications if each.flow is not None]
        yield "segments sent again", sum(Tcb(flow).retransmissions for flow in flows)
        yield "recoveries undone", sum(Tcb(flow).undone for flow in flows)
        for node in simulator.nodes:
            counters = node.stack.counters
            yield "packets", node.stack.output.sent
            yield "packets marked", counters["congestion_marks"]
            yield "connections opened fast", counters["fast_open_active"]
            if self.fragmenter is not None or self.exchange is not None:
                yield "datagrams reassembled", counters["datagrams_reassembled"]
                yield "fragments timed out", counters["fragment_timeout"]
        if self.fragmenter is not None:
            yield "packets cut", self.fragmenter.cut
        if self.exchange is not None:
            yield from self.exchange.tally.items()
            yield "paths that corrupt", sum(path.corrupt > 0 for path in self.paths)


def soak(seed: int, family: Family = IPV4, kind: str = PLAIN_KIND) -> Counter[str]:
    """Run a seed, some of them twice.

    Raises:
        AssertionError: it failed.
    """
    outcome = Run(seed, family=family, kind=kind)()
    if seed % EVERY == 0:
        again = Run(seed, predict=False, family=family, kind=kind)()
        if again.digest != outcome.digest:
            raise SoakError("the second run sent other octets")
        outcome.tally["runs twice"] = 1
    return outcome.tally


def attempt(
    seed: int, family: str = IPV4.name, kind: str = PLAIN_KIND
) -> tuple[int, Counter[str] | None, str]:
    """Run a seed in a process of its own; returns it, its tally, and why it failed."""
    try:
        return seed, soak(seed, BY_NAME[family], kind), ""
    except Exception:
        return seed, None, traceback.format_exc()


def run_all(
    results: Iterable[tuple[int, Counter[str] | None, str]],
    runs: int,
    family: str = IPV4.name,
    kind: str = PLAIN_KIND,
) -> list[int]:
    """Take the results of many runs as they come, tell of them; return the seeds that failed."""
    began = told = monotonic()
    total: Counter[str] = Counter()
    failed = []
    for done, (seed, tally, why) in enumerate(results, 1):
        if tally is None:
            failed.append(seed)
            other = "" if family == IPV4.name else f" --family {family}"
            other += "" if kind == PLAIN_KIND else f" --kind {kind}"
            print(f"{why}seed {seed} failed: python -m tests.simulator.soak{other} --seed {seed}")
        else:
            total += tally
        if monotonic() - told > 10.0 or done == runs:
            told = monotonic()
            print(f"{done} of {runs} runs, {len(failed)} failed, {told - began:.0f} s", flush=True)
    for name, count in sorted(total.items()):
        print(f"{count:>15,} {name}")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=int, default=10_000, help="of each family and kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one alone, and let its error out")
    parser.add_argument("--family", choices=BY_NAME, help="this one alone")
    parser.add_argument("--kind", choices=KINDS, help="this one alone")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None:
        family, kind = options.family or IPV4.name, options.kind or PLAIN_KIND
        tally = soak(options.seed, BY_NAME[family], kind)
        print(", ".join(f"{count} {name}" for name, count in tally.items()))
        return
    seeds = range(options.first, options.first + options.runs)
    failed = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for family in [options.family] if options.family else BY_NAME:
            for kind in [options.kind] if options.kind else KINDS:
                print(f"{family}, {kind}")
                tried = partial(attempt, family=family, kind=kind)
                results = pool.imap_unordered(tried, seeds, 10)
                wrong = run_all(results, options.runs, family, kind)
                failed += [f"{family} {kind} {seed}" for seed in sorted(wrong)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
