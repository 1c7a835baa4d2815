"""A private network of the kernel's, a host in it, and the judge of what passes between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import tunstack
from tests.kernel.judge import judged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.kernel.judge import Judge
    from tunstack import Host, Namespace


@pytest.fixture
async def ns() -> AsyncIterator[Namespace]:
    async with tunstack.open_namespace() as ns:
        yield ns


@pytest.fixture
async def host(ns: Namespace) -> AsyncIterator[Host]:
    """A host that nobody watches."""
    async with ns.open_host() as host:
        yield host


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked for it with segmentation and checksums left to the device, and not."""
    both = metafunc.definition.get_closest_marker("both_modes") is not None
    if both and "offload" in metafunc.fixturenames:
        metafunc.parametrize("offload", [True, False], ids=["offload", "no-offload"])


@pytest.fixture
def offload() -> bool:
    """Whether segmentation and checksums are left to the device; `both_modes` tries either."""
    return True


@pytest.fixture
async def judge(
    ns: Namespace, tmp_path: Path, require_tool: Callable[[str], str], offload: bool
) -> AsyncIterator[Judge]:
    """It opens the host that is to be judged."""
    # The kernel's tail loss probes (RFC 8985) go out after two round trips of silence, here a few
    # milliseconds: that would be a judgement on how busy the machine is.
    ns.sysctl("net.ipv4.tcp_early_retrans", 0)
    capture = tmp_path / "capture.pcapng"
    async with judged(ns, capture, require_tool("tshark"), offload=offload) as judge:
        yield judge
