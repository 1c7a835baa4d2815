"""Narrow paths with the kernel: as the router that speaks, and as the far end of a black hole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.path.kernel import connection, kernel_and_host, kernel_counters, send_and_receive
from tests.path.middlebox import Narrow
from tunstack import open_namespace
from tunstack.ip.family import IPV4, IPV6, Family
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel

DATA: Final = bytes(range(251)) * 4000


@pytest.mark.rfc("1191:6.4")
@pytest.mark.rfc("MUST-16")
@pytest.mark.parametrize(
    ("addresses", "mtu", "forwarding", "counter"),
    [
        (
            ("198.51.100.2/25", "198.51.100.130/25"),
            1000,
            "net.ipv4.ip_forward",
            "IcmpOutDestUnreachs",
        ),
        (
            ("2001:db8::2/64", "2001:db8:0:1::2/64"),
            1300,
            "net.ipv6.conf.all.forwarding",
            "Icmp6OutPktTooBigs",
        ),
    ],
    ids=["IPv4", "IPv6"],
)
async def test_the_kernel_as_a_router_tells_what_fits(
    addresses: tuple[str, str],
    mtu: int,
    forwarding: str,
    counter: str,
    require_tool: Callable[[str], str],
) -> None:
    """Between two devices: what it says of the second comes back through the first."""
    require_tool("nstat")
    require_tool("ip")
    async with open_namespace() as namespace:
        namespace.sysctl(forwarding, 1)
        async with (
            namespace.open_host(addresses[0], mtu=1500) as near,
            namespace.open_host(addresses[1], mtu=1500) as far,
        ):
            # Behind its back: it goes on to announce, and to take, segments of any size.
            narrow = ["ip", "link", "set", "dev", far.name, "mtu", str(mtu)]
            await namespace.run_process(narrow)
            (listener,) = await far.open_tcp_listeners(80)
            ours = await near.open_tcp_stream(addresses[1].partition("/")[0], 80)
            theirs = await listener.accept()
            async with ours, theirs:
                assert await send_and_receive(ours, theirs, DATA) == DATA
                assert await send_and_receive(theirs, ours, DATA) == DATA
                (info,) = near.connections()
                headers = 52 if ":" not in addresses[0] else 72
                assert (info.pmtu, info.snd_mss) == (mtu, mtu - headers)
            counts = near.statistics()
            assert counts["path_mtu_lowered"] == 1
            assert counts["retransmission_too_large"] > 0
            assert counts["icmp_unmatched"] < counts["icmp_received"]
            shown = await namespace.run_process(["nstat", "-asz"], capture_stdout=True)
            assert any(
                name == counter and int(value) > 0
                for name, value, *_ in map(str.split, shown.stdout.decode().splitlines()[1:])
            )


@pytest.mark.rfc("4821:7.7")
@pytest.mark.parametrize(("family", "mtu"), [(IPV4, 1234), (IPV6, 1300)])
async def test_a_black_hole_before_the_kernel_is_crossed(
    family: Family, mtu: int, require_tool: Callable[[str], str]
) -> None:
    require_tool("nstat")
    box = Narrow(mtu, says=None)
    async with (
        kernel_and_host(box, Config(rto_min=0.02), family) as (namespace, host),
        connection(namespace, host, by_kernel=True) as (kernel, ours),
    ):
        assert await send_and_receive(ours, kernel, DATA) == DATA
        (info,) = host.connections()
        assert 1064 <= info.pmtu <= mtu
        counters = await kernel_counters(namespace)
        assert counters["TcpInErrs"] == 0
        assert max(box.passed) <= mtu < min(box.dropped)
