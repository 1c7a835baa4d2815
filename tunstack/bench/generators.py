"""Load generators: wrk, ab and iperf3 where they are installed, otherwise our own clients.

Each function returns a command and the parser of its output.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tunstack.bench.load import AGENT
from tunstack.bench.ports import (
    ECHO,
    HTTP,
    HTTPS,
    IPERF,
    SERVED,
    SINK,
    SOURCE,
    TLS_SINK,
    TLS_SOURCE,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_LOAD: Final = Path(__file__).with_name("load.py")
_MAX_REQUESTS: Final = 1_000_000
"""ab's -n: more requests than it can send in its time."""


class GeneratorError(Exception):
    """A load generator failed; the message says why."""


@dataclass(slots=True, frozen=True)
class Generator:
    """A load generator.

    Attributes:
        command: To run where the server can be reached.
        read: Parses its output: ``rate`` in requests per second and how many ``requests``,
            ``octets`` and ``seconds``, ``p50`` and ``p99`` in seconds, ``cpu`` in seconds if it is
            reported.
    """

    command: list[str]
    read: Callable[[str], dict[str, float]]

    @property
    def name(self) -> str:
        """The program's name."""
        return "own client" if self.command[0] == sys.executable else self.command[0]


def programs(*, own: bool = False) -> dict[str, str]:
    """Return the program that generates each kind of load on this machine."""
    loads = {
        "bulk": bulk("", 1, 1, to_us=True, own=own),
        "requests": requests("", 1, 1, own=own),
        "connections": connections("", 1, 1, own=own),
    }
    return {what: load.name for what, load in loads.items()}


def bulk(
    address: str,
    seconds: float,
    connections: int,
    *,
    to_us: bool,
    own: bool = False,
    served: bool = False,
) -> Generator:
    """Bulk transfer, to the server or from it, by iperf3 if it is installed.

    With `served` it is that of the services by `serve_tcp`.
    """
    if not own and shutil.which("iperf3") is not None:
        port = SERVED[IPERF] if served else IPERF
        command = ["iperf3", "-J", "-c", address, "-p", str(port)]
        command += [f"-t{math.ceil(seconds)}", f"-P{connections}", *([] if to_us else ["-R"])]
        return Generator(command, read_iperf)
    what, port = ("send", SINK) if to_us else ("receive", SOURCE)
    return _own(what, address, SERVED[port] if served else port, seconds, connections)


def requests(
    address: str, seconds: float, connections: int, *, own: bool = False, port: int = HTTP
) -> Generator:
    """Small HTTP requests on persistent connections, by wrk if it is installed."""
    if own or shutil.which("wrk") is None:
        return _own("requests", address, port, seconds, connections)
    # wrk counts in whole seconds.
    command = ["wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s"]
    return Generator([*command, "-H", f"User-Agent: {AGENT}", _url(address, port)], read_wrk)


def https_requests(
    address: str, seconds: float, connections: int, *, own: bool = False
) -> Generator:
    """Small HTTPS requests on persistent connections, by wrk if it is installed."""
    if own or shutil.which("wrk") is None:
        return _own("tls_requests", address, HTTPS, seconds, connections)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s"]
    return Generator([*command, "-H", f"User-Agent: {AGENT}", f"https://{address}/"], read_wrk)


def tls_bulk(address: str, seconds: float, *, to_us: bool) -> Generator:
    """Bulk transfer over TLS, to the server or from it."""
    what, port = ("tls_send", TLS_SINK) if to_us else ("tls_receive", TLS_SOURCE)
    return _own(what, address, port, seconds, 1)


def connections(
    address: str, seconds: float, at_a_time: int, *, own: bool = False, port: int = HTTP
) -> Generator:
    """Connections with one HTTP request each, by ab if it is installed."""
    if own or shutil.which("ab") is None:
        return _own("connections", address, port, seconds, at_a_time)
    command = ["ab", "-q", f"-c{at_a_time}", f"-t{math.ceil(seconds)}", f"-n{_MAX_REQUESTS}"]
    return Generator([*command, "-H", f"User-Agent: {AGENT}", _url(address, port)], read_ab)


def _url(address: str, port: int) -> str:
    where = f"[{address}]" if ":" in address else address
    return f"http://{where}/" if port == HTTP else f"http://{where}:{port}/"


def echoes(address: str, seconds: float) -> Generator:
    """Round trips of a small message, one at a time."""
    return _own("echoes", address, ECHO, seconds, 1)


def datagrams(address: str, seconds: float, window: int) -> Generator:
    """Echoes of UDP datagrams, `window` of them on their way at a time."""
    return _own("datagrams", address, ECHO, seconds, window)


def hold(address: str, port: int, first: int, amount: int) -> Generator:
    """Idle connections, from local port `first` on."""
    return _own("hold", address, port, first, amount)


def _own(what: str, address: str, port: int, seconds: float, connections: int) -> Generator:
    arguments = [what, address, str(port), str(seconds), str(connections)]
    return Generator([sys.executable, "-I", "-S", str(_LOAD), *arguments], _read_own)


def _read_own(printed: str) -> dict[str, float]:
    figures: dict[str, float] = json.loads(printed)
    if "requests" in figures:
        figures["rate"] = figures["requests"] / figures["seconds"]
    return figures


def read_iperf(printed: str) -> dict[str, float]:
    """Parse iperf3's output.

    Raises:
        GeneratorError: it failed.
    """
    try:
        found = json.loads(printed)
        if "error" in found:
            raise GeneratorError(f"iperf3: {found['error']}")
        seconds = found["end"]["sum_received"]["seconds"]
        return {
            "octets": found["end"]["sum_received"]["bytes"],
            "seconds": seconds,
            "cpu": found["end"]["cpu_utilization_percent"]["host_total"] / 100 * seconds,
        }
    except (ValueError, KeyError) as error:
        raise GeneratorError(f"iperf3 printed no {error}") from error


def read_wrk(printed: str) -> dict[str, float]:
    """Parse wrk's output.

    Raises:
        GeneratorError: it has no rate, or requests failed.
    """
    if bad := re.search(r"Socket errors: .*|Non-2xx.*", printed):
        raise GeneratorError(f"wrk: {bad[0]}")
    return {
        "rate": _number("wrk", r"Requests/sec:\s+([\d.]+)", printed),
        "requests": _number("wrk", r"(\d+) requests in", printed),
    }


def read_ab(printed: str) -> dict[str, float]:
    """Parse ab's output.

    Raises:
        GeneratorError: it has no rate, or requests failed.
    """
    if failed := _number("ab", r"Failed requests:\s+(\d+)", printed):
        raise GeneratorError(f"ab: {failed:.0f} requests failed")
    return {
        "rate": _number("ab", r"Requests per second:\s+([\d.]+)", printed),
        "requests": _number("ab", r"Complete requests:\s+(\d+)", printed),
    }


def _number(program: str, pattern: str, printed: str) -> float:
    found = re.search(pattern, printed)
    if found is None:
        raise GeneratorError(f"{program} printed no {pattern.partition(':')[0].lower()}: {printed}")
    return float(found[1])
