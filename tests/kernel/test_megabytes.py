"""Tens of megabytes each way with the programs that people use, to the octet, in both families."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.kernel.sockets import FLOW_CONTROL
from tunstack.apps import http, pages

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from tests.kernel.ends import Ends
    from tests.kernel.judge import Judge
    from tunstack import Namespace

    Require = Callable[[str], str]

pytestmark = [pytest.mark.kernel, pytest.mark.both_families]

SIZE: Final = 64 << 20


@pytest.mark.both_modes
@pytest.mark.both_families("both_modes")
async def test_curl_downloads_and_uploads_64_mib(
    ns: Namespace, judge: Judge, require_tool: Require, nursery: trio.Nursery, ends: Ends
) -> None:
    pieces = list(pages.pattern(SIZE))
    expected = hashlib.sha256(b"".join(pieces)).hexdigest()
    curl = [require_tool("curl"), "-sS"]
    url = f"http://{ends.ours_in_url}"
    async with judge.open_host() as host:
        await nursery.start(host.serve_tcp, http.handler, 80)
        down = await ns.run_process([*curl, f"{url}/bytes/{SIZE}"], capture_stdout=True)
        assert hashlib.sha256(down.stdout).hexdigest() == expected
        up = await ns.run_process(
            [*curl, "-T", "-", f"{url}/sha256"], stdin=down.stdout, capture_stdout=True
        )
        assert up.stdout.decode().strip() == expected
        nursery.cancel_scope.cancel()
    await judge.acquit(but_for=FLOW_CONTROL)


async def test_ab_downloads_64_mib(
    ns: Namespace, judge: Judge, require_tool: Require, nursery: trio.Nursery, ends: Ends
) -> None:
    load = ["-q", "-k", "-n", "64", "-c", "4", f"http://{ends.ours_in_url}/bytes/{1 << 20}"]
    async with judge.open_host() as host:
        await nursery.start(host.serve_tcp, http.handler, 80)
        done = await ns.run_process([require_tool("ab"), *load], capture_stdout=True)
        nursery.cancel_scope.cancel()
    report = done.stdout.decode()
    assert re.search(r"Complete requests: +64\n", report)
    assert re.search(r"Failed requests: +0\n", report)
    assert re.search(rf"HTML transferred: +{SIZE} bytes\n", report)
    await judge.acquit(but_for=FLOW_CONTROL)


async def test_wrk_has_no_error(
    ns: Namespace, judge: Judge, require_tool: Require, nursery: trio.Nursery, ends: Ends
) -> None:
    load = ["-t", "1", "-c", "8", "-d", "1", f"http://{ends.ours_in_url}/"]
    async with judge.open_host() as host:
        await nursery.start(host.serve_tcp, http.handler, 80)
        done = await ns.run_process([require_tool("wrk"), *load], capture_stdout=True)
        nursery.cancel_scope.cancel()
    report = done.stdout.decode()
    assert re.search(r"\d{2,} requests in", report)
    assert "Socket errors" not in report
    assert "Non-2xx" not in report
    # When its time is up, it closes connections on which an answer is on its way.
    await judge.acquit(but_for=["RST", "Reset", "Abort"])
