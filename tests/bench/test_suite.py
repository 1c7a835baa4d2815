"""The suite: what it runs, in which order, and that it runs."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tunstack import cli
from tunstack.bench import generators, groups, suite
from tunstack.bench.cases import GROUPS, Plan
from tunstack.bench.generators import GeneratorError
from tunstack.bench.ports import ECHO, HOLD, PROTOCOL, SERVED
from tunstack.bench.running import BACKENDS, HELD_PORTS, open_server
from tunstack.bench.server import SERVICES
from tunstack.bench.suite import run_suite
from tunstack.deploy.namespace import open_namespace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tunstack.bench.suite import Progress

LEAST = Plan(pairs=1, seconds=0.1, idle=(2, 5), held=50, crowd=20, own=True)

SLOWER = {
    "iperf3": ["--bitrate", "16M"],
    "wrk": ["--script", str(Path(__file__).with_name("slow.lua"))],
    "ab": ["-n", "100"],
}
"""What keeps a program from taking all it can get of the processor for the second that it runs."""


def slowed(load: generators.Generator) -> generators.Generator:
    """The same program with the same options, but fewer octets or requests."""
    program, *options = load.command
    return replace(load, command=[program, *options[:-1], *SLOWER[program], options[-1]])


def test_every_group_has_its_name() -> None:
    assert tuple(GROUPS) == groups.NAMES


def test_what_is_usual_is_all_but_the_crowd() -> None:
    assert set(GROUPS) - set(groups.DEFAULT) == {"crowd"}


@pytest.mark.parametrize("name", GROUPS)
def test_every_row_of_a_group_has_its_own_name(name: str) -> None:
    names = [row.name for row in GROUPS[name](Plan()).rows]
    assert len(names) == len(set(names)) > 0


def test_every_target_of_the_issue_is_on_its_row() -> None:
    rows = [row for name in GROUPS for row in GROUPS[name](Plan()).rows]
    assert {row.name: str(row.target) for row in rows if row.target} == {
        "bulk to us, 1 connection": ">= 0.5",
        "bulk to us, times --no-offload": "ours >= 5",
        "bulk from us, 1 connection": ">= 0.5",
        "bulk from us, times --no-offload": "ours >= 5",
        "requests, 1 connection": ">= 0.6",
        "requests, 16 connections": ">= 0.7",
        "requests, 64 connections": ">= 0.7",
        "connections, one request each": ">= 1",
        "serve_tcp requests, 1 connection": ">= 0.95",
        "serve_tcp requests, 16 connections": ">= 0.95",
        "serve_tcp requests, 64 connections": ">= 0.95",
        "serve_tcp connections": ">= 0.75",
        "protocol requests, 16 connections, beside trio": ">= 1.5",
        "protocol requests, 64 connections, beside trio": ">= 1.5",
        "protocol connections, beside trio": ">= 1",
        "round trip, p50": "<= 1.5",
        "UDP echoes, 64 on their way": ">= 1",
        "TLS bulk to us, 1 connection": ">= 0.9",
        "TLS bulk from us, 1 connection": ">= 0.9",
        "HTTPS requests, 1 connection": ">= 0.9",
        "HTTPS requests, 16 connections": ">= 0.9",
        "memory per idle connection, stack alone": "ours <= 8",
        "what 10,000 idle leave of 10's": "ours >= 0.9",
        "what 50,000 idle leave": "ours >= 0.9",
        **{
            f"{kind}, IPv6 of IPv4": "ours >= 0.95"
            for kind in (
                "bulk to us",
                "bulk from us",
                "requests, 1 connection",
                "requests, 16 connections",
                "connections, one request each",
            )
        },
    }


def test_without_offload_there_is_nothing_to_compare_that_with() -> None:
    names = [row.name for row in GROUPS["bulk"](Plan(offload=False)).rows]
    assert "bulk to us, 1 connection" in names
    assert not [name for name in names if "--no-offload" in name]


def test_a_crowd_has_ports_for_its_clients() -> None:
    assert len(HELD_PORTS) >= Plan().crowd
    assert not {HOLD, *SERVICES, *SERVED.values()} & set(HELD_PORTS)


def test_each_service_has_a_port_of_its_own() -> None:
    ports = [HOLD, PROTOCOL, *SERVICES, *SERVED.values()]
    assert len(ports) == len(set(ports))


class FakeServer:
    """Answers loads without running any."""

    def __init__(self, backend: str, number: int, log: list[str]) -> None:
        self.address = f"{backend} {number}"
        self.options: Sequence[str] = ()
        self._log = log
        self.idle = 0

    async def load(self, generator: generators.Generator) -> dict[str, float]:
        await trio.lowlevel.checkpoint()
        *_, what, address, _port, seconds, connections = generator.command
        self._log.append(f"{what} {connections} {address} {self.idle} {seconds}")
        rate = 100.0 if "tunstack" in address else 200.0
        octets = 1e9 if "--no-offload" in self.options else 6e9
        return {"rate": rate, "octets": octets, "seconds": 8.0, "cpu": 1.0, "server_cpu": 3.0}

    @asynccontextmanager
    async def holding(self, port: int, amount: int) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        self.idle = amount
        yield


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ran on fakes."""
    done: list[str] = []

    class Namespace:
        def sysctl(self, name: str, value: object) -> None: ...

    @asynccontextmanager
    async def no_namespace() -> AsyncIterator[Namespace]:
        yield Namespace()

    @asynccontextmanager
    async def no_server(
        namespace: Namespace,
        backend: str,
        number: int,
        *,
        ipv6: bool,
        connections: int,
        options: Sequence[str],
    ) -> AsyncIterator[FakeServer]:
        server = FakeServer(backend, number, done)
        server.options = options
        done.extend(f"{backend} {number} {option}" for option in options)
        yield server

    monkeypatch.setattr(suite, "open_namespace", no_namespace)
    monkeypatch.setattr(suite, "open_server", no_server)
    return done


async def test_lanes_take_turns_after_a_run_of_each_to_warm_up(log: list[str]) -> None:
    steps: list[tuple[str, int, int]] = []

    def progress(state: Progress) -> None:
        steps.append((state.what, state.done, state.total))

    results = await run_suite(replace(LEAST, pairs=2, seconds=9.0), ("connections",), progress)
    assert log == [
        "connections 16 tunstack 0 0 0.5",
        "connections 16 kernel 0 0 0.5",
        *["connections 16 tunstack 0 0 9.0", "connections 16 kernel 0 0 9.0"] * 2,
    ]
    [row] = results
    assert row.figures == {"tunstack": [100.0, 100.0], "kernel": [200.0, 200.0]}
    assert row.met is False
    assert [done for _, done, _ in steps] == list(range(8))
    assert {total for _, _, total in steps} == {8}
    assert steps[-1][0] == "connections, one request each: kernel, 2 of 2"


async def test_each_number_of_idle_connections_has_a_server_of_its_own(log: list[str]) -> None:
    results = await run_suite(LEAST, ("idle",), lambda _: None)
    assert log[4:] == [
        "requests 16 tunstack 0 2 0.1",
        "requests 16 kernel 0 2 0.1",
        "requests 16 tunstack 1 5 0.1",
        "requests 16 kernel 1 5 0.1",
    ]
    assert results[-1].row.name == "what 5 idle leave of 2's"
    assert (results[-1].median("tunstack"), results[-1].met) == (1.0, True)


async def test_tunstack_without_offload_takes_its_turn_where_one_connection_is_measured(
    log: list[str],
) -> None:
    results = {each.row.name: each for each in await run_suite(LEAST, ("bulk",), lambda _: None)}
    assert log[0] == "tunstack 1 --no-offload"
    assert log[-10:] == [
        f"{what} {connections} {server} 0 0.1"
        for what in ("send", "receive")
        for connections, server in (
            *((1, server) for server in ("tunstack 0", "kernel 0", "tunstack 1")),
            *((8, server) for server in ("tunstack 0", "kernel 0")),
        )
    ]
    for way in ("to us", "from us"):
        times = results[f"bulk {way}, times --no-offload"]
        assert (times.figures, times.met) == ({"tunstack": [6.0], "kernel": []}, True)
    assert results["bulk to us, --no-offload"].figures == {"tunstack": [1000.0], "kernel": []}
    assert results["CPU to us, server"].figures == {"tunstack": [0.5], "kernel": [0.5]}


@pytest.mark.parametrize(("name", "servers"), [("connections", 1), ("idle", 2), ("bulk", 1)])
async def test_tunstack_goes_without_offload_everywhere_if_so_wished(
    name: str, servers: int, log: list[str]
) -> None:
    await run_suite(replace(LEAST, offload=False), (name,), lambda _: None)
    options = [line for line in log if line.endswith("--no-offload")]
    assert options == [f"tunstack {number} --no-offload" for number in range(servers)]


async def test_where_the_kernel_may_not_open_as_many_files_tunstack_is_measured_alone(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    results = await run_suite(replace(LEAST, crowd=4000), ("crowd",), lambda _: None)
    assert all("tunstack" in line for line in log)
    assert [each.figures["kernel"] for each in results] == [[], [], []]
    assert results[-1].met is True


@pytest.mark.kernel
async def test_it_runs_and_every_row_has_a_figure_in_both_lanes() -> None:
    names = ("bulk", "requests", "connections", "serve_tcp", "memory", "ipv6")
    results = await run_suite(replace(LEAST, seconds=0.05), names, lambda _: None)
    wanted = [row.name for name in names for row in GROUPS[name](LEAST).rows]
    assert [each.row.name for each in results] == wanted
    for each in results:
        if "memory" not in each.row.name:  # So few connections may fit into what there is.
            backends = ("tunstack",) if "--no-offload" in each.row.name else BACKENDS
            assert all(each.figures[backend][0] > 0 for backend in backends)


@pytest.mark.kernel
@pytest.mark.parametrize("backend", ["tunstack", "kernel"])
class TestServer:
    """One server, in its own process."""

    async def test_it_counts_what_it_accepts_and_tells_its_usage(self, backend: str) -> None:
        async with open_namespace() as namespace, open_server(namespace, backend, 3) as server:
            async with server.holding(HOLD, 7), server.holding(ECHO, 3):
                usage = await server.usage()
            assert usage["accepted"] == 10
            assert usage["cpu"] > 0
            assert usage["memory"] > 1 << 20

    async def test_a_load_that_fails_is_reported(self, backend: str) -> None:
        async with open_namespace() as namespace, open_server(namespace, backend) as server:
            nobody_there = generators.hold(server.address, max(SERVICES) + 1, 2000, 1)
            with pytest.raises(
                GeneratorError, match=rf"own client over {backend}: Connection.*refus"
            ):
                await server.load(nobody_there)

    @pytest.mark.parametrize("to_us", [True, False])
    async def test_iperf3_understands_it(
        self, backend: str, to_us: bool, require_tool: Callable[[str], str]
    ) -> None:
        require_tool("iperf3")
        async with open_namespace() as namespace, open_server(namespace, backend) as server:
            load = generators.bulk(server.address, 1.0, 3, to_us=to_us)
            assert load.name == "iperf3"
            figures = await server.load(slowed(load))
            assert figures["octets"] > 1 << 20
            assert figures["cpu"] > 0

    @pytest.mark.parametrize("program", ["wrk", "ab"])
    async def test_other_programs_understand_its_answers(
        self, backend: str, program: str, require_tool: Callable[[str], str]
    ) -> None:
        require_tool(program)
        make = generators.requests if program == "wrk" else generators.connections
        async with open_namespace() as namespace, open_server(namespace, backend) as server:
            load = make(server.address, 1.0, 2)
            assert load.name == program
            assert (await server.load(slowed(load)))["rate"] > 0


@pytest.mark.kernel
def test_the_command_prints_a_table_and_writes_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, image = tmp_path / "bench.json", tmp_path / "bench.svg"
    command = ["bench", "--only", "roundtrip", "--pairs", "1", "--seconds", "0.1", "--own-clients"]
    command.append("--no-offload")
    assert cli.main([*command, "--json", str(data), "--plot", str(image)]) == 0
    printed = capsys.readouterr().out
    assert "| round trip, p50 |" in printed
    assert "kernel sockets" in printed
    document = json.loads(data.read_text())
    assert [row["name"] for row in document["results"]] == ["round trip, p50", "round trip, p99"]
    assert (document["pairs"], document["offload"]) == (1, False)
    assert "<title>tunstack beside kernel sockets</title>" in image.read_text()
