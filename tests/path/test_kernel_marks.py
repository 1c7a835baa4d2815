"""ECN with the kernel: each of the two asks, and each of the two sends, on a link that marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.path.kernel import (
    connection,
    kernel_and_host,
    kernel_counters,
    kernel_info,
    send_and_receive,
)
from tests.path.middlebox import Marker
from tunstack.ip.family import FAMILIES, IPV4, IPV6, Family
from tunstack.tcp.config import Config
from tunstack.tcp.connection.ecn import ACCEPT, REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel

DATA: Final = bytes(range(251)) * 8000
COUNTERS: Final = {IPV4: "IpExtIn", IPV6: "Ip6In"}

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@pytest.mark.rfc("3168:6.1")
@pytest.mark.parametrize("by_kernel", [True, False])
@each_family
async def test_what_we_send_is_marked_and_the_kernel_says_so(
    by_kernel: bool, family: Family, require_tool: Callable[[str], str]
) -> None:
    require_tool("nstat")
    require_tool("ss")
    box = Marker(50)
    config = Config(ecn=ACCEPT if by_kernel else REQUEST)
    async with (
        kernel_and_host(box, config, family, tcp_ecn=1) as (namespace, host),
        connection(namespace, host, by_kernel=by_kernel) as (kernel, ours),
    ):
        assert await send_and_receive(ours, kernel, DATA) == DATA
        info = await kernel_info(namespace)
        assert {"ecn", "ecnseen"} <= set(info)
        assert box.marks > 10
        counters = await kernel_counters(namespace)
        assert counters[f"{COUNTERS[family]}CEPkts"] == box.marks
        assert counters[f"{COUNTERS[family]}ECT0Pkts"] == box.ect - box.marks
        (connection_info,) = host.connections()
        assert connection_info.ecn
        assert connection_info.snd_ssthresh < 1 << 20


@pytest.mark.rfc("3168:6.1")
@pytest.mark.parametrize("by_kernel", [True, False])
@each_family
async def test_what_the_kernel_sends_is_marked_and_we_say_so(
    by_kernel: bool, family: Family, require_tool: Callable[[str], str]
) -> None:
    require_tool("ss")
    box = Marker(50)
    config = Config(ecn=ACCEPT if by_kernel else REQUEST)
    sysctls: dict[str, str | int] = {"tcp_ecn": 1, "tcp_congestion_control": "reno"}
    async with (
        kernel_and_host(box, config, family, **sysctls) as (namespace, host),
        connection(namespace, host, by_kernel=by_kernel) as (kernel, ours),
    ):
        assert await send_and_receive(kernel, ours, DATA) == DATA
        info = await kernel_info(namespace)
        assert "ecn" in info
        assert any(word.startswith("ssthresh:") for word in info)
        assert host.statistics()["congestion_marks"] == box.marks > 10
        # Its CWR ends the echo: else every segment would count as marked for it.
        told = next(word for word in info if word.startswith("delivered_ce:"))
        delivered = next(word for word in info if word.startswith("delivered:"))
        assert 2 * int(told.partition(":")[2]) < int(delivered.partition(":")[2])


@pytest.mark.rfc("3168:6.1.1")
@pytest.mark.parametrize("by_kernel", [True, False])
@each_family
async def test_no_ecn_with_a_kernel_that_has_it_off(by_kernel: bool, family: Family) -> None:
    box = Marker(2)
    async with (
        kernel_and_host(box, Config(ecn=REQUEST), family, tcp_ecn=0) as (namespace, host),
        connection(namespace, host, by_kernel=by_kernel) as (kernel, ours),
    ):
        assert await send_and_receive(ours, kernel, DATA) == DATA
        assert await send_and_receive(kernel, ours, DATA) == DATA
        assert box.ect == 0
