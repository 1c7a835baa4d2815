"""A private network of the kernel's, a host in it, and the judge of what passes between them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import tunstack
from tests.conftest import SEARCH_PATH
from tests.kernel.ends import IPV4, IPV6
from tests.kernel.judge import judged
from tests.kernel.wireshark import Wireshark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.kernel.ends import Ends
    from tests.kernel.judge import Judge
    from tunstack import Host, Namespace


@pytest.fixture
async def ns() -> AsyncIterator[Namespace]:
    async with tunstack.open_namespace() as ns:
        yield ns


@pytest.fixture
async def host(ns: Namespace, ends: Ends) -> AsyncIterator[Host]:
    """A host that nobody watches."""
    async with ns.open_host(ends.address) as host:
        yield host


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test in each mode and in each family that its markers ask for.

    `both_modes`: with segmentation and checksums left to the device, and not. `both_families`: over
    IPv4, and over IPv6 with offload only; ``both_families("both_modes")``: with both modes in both.
    """
    modes, families = map(metafunc.definition.get_closest_marker, ("both_modes", "both_families"))
    names = metafunc.fixturenames
    runs = [(IPV4, True)]
    if modes and "offload" in names:
        runs.append((IPV4, False))
    if families and "ends" in names:
        runs.append((IPV6, True))
        if modes and "both_modes" in families.args and "offload" in names:
            runs.append((IPV6, False))
    if len(runs) > 1:
        used = [name for name in ("ends", "offload") if name in names]
        values = [
            [value for name, value in zip(("ends", "offload"), run, strict=True) if name in used]
            for run in runs
        ]
        ids = [run_id(*run, modes=modes is not None, families=families is not None) for run in runs]
        metafunc.parametrize(used, values, ids=ids)


def run_id(ends: Ends, offload: bool, *, modes: bool, families: bool) -> str:
    """The words of a test's name that tell how it is run."""
    words = [ends.name] if families else []
    return "-".join([*words, *(["offload" if offload else "no-offload"] if modes else [])])


@pytest.fixture
def offload() -> bool:
    """Whether segmentation and checksums are left to the device; `both_modes` tries either."""
    return True


@pytest.fixture
def ends() -> Ends:
    """The addresses, of IPv4; `both_families` tries those of IPv6 as well."""
    return IPV4


@pytest.fixture(scope="session")
def readers_of_captures(
    tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]
) -> Iterator[Wireshark]:
    """For all tests of this (worker) process, because to start takes longer than to read."""
    sharkd = shutil.which("sharkd", path=SEARCH_PATH)
    wireshark = Wireshark(require_tool("tshark"), sharkd, tmp_path_factory.mktemp("wireshark"))
    yield wireshark
    wireshark.close()


@pytest.fixture
def wireshark(readers_of_captures: Wireshark) -> Wireshark:
    """Nothing of it is started while a test runs, which might count what it leaves behind."""
    readers_of_captures.open()
    return readers_of_captures


@pytest.fixture
async def judge(
    ns: Namespace,
    tmp_path: Path,
    wireshark: Wireshark,
    offload: bool,
    ends: Ends,
) -> AsyncIterator[Judge]:
    """It opens the host that is to be judged."""
    # The kernel's tail loss probes (RFC 8985) go out after two round trips of silence, here a few
    # milliseconds: that would be a judgement on how busy the machine is.
    ns.sysctl("net.ipv4.tcp_early_retrans", 0)
    capture = tmp_path / "capture.pcapng"
    async with judged(ns, capture, wireshark, offload=offload, ends=ends) as judge:
        yield judge
