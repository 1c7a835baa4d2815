"""What makes the load: the right program, and the right figure out of what it prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tunstack.bench import generators, ports
from tunstack.bench.generators import GeneratorError, read_ab, read_iperf, read_wrk
from tunstack.bench.load import AGENT, REQUEST, percentile
from tunstack.bench.ports import HTTP, SERVED, SINK, SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable

WRK = """\
Running 2s test @ http://198.51.100.2/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.38ms  212.30us   6.39ms   92.67%
    Req/Sec    11.65k   594.05    12.41k    85.00%
  23197 requests in 2.00s, 2.46MB read
Requests/sec:  11587.20
Transfer/sec:      1.23MB
"""

AB = """\
Concurrency Level:      16
Time taken for tests:   2.000 seconds
Complete requests:      3581
Failed requests:        0
Requests per second:    1790.39 [#/sec] (mean)
Time per request:       8.937 [ms] (mean)
"""


IPERF = """\
{"end": {
    "sum_sent": {"seconds": 2.0, "bytes": 300000000},
    "sum_received": {"seconds": 2.5, "bytes": 250000000},
    "cpu_utilization_percent": {"host_total": 40.0, "remote_total": 0}
}}
"""


def installed(*programs: str) -> Callable[[str], str | None]:
    return lambda program: f"/usr/bin/{program}" if program in programs else None


def test_wrk_tells_requests_a_second() -> None:
    assert read_wrk(WRK) == {"rate": 11587.2, "requests": 23197}


@pytest.mark.parametrize(
    "line",
    [
        "  Socket errors: connect 0, read 3, write 0, timeout 0",
        "  Non-2xx or 3xx responses: 7",
    ],
)
def test_what_wrk_complains_of_is_an_error(line: str) -> None:
    with pytest.raises(GeneratorError, match=line.strip()):
        read_wrk(f"{WRK}{line}\n")


def test_ab_tells_requests_a_second() -> None:
    assert read_ab(AB) == {"rate": 1790.39, "requests": 3581}


def test_requests_that_ab_failed_to_make_are_an_error() -> None:
    with pytest.raises(GeneratorError, match="12 requests failed"):
        read_ab(AB.replace("Failed requests:        0", "Failed requests:        12"))


def test_of_iperf3_what_was_received_counts_and_what_it_took_itself() -> None:
    assert read_iperf(IPERF) == {"octets": 250000000, "seconds": 2.5, "cpu": 1.0}


def test_what_iperf3_complains_of_is_an_error() -> None:
    with pytest.raises(GeneratorError, match="iperf3: unable to connect"):
        read_iperf('{"start": {}, "error": "unable to connect"}')


@pytest.mark.parametrize("printed", ["{}", "iperf3: unknown option"])
def test_nothing_from_iperf3_is_an_error(printed: str) -> None:
    with pytest.raises(GeneratorError, match="iperf3 printed no"):
        read_iperf(printed)


def test_iperf3_sends_or_is_sent_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", installed("iperf3"))
    to_us, from_us = (
        generators.bulk("198.51.100.2", 1.2, 8, to_us=to_us).command for to_us in (True, False)
    )
    assert {"-P8", "-t2"} <= set(to_us)
    assert [*to_us, "-R"] == from_us


@pytest.mark.parametrize(("to_us", "port"), [(True, SINK), (False, SOURCE)])
def test_bulk_goes_to_the_services_by_serve_tcp_if_wished(
    monkeypatch: pytest.MonkeyPatch, to_us: bool, port: int
) -> None:
    monkeypatch.setattr("shutil.which", installed("iperf3"))
    at = ("198.51.100.2", 1.0, 1)
    by_iperf = generators.bulk(*at, to_us=to_us, served=True).command
    assert by_iperf[by_iperf.index("-p") + 1] == str(SERVED[ports.IPERF])
    by_own = generators.bulk(*at, to_us=to_us, served=True, own=True).command
    assert by_own[-3] == str(SERVED[port])


def test_a_program_that_prints_no_figure_is_an_error() -> None:
    with pytest.raises(GeneratorError, match="wrk printed no requests/sec"):
        read_wrk("unable to connect")


def test_our_own_client_takes_the_place_of_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", installed("ab"))
    assert generators.programs() == {
        "bulk": "own client",
        "requests": "own client",
        "connections": "ab",
    }
    by_wrk = generators.requests("198.51.100.2", 2.0, 16)
    by_ab = generators.connections("198.51.100.2", 2.0, 16)
    assert (by_wrk.name, by_ab.name) == ("own client", "ab")
    assert by_wrk.command[0] == sys.executable
    assert by_wrk.command[-5:] == ["requests", "198.51.100.2", str(HTTP), "2.0", "16"]


def test_programs_that_count_in_whole_seconds_get_no_less_than_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", installed("wrk", "ab"))
    assert "-d2s" in generators.requests("198.51.100.2", 1.2, 16).command
    assert "-t2" in generators.connections("198.51.100.2", 1.2, 16).command


def test_our_own_clients_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", installed("wrk", "ab", "iperf3"))
    assert generators.bulk("198.51.100.2", 1.0, 1, to_us=True, own=True).name == "own client"
    assert generators.requests("198.51.100.2", 1.0, 1, own=True).name == "own client"
    assert generators.connections("198.51.100.2", 1.0, 1, own=True).name == "own client"


def test_our_own_client_counts_by_its_own_seconds() -> None:
    load = generators.requests("198.51.100.2", 1.0, 1, own=True)
    figures = load.read('{"requests": 300, "seconds": 1.5, "cpu": 0.5}')
    assert (figures["rate"], figures["cpu"]) == (200.0, 0.5)


def test_a_request_is_about_a_hundred_octets_whoever_makes_it() -> None:
    by_wrk = f"GET / HTTP/1.1\r\nHost: 198.51.100.2\r\nUser-Agent: {AGENT}\r\n\r\n"
    assert 90 <= len(by_wrk) <= 120
    assert 90 <= len(REQUEST) <= 120


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0), (0.0, 1.0)]
)
def test_a_percentile_is_the_value_of_the_nearest_rank(share: float, value: float) -> None:
    assert percentile([float(each) for each in range(1, 101)], share) == value
