"""Profiles: what takes the time is found, named by its layer, and written for other tools."""

from __future__ import annotations

import pstats
import signal
import time
from collections import Counter
from pathlib import Path

import click
import pytest
import trio

from tests.compiled import is_compiled
from tunstack import bench
from tunstack.bench import server
from tunstack.bench.profiling import describe, profile
from tunstack.bench.sampling import Function, by_layer, fold, locate, own_time, sample, unfold
from tunstack.host import host
from tunstack.tcp.congestion import cubic

RUN = Function("trio", "_run", "run")
SEND = Function("tcp", "sender", "Sender.send")
WRITE = Function("link", "tun", "TunLink.send")
SAMPLES = Counter({(RUN,): 1, (RUN, SEND): 3, (RUN, SEND, WRITE): 4, (RUN, WRITE): 2})


@pytest.mark.parametrize(
    ("file", "layer", "module"),
    [
        (str(Path(cubic.__file__).with_name("cubic.py")), "tcp", "congestion.cubic"),
        (host.__file__, "host", "host"),
        (server.__file__, "program", "server"),
        (bench.__file__, "program", "__init__"),
        (trio.__file__, "trio", "__init__"),
        (click.core.__file__, "click", "core"),
        (pstats.__file__, "python", "pstats"),
        ("<string>", "python", "<string>"),
    ],
)
def test_functions_are_named_by_their_layer(file: str, layer: str, module: str) -> None:
    assert locate(file, "name") == Function(layer, module, "name")


def test_own_time_is_of_the_function_at_the_top_and_of_its_layer() -> None:
    assert own_time(SAMPLES) == {RUN: 1, SEND: 3, WRITE: 6}
    assert by_layer(SAMPLES) == {"trio": 1, "tcp": 3, "link": 6}


def test_folded_stacks_are_what_they_were_when_unfolded() -> None:
    odd = Function("tcp", "congestion.cubic", "Cubic.<locals>.<lambda>")
    samples = SAMPLES + Counter({(RUN, odd): 5})
    text = fold(samples)
    assert "trio/_run:run;tcp/sender:Sender.send 3\n" in text
    assert unfold(text.splitlines()) == samples


def test_the_tables_have_shares_of_the_whole_the_largest_first() -> None:
    lines = describe("bulk", SAMPLES).splitlines()
    assert lines[2:5] == ["  60.0%  link", "  30.0%  tcp", "  10.0%  trio"]
    assert lines[6] == "  60.0%  link/tun:TunLink.send"


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_what_takes_the_time_is_found_and_waiting_takes_none() -> None:
    before = signal.getsignal(signal.SIGPROF)
    with sample() as samples:
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)  # Only CPU time is sampled.
        spin(0.2)
        time.sleep(0.3)
    assert signal.getsignal(signal.SIGPROF) is before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    [(function, spent)] = own_time(samples).most_common(1)
    assert function.name == "spin"
    assert spent > 0.75 * sum(samples.values())


@pytest.mark.kernel
@pytest.mark.skipif(is_compiled(cubic.Cubic), reason="a profile has no functions that are compiled")
async def test_a_profile_of_the_server_is_mostly_ours(tmp_path: Path) -> None:
    ours = {"tcp", "wire", "link", "stack"}
    for seconds in (0.3, 3, 10):  # CPU time is sampled, of which a busy machine gives little.
        file = await profile("bulk-to-us", "tunstack", seconds, tmp_path)
        layers = by_layer(unfold(file.read_text().splitlines()))
        if ours <= set(layers):
            break
    assert ours <= set(layers)
    calls = pstats.Stats(str(tmp_path / "bulk-to-us.prof"))
    assert "handle_packet" in calls.get_stats_profile().func_profiles
