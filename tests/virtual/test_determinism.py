"""The same seed, the same packets: in one process, and in several."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from functools import partial

import pytest
import trio
import trio_websocket

import tunstack
from tests.virtual.programs import ask, serve_echo
from tests.virtual.test_libraries import call, shout

LINK = "delay=20ms,jitter=5ms,loss=2%,reorder=1%,duplicate=1%"


async def busy_network(capture: io.BytesIO) -> None:
    """Several clients and servers at a time, a partition, a crash; with all names in sets."""
    websockets = partial(trio_websocket.serve_websocket, ssl_context=None)
    async with tunstack.open_network(link=LINK, capture=capture) as net:
        for name in ("server", "websockets", "one", "two", "three"):
            await net.add_host(name)
        await net.start("server", serve_echo)
        await net.start("websockets", websockets, shout, None, 80)
        for name in ("one", "two", "three"):
            for _ in range(3):
                net.start_soon(name, try_to, ask, "server", bytes(10_000))
            net.start_soon(name, try_to, call, "websockets")
        await trio.sleep(0.2)
        net.partition("one")
        await trio.sleep(0.2)
        net.repair()
        net.crash("server")
        await trio.sleep(3)


async def try_to(function: object, *arguments: object) -> None:
    try:
        with trio.move_on_after(2):
            await function(*arguments)  # type: ignore[operator]
    except (OSError, trio.BrokenResourceError, trio_websocket.HandshakeError):
        pass


def digest(seed: int) -> str:
    capture = io.BytesIO()
    tunstack.run_virtual(busy_network, capture, seed=seed)
    assert len(capture.getvalue()) > 100_000
    return hashlib.sha256(capture.getvalue()).hexdigest()


def test_ten_runs_of_a_seed_have_the_same_packets() -> None:
    digests = [digest(1) for _ in range(10)]
    assert digests.count(digests[0]) == 10
    assert digest(2) != digests[0]


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_so_has_a_run_in_another_process(hash_seed: str) -> None:
    program = "from tests.virtual.test_determinism import digest; print(digest(1))"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == digest(1)


def test_a_host_that_ends_resets_in_the_order_of_its_listeners() -> None:
    seen: list[tunstack.Observation] = []

    async def main() -> None:
        async with tunstack.open_network() as net:
            client = await net.add_host("client", "198.51.100.1")
            server = await net.add_host("server", "198.51.100.2", tap=seen.append)
            for port in range(100, 120):
                await server.open_tcp_listeners(port)
                client_sock = client.socket()
                await client_sock.connect(("198.51.100.2", port))
            net.crash("client")
            seen.clear()

    tunstack.run_virtual(main)
    resets = [each.packet for each in seen if each.packet[33] & 0x04]
    assert [int.from_bytes(each[20:22], "big") for each in resets] == [*range(100, 120)]
