"""Numbers of which comments say that they are Linux's, beside those of a new namespace."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Final

import pytest

from tests.kernel.near import linux
from tunstack import Config
from tunstack.ip import path_mtu
from tunstack.ip.demux import EPHEMERAL_PORTS
from tunstack.tcp.budget import SMALLEST_BUFFER
from tunstack.tcp.connection import syn_options
from tunstack.tcp.listen.listener import MAX_BACKLOG
from tunstack.tcp.segment import ACK, FIN
from tunstack.tcp.sender import mtu_probing

if TYPE_CHECKING:
    from tunstack import Namespace

pytestmark = pytest.mark.kernel

DEFAULTS: Final = {field.name: field.default for field in fields(Config)}
SYSCTLS: Final[dict[str, object]] = {
    "net.core.somaxconn": MAX_BACKLOG,
    "net.ipv4.ip_local_port_range": f"{EPHEMERAL_PORTS[0]}\t{EPHEMERAL_PORTS[-1]}",
    "net.ipv4.route.min_pmtu": path_mtu.MIN_PMTU,
    "net.ipv4.tcp_base_mss": mtu_probing.BASE,
    "net.ipv4.tcp_ecn": DEFAULTS["ecn"],
    "net.ipv4.tcp_fin_timeout": DEFAULTS["fin_wait_2_timeout"],
    "net.ipv4.tcp_min_snd_mss": syn_options.SMALLEST_MSS,
    "net.ipv4.tcp_mtu_probe_floor": mtu_probing.SMALLEST,
    "net.ipv4.tcp_mtu_probing": mtu_probing.OFF,
    "net.ipv4.tcp_probe_threshold": mtu_probing.CLOSE_ENOUGH,
    "net.ipv4.tcp_retries2": 15,
    "net.ipv4.tcp_rfc1337": int(bool(DEFAULTS["rfc1337"])),
}
"""A namespace's own defaults."""


@pytest.mark.parametrize("name", SYSCTLS)
async def test_number_is_linuxs(name: str, ns: Namespace) -> None:
    assert ns.sysctl(name).split() == str(SYSCTLS[name]).removesuffix(".0").split()


@pytest.mark.parametrize("name", ["rmem", "wmem"])
async def test_the_least_buffer_is_linuxs(name: str, ns: Namespace) -> None:
    assert int(ns.sysctl(f"net.ipv4.tcp_{name}").split()[0]) == SMALLEST_BUFFER


def test_data_times_out_after_linuxs_15_retransmissions() -> None:
    """15 of them, the first after 200 ms, each after twice the time, but at most 120 s."""
    total = sum(min(0.2 * 2**count, 120.0) for count in range(16))
    assert DEFAULTS["data_timeout"] == pytest.approx(total, abs=0.1)


async def test_time_wait_is_as_long_as_linuxs(ns: Namespace) -> None:
    async with linux(ns) as near:
        sock = await near.accepted()
        sock.close()
        await near.segment()
        near.peer.send(FIN | ACK)
        await near.segment()
        shown = await ns.run_process(["ss", "-Htano"], capture_stdout=True)
    assert re.search(r"timewait,(1min|5\dsec)", shown.stdout.decode())
    assert 2 * Config().msl == 60.0
