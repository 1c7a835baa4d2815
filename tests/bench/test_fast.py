"""The benchmark of fast paths: what it runs, and what it makes of it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from tunstack.bench import fast
from tunstack.bench.fast import CONTENDERS, FastCell, FastPlan, FastResult, figures, run_fast
from tunstack.bench.loss import Plan, as_json
from tunstack.bench.plot import fast_panels
from tunstack.bench.transfer import Outcome, Transfer, run_transfer
from tunstack.cli import main
from tunstack.path.impair import Impairments

if TYPE_CHECKING:
    from pathlib import Path

CELL = FastCell(rtt=0.1, rate=75e6)
OURS = next(each for each in CONTENDERS if each.name == "tunstack, offload")


def result(octets: int, early: int, cell: FastCell = CELL, window: int = 4 << 20) -> FastResult:
    return FastResult(cell, OURS, 2.0, window, [Outcome(octets, {}, early=early)])


def test_a_cell_is_a_path_with_a_queue_of_one_bandwidth_delay_product_in_octets() -> None:
    assert CELL.impairments == Impairments(delay=0.05, rate=75e6, limit_bytes=937_500)
    assert Impairments.parse(str(CELL.impairments)) == CELL.impairments
    assert FastCell(0.0001, 1e6).impairments.limit_bytes == 15_000


def test_a_plan_has_every_rate_with_every_time_with_offload_and_without() -> None:
    cells = FastPlan().cells
    assert [cell.rate for cell in cells] == [1e8, 1e8, 1e8, 1e9, 1e9, 1e9]
    assert [cell.rtt for cell in cells] == [0.02, 0.066, 0.2] * 2
    ways = {(each.sender, each.receiver, each.offload) for each in CONTENDERS}
    assert ways == {
        (sender, receiver, offload)
        for sender, receiver in (
            ("kernel", "kernel"),
            ("tunstack", "kernel"),
            ("kernel", "tunstack"),
        )
        for offload in (False, True)
    }


def test_what_came_early_does_not_count() -> None:
    assert result(11_000_000, 1_000_000).goodput == 40e6
    assert result(11_000_000, 1_000_000).share == pytest.approx(40e6 / 72.4e6)


def test_buffers_bound_what_a_long_path_carries() -> None:
    window = 4 << 20
    assert result(1, 0, FastCell(0.2, 1e9), window).bound == pytest.approx(0.168, rel=0.01)
    assert result(1, 0, FastCell(0.02, 1e9), window).bound == 1.0


def test_every_figure_is_in_the_json() -> None:
    results = [result(11_000_000, 1_000_000)]
    document = json.loads(as_json(Plan(), [], figures(FastPlan(), results)))
    assert document["results"] == []
    assert document["fast"]["plan"]["rates"] == [1e8, 1e9]
    (ours,) = document["fast"]["results"]
    assert (ours["name"], ours["offload"]) == ("tunstack, offload", True)
    assert (ours["rtt"], ours["rate"], ours["path"]) == (0.1, 75e6, str(CELL.impairments))
    assert (ours["goodput"], ours["window"]) == (40e6, 4 << 20)
    assert ours["outcomes"][0]["early"] == 1_000_000


def test_the_plot_has_a_panel_for_each_rate() -> None:
    cells = [FastCell(rtt, rate) for rate in (1e8, 1e9) for rtt in (0.02, 0.2)]
    results = [
        FastResult(cell, contender, 1.0, 1, [Outcome(int(cell.payload * share / 8), {})])
        for cell in cells
        for contender, share in ((OURS, 0.5), (CONTENDERS[0], 1.0))
    ]
    slow, quick = fast_panels(results)
    assert (slow.title, quick.title) == ("100 Mbit/s, no loss", "1000 Mbit/s, no loss")
    for panel in (slow, quick):
        assert (panel.columns, panel.unit) == (["20 ms", "200 ms"], "%")
        assert {*panel.lines} == {OURS.name, CONTENDERS[0].name}
        for name, share in ((OURS.name, 50), (CONTENDERS[0].name, 100)):
            assert [column for column, _ in panel.lines[name]] == [0, 1]
            assert [value for _, value in panel.lines[name]] == pytest.approx([share, share])
        assert panel.limits[0] == 0.0


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("sender", "receiver"),
    [("kernel", "kernel"), ("tunstack", "kernel"), ("kernel", "tunstack")],
)
async def test_a_lane_counts_apart_what_came_early(sender: str, receiver: str) -> None:
    transfer = Transfer(
        sender=sender,
        receiver=receiver,
        congestion="reno",
        impair="delay=1ms,rate=50mbit,limit=50kB",
        seed=1,
        seconds=0.6,
        skipped=0.3,
        offload=True,
    )
    outcome = await run_transfer(transfer)
    assert 0 < outcome.early < outcome.octets
    assert outcome.path["out_delivered_bytes"] > outcome.octets


@pytest.mark.kernel
async def test_it_runs_and_all_contenders_deliver_something() -> None:
    done: list[float] = []
    plan = FastPlan(rates=(20e6,), rtts=(0.002,), seconds=0.3)
    results = await run_fast(plan, done.append)
    ran = [each.contender for each in results]
    assert ran == [each for each in CONTENDERS if each in ran]
    assert OURS in ran
    assert all(each.share > 0 for each in results)
    assert done == sorted(done)
    assert done[-1] == 1.0


@pytest.mark.kernel
def test_the_command_shows_both_tables_and_what_bounds_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fast, "CONTENDERS", (OURS,))
    monkeypatch.setattr(fast, "QUICK", FastPlan(rates=(1e9,), rtts=(0.01, 0.2), seconds=1.0))
    file, image = tmp_path / "x.json", tmp_path / "x.svg"
    options = ["--quick", "--only", "fast", "--seconds", "1"]
    assert main(["bench-loss", *options, "--json", str(file), "--plot", str(image)]) == 0
    output = capsys.readouterr().out
    assert re.search(r"1 Gbit/s: goodput in %", output)
    assert re.search(r"tunstack, offload +[\d.]+ +[\d.]+ *\n", output)
    assert re.search(
        r"tunstack to kernel: [\d.]+ MiB, at 1 Gbit/s and 200 ms at most 1\d %", output
    )
    assert "10 ms at most" not in output
    assert "in kernel Reno's" not in output
    assert len(json.loads(file.read_text())["fast"]["results"]) == 2
    ET.parse(image)
