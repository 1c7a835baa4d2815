"""What nmap finds out about a host: that its numbers cannot be guessed, and little else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import tunstack
from tunstack.apps import APPS

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

pytestmark = pytest.mark.kernel


@pytest.mark.rfc("6528:3")
@pytest.mark.rfc("7323:7.1")
@pytest.mark.rfc("6864:4.1")
async def test_nmap_wishes_good_luck(
    require_tool: Callable[[str], str], nursery: trio.Nursery
) -> None:
    """Its source ports and our secret are fixed, so that chance cannot fail the test."""
    nmap = require_tool("nmap")
    async with tunstack.open_namespace() as namespace, namespace.open_host(seed=1) as host:
        await nursery.start(host.serve_tcp, APPS["discard"].handler, 80)
        once = ["--privileged", "-n", "-Pn", "--max-os-tries", "1", "--source-port", "40000"]
        done = await namespace.run_process(
            [nmap, "-O", "-v", "-d", *once, "-p", "80,81", "198.51.100.2"],
            capture_stdout=True,
            capture_stderr=True,
        )
        nursery.cancel_scope.cancel()
    report = done.stdout.decode()
    assert re.search(r"^80/tcp +open ", report, re.MULTILINE), report
    assert re.search(r"^81/tcp +closed ", report, re.MULTILINE)
    prediction = re.search(r"TCP Sequence Prediction: Difficulty=(\d+) \(Good luck!\)", report)
    assert prediction is not None, report
    assert int(prediction[1]) >= 250
    assert "IP ID Sequence Generation: All zeros" in report
    # nmap breaks the lines of a fingerprint that is complete.
    clock = re.search(r"SEQ\([^)]*%TS=([0-9A-F]+)\)", report.replace("\nOS:", ""))
    assert clock is not None, report
    # The logarithm of the clock's ticks per second, as nmap sees it: real ones have 1 to 10.
    assert int(clock[1], 16) > 20
