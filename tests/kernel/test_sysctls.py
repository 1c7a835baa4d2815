"""A transfer both ways under each setting of the kernel's that changes TCP on the wire."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.kernel.ends import IPV6
from tests.kernel.sockets import ROLES, both_ways, connected

if TYPE_CHECKING:
    from tests.kernel.judge import Judge
    from tests.kernel.sockets import Role
    from tunstack import Namespace

pytestmark = pytest.mark.kernel

DATA: Final = random.Random(3).randbytes(1 << 20)

SETTINGS: Final[dict[str, dict[str, str | int]]] = {
    "no sack": {"tcp_sack": 0},
    "no dsack": {"tcp_dsack": 0},
    "no timestamps": {"tcp_timestamps": 0},
    "timestamps without offset": {"tcp_timestamps": 2},
    "no window scaling": {"tcp_window_scaling": 0},
    "neither": {"tcp_sack": 0, "tcp_timestamps": 0, "tcp_window_scaling": 0},
    "ecn": {"tcp_ecn": 1},
    "always cookies": {"tcp_syncookies": 2},
    "shrinking window": {"tcp_shrink_window": 1},
    "rfc1337": {"tcp_rfc1337": 1},
    "no autocorking": {"tcp_autocorking": 0},
    "no moderation of the receive buffer": {"tcp_moderate_rcvbuf": 0},
    "small buffers": {"tcp_rmem": "4096 8192 16384", "tcp_wmem": "4096 8192 16384"},
    "large buffers": {"tcp_rmem": "4096 4194304 8388608", "tcp_wmem": "4096 4194304 8388608"},
    "a window of one octet's scale": {"tcp_rmem": "4096 65535 65535"},
    "reno": {"tcp_congestion_control": "reno"},
    "cubic": {"tcp_congestion_control": "cubic"},
}

FULL_WINDOWS: Final = (
    "window specified by the receiver is now completely full",
    "Zero Window segment",
    "TcpExt.PruneCalled",
    "TcpExt.TCPRcvCollapsed",
)
"""What there is to remark on when buffers are small: no fault of either side."""

SHRUNK_WINDOWS: Final = (
    "TcpExt.TCPOFOQueue",
    "Duplicate ACK",
    "retransmission",
    "Out-Of-Order",
    "out-of-order",
    "TcpExt.TCPACKSkippedSeq",  # What is beyond the smaller window is answered, but not each.
    "D-SACK Sequence",  # The kernel repeats its last SACK block beside the ACK of just that.
)
"""The same when the kernel takes back a window, and drops what was on its way already."""


@pytest.fixture
def ns(ns: Namespace) -> Namespace:
    """Without the kernel's tail loss probes: after two round trips, which last microseconds here,
    they tell when a busy machine came round to our process, and nothing about its TCP.
    """
    ns.sysctl("net.ipv4.tcp_early_retrans", 0)
    return ns


def apply(ns: Namespace, settings: dict[str, str | int]) -> None:
    for name, value in settings.items():
        try:
            ns.sysctl(f"net.ipv4.{name}", value)
        except (FileNotFoundError, PermissionError):
            pytest.skip(f"this kernel does not let us set {name} to {value}")


@pytest.mark.both_families
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
async def test_both_ways(
    ns: Namespace, judge: Judge, role: Role, settings: dict[str, str | int]
) -> None:
    apply(ns, settings)
    async with judge.open_host() as host, connected(ns, host, role) as pair:
        assert await both_ways(pair, DATA) == (DATA, DATA)
    shrunk = SHRUNK_WINDOWS if "tcp_shrink_window" in settings else ()
    await judge.acquit(but_for=FULL_WINDOWS + shrunk)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("mtu", [88, 120, 576, 1280, 9000, 65535])
async def test_both_ways_with_an_mtu(ns: Namespace, judge: Judge, role: Role, mtu: int) -> None:
    size = min(len(DATA), mtu * 500)
    async with judge.open_host(mtu=mtu) as host, connected(ns, host, role) as pair:
        data = DATA[:size]
        assert await both_ways(pair, data) == (data, data)
    await judge.acquit(but_for=FULL_WINDOWS)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("mtu", [1280, 65535])
async def test_both_ways_over_ipv6_with_an_mtu(
    ns: Namespace, judge: Judge, role: Role, mtu: int
) -> None:
    async with (
        judge.open_host(IPV6.address, mtu=mtu) as host,
        connected(ns, host, role) as pair,
    ):
        assert await both_ways(pair, DATA) == (DATA, DATA)
    await judge.acquit(but_for=FULL_WINDOWS)


@pytest.mark.both_modes
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("mtu", [68, 80, 87])
async def test_both_ways_with_an_mtu_at_which_the_kernel_fragments(
    ns: Namespace, judge: Judge, role: Role, mtu: int, offload: bool
) -> None:
    """It makes no segment smaller than 88 octets in all, and lets nobody change that.

    Its first ones have the DF bit, and it drops them itself, and recovers as from any loss.
    """
    with pytest.raises(OSError, match="Invalid argument"):
        ns.sysctl("net.ipv4.tcp_min_snd_mss", 47)
    async with judge.open_host(mtu=mtu, rto_min=0) as host, connected(ns, host, role) as pair:
        data = DATA[:30_000]
        assert await both_ways(pair, data) == (data, data)
        ours = host.statistics()
    counts = await judge.kernel()
    assert counts["Ip.FragOKs"] > 0
    assert counts["Tcp.InErrs"] == counts["Ip.InHdrErrors"] == counts["TcpExt.PAWSEstab"] == 0
    assert [name for name, count in ours.items() if count and name.startswith("bad_")] == []
    assert ours["datagrams_reassembled"] > 0
    assert [name for name, count in ours.items() if count and name.startswith("fragment_")] == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "options",
    [
        {"timestamps": False},
        {"sack": False},
        {"window_scaling": False},
        {"timestamps": False, "sack": False, "window_scaling": False},
    ],
    ids=["no timestamps", "no sack", "no window scaling", "none of them"],
)
async def test_both_ways_without_options_of_ours(
    ns: Namespace, judge: Judge, role: Role, options: dict[str, Any]
) -> None:
    async with judge.open_host(**options) as host, connected(ns, host, role) as pair:
        assert await both_ways(pair, DATA) == (DATA, DATA)
    await judge.acquit(but_for=FULL_WINDOWS)
