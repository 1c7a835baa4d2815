"""The destination of `connect` and `ping`: what cannot be reached is one line that says why."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import tunstack

TUNSTACK = [sys.executable, "-m", "tunstack"]
V4, V6 = ["--address", "198.51.100.2/24"], ["--address", "2001:db8::2/64"]


@pytest.mark.kernel
@pytest.mark.parametrize(
    "command",
    [["connect"], ["connect", "--udp"], ["ping", "-c", "1"]],
    ids=["connect", "connect --udp", "ping"],
)
@pytest.mark.parametrize(
    ("addresses", "host", "says"),
    [
        (V4, "2001:db8::1", r"2001:db8::1: tunstack has no IPv6 address: give one too, as --addr"),
        (V6, "198.51.100.1", r"198.51.100.1: tunstack has no IPv4 address: give one too, as --ad"),
        (V4, "no-such-host.invalid", r"no-such-host.invalid: neither an address nor the name of"),
    ],
    ids=["IPv6 off", "IPv4 off", "no such name"],
)
async def test_what_cannot_be_reached_is_one_line(
    command: list[str], addresses: list[str], host: str, says: str
) -> None:
    port = [] if command[0] == "ping" else ["7"]
    async with tunstack.open_namespace() as ns:
        result = await ns.run_process(
            [*TUNSTACK, *command, *addresses, host, *port],
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            stdin=subprocess.DEVNULL,
        )
    assert result.returncode == 2
    assert result.stdout == b""
    error = result.stderr.decode()
    assert error.count("\n") == 1
    assert re.search(f"^tunstack {command[0]}: {says}", error), error
