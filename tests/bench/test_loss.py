"""The loss benchmark: what it runs, and what it makes of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
import trio

from tunstack.bench import loss
from tunstack.bench.loss import CONTENDERS, REFERENCE, Cell, Plan, Result, as_json, ratio, run_plan
from tunstack.bench.plot import draw, lossy_panels
from tunstack.bench.pool import TransferError, TransferPool, Worker, open_pool
from tunstack.bench.transfer import Outcome, Transfer
from tunstack.path.impair import Impairments

if TYPE_CHECKING:
    from trio.testing import MockClock

OURS = next(each for each in CONTENDERS if each.name == "tunstack")
FAST = Cell(rtt=0.02, loss=0.0, rate=50e6)
LOSSY = Cell(rtt=0.1, loss=0.01, rate=50e6)


def result(cell: Cell, contender: loss.Contender, *octets: int) -> Result:
    return Result(cell, contender, 8.0, [Outcome(each, {"out_lost": 1}) for each in octets])


def test_a_cell_is_a_path_with_a_queue_of_one_bandwidth_delay_product() -> None:
    assert LOSSY.impairments == Impairments(loss=0.01, delay=0.05, rate=50e6, limit=417)
    assert Impairments.parse(str(LOSSY.impairments)) == LOSSY.impairments
    assert Cell(rtt=0.0001, loss=0.0, rate=1e6).impairments.limit == 10


def test_what_reno_may_reach_falls_with_loss_and_time_and_ends_at_the_rate() -> None:
    assert FAST.expected == 50e6
    assert Cell(0.02, 1e-9, 50e6).expected == 50e6
    assert LOSSY.expected == pytest.approx(1.41e6, rel=0.01)
    assert Cell(0.1, 0.04, 50e6).expected == pytest.approx(LOSSY.expected / 2)


def test_a_plan_has_every_loss_at_every_time_and_the_same_seeds_for_all() -> None:
    plan = Plan(repeats=3)
    assert [(cell.rtt, cell.loss) for cell in plan.cells] == [
        *((0.02, each) for each in (0.0, 0.001, 0.01, 0.03)),
        *((0.1, each) for each in (0.0, 0.001, 0.01, 0.03)),
    ]
    assert list(plan.seeds(LOSSY)) == [1, 2, 3]
    assert list(plan.seeds(FAST)) == [1]  # there is nothing for chance to decide


def test_the_median_of_the_goodputs_counts_and_its_ratio_to_the_kernels_reno() -> None:
    results = [
        result(LOSSY, REFERENCE, 4_000_000, 1_000_000, 2_000_000),
        result(LOSSY, OURS, 3_000_000),
        result(FAST, OURS, 3_000_000),
    ]
    assert results[0].goodput == 2e6
    assert ratio(results, results[0]) == 1.0
    assert ratio(results, results[1]) == 1.5
    assert ratio(results, results[2]) is None


def test_every_figure_is_in_the_json() -> None:
    results = [result(LOSSY, REFERENCE, 2_000_000), result(LOSSY, OURS, 3_000_000, 1_000_000)]
    document = json.loads(as_json(Plan(), results))
    assert document["plan"]["losses"] == [0.0, 0.001, 0.01, 0.03]
    _, ours = document["results"]
    assert ours["name"] == "tunstack"
    assert (ours["rtt"], ours["loss"], ours["path"]) == (0.1, 0.01, str(LOSSY.impairments))
    assert ours["goodputs"] == [3e6, 1e6]
    assert (ours["goodput"], ours["ratio"]) == (2e6, 1.0)
    assert ours["outcomes"][0] == {
        "octets": 3_000_000,
        "path": {"out_lost": 1},
        "sender": {},
        "receiver": {},
        "early": 0,
    }


def test_what_was_lost_sent_again_and_came_twice_is_read_from_both_kinds_of_counters() -> None:
    ours = Outcome(
        1,
        {"out_lost": 5, "out_overflowed": 2, "in_lost": 9},
        {
            "retransmission_fast": 4,
            "retransmission_timeout": 3,
            "retransmission_tail_loss_probe": 1,
        },
        {"TcpExt.TCPDSACKOldSent": 2, "TcpExt.TCPDSACKOfoSent": 1, "Tcp.RetransSegs": 9},
    )
    assert (ours.lost, ours.retransmitted, ours.spurious, ours.timeouts) == (7, 8, 3, 3)
    theirs = Outcome(
        1, {}, {"Tcp.RetransSegs": 6, "TcpExt.TCPTimeouts": 1, "TcpExt.TCPDSACKRecv": 4}
    )
    assert (theirs.lost, theirs.retransmitted, theirs.spurious, theirs.timeouts) == (0, 6, 4, 1)


def test_the_plot_has_a_panel_for_each_time_and_a_line_for_each_contender() -> None:
    cells = [Cell(rtt, loss, 50e6) for rtt in (0.02, 0.1) for loss in (0.0, 0.01)]
    results = [
        result(cell, contender, 10**6 * (1 + number))
        for cell in cells
        for number, contender in enumerate((REFERENCE, OURS))
    ]
    first, second = lossy_panels(results)
    assert (first.title, second.title) == ("round-trip time 20 ms", "round-trip time 100 ms")
    for panel in (first, second):
        assert panel.columns == ["0 %", "1 %"]
        assert (panel.label, panel.unit) == ("loss in each direction", "Mbit/s")
        assert panel.lines == {
            "kernel reno": [(0, 1.0), (1, 1.0)],
            "tunstack": [(0, 2.0), (1, 2.0)],
        }
        assert panel.dashed == {"tunstack"}
        assert panel.limits == (1.0, 2.6)
        assert panel.logarithmic


def test_the_plot_says_what_it_shows_and_which_way_is_better() -> None:
    figure = draw([result(FAST, REFERENCE, 1_000_000)], "a machine, 2 cores")
    (part,) = figure.subfigs
    assert part.get_supxlabel() == "a machine, 2 cores"
    assert "more is better" in part.get_suptitle()
    assert "Dashed: tunstack" in part.get_suptitle()


def test_the_plot_of_one_figure_and_of_none_delivered_can_be_drawn() -> None:
    for octets, least in ((0, 0.01), (1_000_000, 1.0)):
        (panel,) = lossy_panels([result(FAST, REFERENCE, octets)])
        assert panel.limits[0] == least
        draw([result(FAST, REFERENCE, octets)])
    assert lossy_panels([]) == []


class TestCrew:
    """Who runs how much at a time."""

    @staticmethod
    async def begun(
        loads: list[float], size: int, most: float = 10.0
    ) -> list[tuple[float, int, float]]:
        """Begin transfers of a second; returns when each began, on which worker."""
        log = []
        async with trio.open_nursery() as nursery:
            workers: list[Worker] = [object() for _ in range(size)]  # type: ignore[misc]
            crew = TransferPool([*workers], most, nursery)
            for load in loads:

                async def run(worker: Worker, load: float = load) -> None:
                    log.append((trio.current_time(), workers.index(worker), load))
                    await trio.sleep(1)

                await crew.start(load, run)
        return log

    async def test_as_many_run_as_there_are_workers(self, autojump_clock: MockClock) -> None:
        log = await self.begun([1.0] * 5, size=2)
        assert [when for when, _, _ in log] == [0, 0, 1, 1, 2]
        assert {worker for _, worker, _ in log[:2]} == {0, 1}

    async def test_no_more_run_than_the_load_allows(self, autojump_clock: MockClock) -> None:
        log = await self.begun([6.0, 4.0, 4.0, 6.0], size=4)
        assert [when for when, _, _ in log] == [0, 0, 1, 1]

    async def test_what_is_too_much_has_the_crew_for_itself(
        self, autojump_clock: MockClock
    ) -> None:
        log = await self.begun([1.0, 99.0, 1.0], size=4)
        assert [when for when, _, _ in log] == [0, 1, 2]

    async def test_whoever_comes_first_goes_first(self, autojump_clock: MockClock) -> None:
        log = await self.begun([6.0, 5.0, 1.0], size=4)
        assert [load for _, _, load in log] == [6.0, 5.0, 1.0]


@pytest.fixture
def short_of_contenders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference, and one of ours each way."""
    names = ("kernel reno", "tunstack", "reno to tunstack")
    chosen = tuple(each for each in CONTENDERS if each.name in names)
    monkeypatch.setattr(loss, "CONTENDERS", chosen)
    monkeypatch.setattr(loss, "_MAX_TRANSFERS", 3)


@pytest.mark.kernel
@pytest.mark.usefixtures("short_of_contenders")
async def test_it_runs_and_all_contenders_deliver_something() -> None:
    done: list[float] = []
    plan = Plan(rtts=(0.002,), losses=(0.0, 0.02), rate=10e6, seconds=0.3, repeats=1)
    results = await run_plan(plan, done.append)
    assert [each.contender.name for each in results[:3]] == [
        "kernel reno",
        "tunstack",
        "reno to tunstack",
    ]
    assert len(results) == 6
    assert all(0 < each.goodput < 10e6 for each in results)
    assert all(each.outcomes[0].lost > 0 for each in results if each.cell.loss)
    assert all(each.outcomes[0].retransmitted > 0 for each in results if each.cell.loss)
    assert done == sorted(done)
    assert done[-1] == 1.0


@pytest.mark.kernel
async def test_a_transfer_that_fails_ends_it_all_and_says_why() -> None:
    transfer = Transfer(
        sender="kernel",
        receiver="kernel",
        congestion="reno",
        impair="loss=two",
        seed=1,
        seconds=1.0,
    )

    async def run(worker: Worker) -> None:
        await worker.run(transfer)

    with pytest.raises(TransferError, match="loss must be a percentage"):
        async with open_pool(1, 1.0) as crew:
            await crew.start(1.0, run)


async def test_a_process_that_ends_is_reported() -> None:
    async def run(worker: Worker) -> None:
        os.kill(worker._process.pid, 9)
        await worker.run(Transfer(**dict.fromkeys(Transfer.__slots__, 1)))  # type: ignore[arg-type]

    with pytest.raises(TransferError, match=r"the process of Transfer.* ended"):
        async with open_pool(1, 1.0) as crew:
            await crew.start(1.0, run)
