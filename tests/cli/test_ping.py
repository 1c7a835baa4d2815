"""``tunstack ping``: the kernel is pinged from an address of ours."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

import tunstack
from tunstack.cli.running.ping import Run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PING = (sys.executable, "-m", "tunstack", "ping")
NETWORK = ("--address", "198.51.100.130/25", "--address", "2001:db8:1::2/64")
KERNEL = {4: "198.51.100.129", 6: "2001:db8:1::1"}
REPLY = re.compile(r"(\d+) bytes from (\S+): icmp_seq=(\d+) ttl=64 time=[\d.]+ ms")


@pytest.fixture
async def namespace() -> AsyncIterator[tunstack.Namespace]:
    with trio.fail_after(30):
        async with tunstack.open_namespace() as namespace:
            yield namespace


async def run(namespace: tunstack.Namespace, *arguments: str) -> tuple[int, list[str]]:
    result = await namespace.run_process(
        [*PING, *NETWORK, *arguments], capture_stdout=True, check=False
    )
    return result.returncode, result.stdout.decode().splitlines()


@pytest.mark.kernel
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [56, 5000])
async def test_it_prints_what_ping_prints(
    namespace: tunstack.Namespace, version: int, size: int
) -> None:
    host = KERNEL[version]
    for _ in range(5):
        status, lines = await run(
            namespace, "-c", "3", "-i", "0.01", "-s", str(size), "-W", "1", host
        )
        if " 0% packet loss" in lines[-2]:  # A kernel drops IPv6 in the first ms of a device.
            break
    headers = 28 if version == 4 else 48
    assert status == 0
    assert lines[0] == f"PING {host} {size}({size + headers}) bytes of data."
    found = [REPLY.fullmatch(line) for line in lines[1:4]]
    assert [match and match.groups() for match in found] == [
        (str(size + 8), host, str(number)) for number in (1, 2, 3)
    ]
    assert lines[4:6] == ["", f"--- {host} ping statistics ---"]
    assert re.fullmatch(r"3 packets transmitted, 3 received, 0% packet loss, time \d+ms", lines[6])
    assert re.fullmatch(r"rtt min/avg/max/mdev = ([\d.]+/){3}[\d.]+ ms", lines[7])


@pytest.mark.kernel
async def test_without_a_reply_it_fails(namespace: tunstack.Namespace) -> None:
    status, lines = await run(namespace, "-c", "2", "-i", "0.01", "-W", "0.1", "198.51.100.200")
    assert status == 1
    assert lines[-1].startswith("2 packets transmitted, 0 received, 100% packet loss")


@pytest.mark.kernel
async def test_ctrl_c_ends_it_with_the_statistics(namespace: tunstack.Namespace) -> None:
    process = await namespace.open_process(
        [*PING, *NETWORK, "-i", "0.3", KERNEL[4]], stdout=subprocess.PIPE
    )
    output = b""
    assert process.stdout is not None
    while b"icmp_seq=3 " not in output:
        output += await process.stdout.receive_some()
    process.send_signal(signal.SIGINT)
    async for piece in process.stdout:
        output += piece
    assert await process.wait() == 0
    assert b"0% packet loss" in output


def test_the_summary_counts_duplicates_and_errors() -> None:
    run = Run(None, 8, b"", sent=4, times=[0.001, 0.003], duplicates=1, errors=2)  # type: ignore[arg-type]
    assert run.summary() == [
        "4 packets transmitted, 2 received, +1 duplicates, +2 errors, 50% packet loss, time 0ms",
        "rtt min/avg/max/mdev = 1.000/2.000/3.000/1.000 ms",
    ]


def test_the_summary_of_nothing() -> None:
    run = Run(None, 8, b"")  # type: ignore[arg-type]
    assert run.summary() == ["0 packets transmitted, 0 received, 0% packet loss, time 0ms"]
