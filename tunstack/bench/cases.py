"""The suite's measurements: groups of cases that run alternately, and their rows."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeAlias

from tunstack.bench import generators
from tunstack.bench.ports import HOLD, HTTP, PROTOCOL, SERVED
from tunstack.bench.rows import Row, Target
from tunstack.bench.running import BACKENDS, MARGIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tunstack.bench.generators import Generator
    from tunstack.bench.running import Server

    Measure: TypeAlias = Callable[["Server", "Plan"], Awaitable[dict[str, float]]]

_OCTETS_PER_MEGABIT: Final = 1e6 / 8
_CONCURRENCY: Final = 16
"""Connections that are open at a time while connections per second are measured."""
_BUSY: Final = 16
"""Busy connections among the idle ones."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Plan:
    """Repetitions and durations.

    Attributes:
        pairs: Runs that count, over each backend.
        seconds: Of each run.
        idle: Numbers of idle connections beside the busy ones.
        held: The number of connections with which memory is measured.
        crowd: The number of idle connections of the group ``crowd``.
        own: Whether to use only our own load generators.
        offload: Whether tunstack uses offload, where it is available.
    """

    pairs: int = 5
    seconds: float = 2.0
    idle: tuple[int, ...] = (10, 1000, 10_000)
    held: int = 10_000
    crowd: int = 50_000
    own: bool = False
    offload: bool = True


QUICK: Final = Plan(pairs=2, seconds=1.0, idle=(10, 1000), held=1000, crowd=10_000)
"""About a minute."""


@dataclass(slots=True, frozen=True)
class Case:
    """One measurement.

    Attributes:
        name: For the progress line.
        measure: Runs it against a server.
        idle: The number of idle connections that are held open meanwhile.
        alone: Whether it needs a fresh server, and is therefore run only once.
        plain: Whether it measures tunstack without offload only.
        tls: Whether the server serves over TLS as well.
        ipv6: Whether it goes over IPv6.
        uvloop: Whether what serves over kernel sockets is asyncio on uvloop.
    """

    name: str
    measure: Measure
    idle: int = 0
    alone: bool = False
    plain: bool = False
    tls: bool = False
    ipv6: bool = False
    uvloop: bool = False

    @property
    def place(self) -> str | int:
        """The key of the server it needs, shared by cases that may use the same server."""
        if self.plain:
            return "--no-offload"
        if self.tls:
            return "--tls"
        if self.ipv6:
            return "IPv6"
        if self.uvloop:
            return "uvloop"
        return self.name if self.alone else self.idle


@dataclass(slots=True, frozen=True)
class Group:
    """Cases that are measured alternately, their rows, and the backends."""

    cases: tuple[Case, ...]
    rows: tuple[Row, ...]
    backends: tuple[str, ...] = BACKENDS

    def backends_of(self, case: Case) -> tuple[str, ...]:
        """The backends over which a case is run, alternately."""
        return ("tunstack",) if case.plain else self.backends


def _bulk(plan: Plan) -> Group:
    cases, rows = [], []
    compared: list[Row] = []
    for way in ("to us", "from us"):
        for connections in (1, 8):
            name = f"bulk {way}, {_count(connections)}"
            one = connections == 1
            run = partial(_measure_bulk, name, way, connections=connections, cpu=one)
            cases.append(Case(name, run))
            target = Target("ratio", ">=", 0.5) if one else None
            rows.append(Row(name, "Mbit/s", target))
            if one and plan.offload:
                plain = f"bulk {way}, --no-offload"
                run = partial(_measure_bulk, plain, way, connections=1, cpu=False)
                cases.append(Case(plain, run, plain=True))
                compared += _against_plain(f"bulk {way}, times --no-offload", name, plain)
    rows += compared
    for way in ("to us", "from us"):
        rows.append(Row(f"CPU {way}, server", "s/GB"))
        rows.append(Row(f"CPU {way}, server and client", "s/GB"))
    return Group(tuple(cases), tuple(rows))


def _against_plain(name: str, offloaded: str, plain: str) -> tuple[Row, Row]:
    """The row without offload, and the row of the ratio with to without."""
    times = Row(name, "", Target("ours", ">=", 5.0), share=(offloaded, plain), compared=False)
    return Row(plain, "Mbit/s", compared=False), times


async def _measure_bulk(
    name: str,
    way: str,
    server: Server,
    plan: Plan,
    *,
    connections: int,
    cpu: bool,
    served: bool = False,
) -> dict[str, float]:
    at, to_us = (server.address, plan.seconds, connections), way == "to us"
    load = generators.bulk(*at, to_us=to_us, own=plan.own, served=served)
    figures = await server.load(load)
    found = {name: figures["octets"] / figures["seconds"] / _OCTETS_PER_MEGABIT}
    if cpu:
        gigabytes = figures["octets"] / 1e9
        found[f"CPU {way}, server"] = figures["server_cpu"] / gigabytes
        both = figures["server_cpu"] + figures["cpu"]
        found[f"CPU {way}, server and client"] = both / gigabytes
    return found


def _requests(_: Plan) -> Group:
    cases, rows = [], []
    for connections, bound in ((1, 0.6), (16, 0.7), (64, 0.7)):
        name = f"requests, {_count(connections)}"
        cases.append(Case(name, partial(_measure_requests, name, connections)))
        rows.append(Row(name, "/s", Target("ratio", ">=", bound)))
    return Group(tuple(cases), tuple(rows))


async def _measure_requests(
    name: str, connections: int, server: Server, plan: Plan
) -> dict[str, float]:
    load = generators.requests(server.address, plan.seconds, connections, own=plan.own)
    return await _rate(name, load, server)


async def _rate(name: str, load: Generator, server: Server) -> dict[str, float]:
    return {name: (await server.load(load))["rate"]}


def _connections(_: Plan) -> Group:
    name = "connections, one request each"
    return Group(
        (Case(name, _connections_of(name)),), (Row(name, "/s", Target("ratio", ">=", 1.0)),)
    )


async def _measure_connections(name: str, server: Server, plan: Plan) -> dict[str, float]:
    load = generators.connections(server.address, plan.seconds, _CONCURRENCY, own=plan.own)
    return await _rate(name, load, server)


def _serve_tcp(_: Plan) -> Group:
    """`Host.serve_tcp` beside `trio.serve_tcp` over kernel sockets: each the short way to serve."""
    cases, rows = [], []
    for connections in (1, 16, 64):
        name = f"serve_tcp requests, {_count(connections)}"
        cases.append(Case(name, partial(_measure_each, name, connections, SERVED[HTTP])))
        rows += [Row(name, "/s", Target("ratio", ">=", 0.95)), Row(_cpu_of(name), "µs")]
    name = "serve_tcp connections"
    cases.append(Case(name, partial(_measure_each, name, 0, SERVED[HTTP])))
    rows += [Row(name, "/s", Target("ratio", ">=", 0.75)), Row(_cpu_of(name), "µs")]
    for way in ("to us", "from us"):
        name = f"serve_tcp bulk {way}, 1 connection"
        run = partial(_measure_bulk, name, way, connections=1, cpu=False, served=True)
        cases.append(Case(name, run))
        rows.append(Row(name, "Mbit/s"))
    return Group(tuple(cases), tuple(rows))


def _protocol(_: Plan) -> Group:
    """HTTP by callbacks on our side: beside trio over kernel sockets, and asyncio on uvloop."""
    cases, rows = [], []
    for beside in ("trio", "uvloop"):
        if beside == "uvloop" and find_spec("uvloop") is None:
            continue
        for connections in (1, 16, 64):
            name = f"protocol requests, {_count(connections)}, beside {beside}"
            target = Target("ratio", ">=", 1.5) if (beside, connections > 1) == _AIMED_AT else None
            run = partial(_measure_protocol, name, connections)
            cases.append(Case(name, run, uvloop=beside == "uvloop"))
            rows += [Row(name, "/s", target), Row(_cpu_of(name), "µs")]
        name = f"protocol connections, beside {beside}"
        target = Target("ratio", ">=", 1.0) if beside == "trio" else None
        run = partial(_measure_protocol, name, 0)
        cases.append(Case(name, run, uvloop=beside == "uvloop"))
        rows += [Row(name, "/s", target), Row(_cpu_of(name), "µs")]
    return Group(tuple(cases), tuple(rows))


_AIMED_AT: Final = ("trio", True)
"""Beside what requests have a target, and whether there are several connections."""


def _cpu_of(name: str) -> str:
    return f"CPU each, {name}"


async def _measure_protocol(
    name: str, connections: int, server: Server, plan: Plan
) -> dict[str, float]:
    port = PROTOCOL if server.backend == "tunstack" else HTTP
    return await _measure_each(name, connections, port, server, plan)


async def _measure_each(
    name: str, connections: int, port: int, server: Server, plan: Plan
) -> dict[str, float]:
    """Requests on so many connections, and the CPU of each; with 0, connections with a request."""
    at, own = (server.address, plan.seconds), plan.own
    if connections:
        load = generators.requests(*at, connections, own=own, port=port)
    else:
        load = generators.connections(*at, _CONCURRENCY, own=own, port=port)
    figures = await server.load(load)
    each = figures["server_cpu"] / max(1.0, figures["requests"])
    return {name: figures["rate"], _cpu_of(name): each * 1e6}


def _roundtrip(_: Plan) -> Group:
    names = {"p50": "round trip, p50", "p99": "round trip, p99"}

    async def measure(server: Server, plan: Plan) -> dict[str, float]:
        figures = await server.load(generators.echoes(server.address, plan.seconds))
        return {name: figures[key] * 1e6 for key, name in names.items()}

    rows = (
        Row(names["p50"], "µs", Target("ratio", "<=", 1.5)),
        Row(names["p99"], "µs"),
    )
    return Group((Case("round trip", measure),), rows)


def _ipv6(_: Plan) -> Group:
    """What IPv6 does of IPv4: the same over both, alternately."""
    kinds: dict[str, tuple[str, Callable[[str], Measure]]] = {
        "bulk to us": ("Mbit/s", _bulk_of("to us")),
        "bulk from us": ("Mbit/s", _bulk_of("from us")),
        "requests, 1 connection": ("/s", _requests_of(1)),
        "requests, 16 connections": ("/s", _requests_of(16)),
        "connections, one request each": ("/s", _connections_of),
    }
    cases, rows = [], []
    for kind, (unit, measure_as) in kinds.items():
        ipv4, ipv6 = f"{kind}, IPv4", f"{kind}, IPv6"
        cases.append(Case(ipv4, measure_as(ipv4)))
        cases.append(Case(ipv6, measure_as(ipv6), ipv6=True))
        rows.append(Row(ipv4, unit))
        rows.append(Row(ipv6, unit))
        target = Target("ours", ">=", 0.95)
        rows.append(Row(f"{kind}, IPv6 of IPv4", "", target, share=(ipv6, ipv4)))
    return Group(tuple(cases), tuple(rows))


def _bulk_of(way: str) -> Callable[[str], Measure]:
    return lambda name: partial(_measure_bulk, name, way, connections=1, cpu=False)


def _requests_of(connections: int) -> Callable[[str], Measure]:
    return lambda name: partial(_measure_requests, name, connections)


def _connections_of(name: str) -> Measure:
    return partial(_measure_connections, name)


def _udp(_: Plan) -> Group:
    """Echoes of datagrams, as many on their way as every socket's buffers have room for."""
    cases, rows = [], []
    for window, target in ((1, None), (64, Target("ratio", ">=", 1.0))):
        name = f"UDP echoes, {window} on their way"
        cases.append(Case(name, partial(_measure_datagrams, name, window)))
        rows.append(Row(name, "/s", target))
    return Group(tuple(cases), tuple(rows))


async def _measure_datagrams(
    name: str, window: int, server: Server, plan: Plan
) -> dict[str, float]:
    return await _rate(name, generators.datagrams(server.address, plan.seconds, window), server)


def _tls(_: Plan) -> Group:
    """TLS: `trio.SSLStream` over both, and our HTTPS beside hypercorn's own server."""
    cases, rows = [], []
    for way in ("to us", "from us"):
        name = f"TLS bulk {way}, 1 connection"
        cases.append(Case(name, partial(_measure_tls_bulk, name, way), tls=True))
        rows.append(Row(name, "Mbit/s", Target("ratio", ">=", 0.9)))
    for connections in (1, 16):
        name = f"HTTPS requests, {_count(connections)}"
        cases.append(Case(name, partial(_measure_https, name, connections), tls=True))
        rows.append(Row(name, "/s", Target("ratio", ">=", 0.9)))
    return Group(tuple(cases), tuple(rows))


async def _measure_tls_bulk(name: str, way: str, server: Server, plan: Plan) -> dict[str, float]:
    load = generators.tls_bulk(server.address, plan.seconds, to_us=way == "to us")
    figures = await server.load(load)
    return {name: figures["octets"] / figures["seconds"] / _OCTETS_PER_MEGABIT}


async def _measure_https(
    name: str, connections: int, server: Server, plan: Plan
) -> dict[str, float]:
    load = generators.https_requests(server.address, plan.seconds, connections, own=plan.own)
    return await _rate(name, load, server)


def _memory(plan: Plan) -> Group:
    """Memory of the server's process, which does not include the kernel's own for its sockets."""
    cases, rows = [], []
    for port, what, target in (
        (HOLD, "stack alone", Target("ours", "<=", 8.0)),
        (HTTP, "with a task each", None),
    ):
        name = f"memory per idle connection, {what}"
        cases.append(Case(name, partial(_measure_memory, name, port), alone=True))
        rows.append(Row(name, "KiB", target, compared=False))
    return Group(tuple(cases), tuple(rows))


async def _measure_memory(name: str, port: int, server: Server, plan: Plan) -> dict[str, float]:
    # The first connections allocate what all share.
    async with server.holding(port, plan.held // 50):
        before = (await server.usage())["memory"]
        async with server.holding(port, plan.held):
            after = (await server.usage())["memory"]
    return {name: (after - before) / plan.held / 1024}


def _idle(plan: Plan) -> Group:
    names = {idle: f"requests, {_BUSY} busy among {idle:,} idle" for idle in plan.idle}
    cases = [
        Case(name, partial(_measure_requests, name, _BUSY), idle) for idle, name in names.items()
    ]
    least, most = names[plan.idle[0]], names[plan.idle[-1]]
    share = Row(
        f"what {plan.idle[-1]:,} idle leave of {plan.idle[0]:,}'s",
        "",
        Target("ours", ">=", 0.9),
        share=(most, least),
        compared=False,
    )
    return Group(tuple(cases), (*(Row(name, "/s") for name in names.values()), share))


def _crowd(plan: Plan) -> Group:
    """One busy connection beside many idle ones, which take no descriptors in tunstack."""
    names = {idle: f"requests, one more than {idle:,} idle" for idle in (10, plan.crowd)}
    cases = [Case(name, partial(_measure_requests, name, 1), idle) for idle, name in names.items()]
    few, many = names.values()
    target = Target("ours", ">=", 0.9)
    share = Row(f"what {plan.crowd:,} idle leave", "", target, share=(many, few), compared=False)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    backends = BACKENDS if most_files > plan.crowd + MARGIN else ("tunstack",)
    return Group(tuple(cases), (Row(few, "/s"), Row(many, "/s"), share), backends)


GROUPS: Final = {
    "bulk": _bulk,
    "requests": _requests,
    "connections": _connections,
    "serve_tcp": _serve_tcp,
    "protocol": _protocol,
    "roundtrip": _roundtrip,
    "udp": _udp,
    "tls": _tls,
    "ipv6": _ipv6,
    "memory": _memory,
    "idle": _idle,
    "crowd": _crowd,
}
"""By the name for ``--only``, as :mod:`~tunstack.bench.groups` has them."""


def _count(connections: int) -> str:
    return f"{connections} connection{'s' if connections > 1 else ''}"
