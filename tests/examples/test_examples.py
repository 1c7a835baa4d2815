"""Each example runs to its end by itself, against the kernel, and shows what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel

EXAMPLES = Path(__file__).parents[2] / "examples"

# The lines that each prints; where two tasks print at the same time, in any order.
SHOWS = {
    "echo_server": [
        "kernel: Hello?                     tunstack: Hello?",
        "kernel: Is this a remote host?     tunstack: Is this a remote host?",
        "kernel: Yes, you would say that.   tunstack: Yes, you would say that.",
    ],
    "http_server": [
        "asked for: GET /hello HTTP/1.1",
        "curl got: <h1>Every packet of this page was made in Python.</h1>",
    ],
    "fetch_from_kernel": [
        "received 5,000,000 bytes, state CLOSE-WAIT",
        "they are what was sent: True",
    ],
    "dns_server": [
        "www.test: 198.51.100.2",
        "alias.test: 198.51.100.2",
        "any.wild.test: 198.51.100.7",
        "nosuch.test: not found",
        "flaky.wild.test, the first time: not found",
        "flaky.wild.test, the second time: 198.51.100.7",
        "the host: 2001:db8::2, 198.51.100.2",
    ],
    "half_close": [
        "client: sending FIN",
        "server: received request",
        "server: in CLOSE-WAIT, sending",
        "client: received first line",
        "server: in CLOSE-WAIT, sending",
        "client: received second line",
        "client: received end of file",
    ],
    "quic": [
        "asked for: GET /",
        "the kernel's client got 5,120,000 bytes",
        "they are what was sent: True",
    ],
    "https_client": ["200: 1,000,000 bytes, verified"],
    "tls_echo": ["Encrypted? TLSv1.3"],
    "with_anyio": ["host: TO ITSELF", "kernel: FROM THE KERNEL"],
    "with_httpcore": ["200: you are 198.51.100.2"],
    "with_httpx": ["200: you are 198.51.100.2"],
    "with_hypercorn": ["curl got: /page for 198.51.100.1"],
    "virtual_clients": ["the server's log shows 500 addresses"],
    "many_addresses": [
        "1,024 of 65,536 addresses were asked, and told which they are",
        "memory has grown by less than 4 MiB: True",
    ],
    "with_quart_trio": ['curl got: {"hello":"kernel"}'],
    "with_starlette": ['curl got: {"over":"https","http":"2"}'],
    "with_trio_websocket": ["the host: HELLO FROM THE KERNEL"],
    "own_congestion_control": [
        "the kernel received 200,000 bytes",
        "four segments in flight, or five: True",
    ],
    "conversation": [
        "The server is tunstack's, the client the kernel's:",
        *(
            lines := [
                "  server: 220 ready",
                "  client: HELO client",
                "  server: 250 hello",
                "  client: QUIT",
                "  server: 221 closing",
            ]
        ),
        "The server is the kernel's, the client tunstack's:",
        *lines,
        "tunstack's connections in TIME-WAIT: 1, the one it closed first.",
    ],
}

LIBRARIES = {
    "https_client": ["httpx"],
    "quic": ["aioquic", "cryptography"],
    "with_anyio": ["anyio"],
    "with_httpcore": ["httpcore"],
    "with_httpx": ["httpx"],
    "with_hypercorn": ["hypercorn"],
    "with_quart_trio": ["hypercorn", "quart_trio"],
    "with_starlette": ["starlette"],
    "with_trio_websocket": ["trio_websocket"],
}
"""What an example shows the use of; no other needs more than trio and tunstack."""


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SHOWS)


@pytest.mark.parametrize("name", sorted(SHOWS))
def test_an_example_shows_what_it_says(name: str, require_tool: Callable[[str], str]) -> None:
    if name in ("http_server", "with_hypercorn", "with_quart_trio", "with_starlette"):
        require_tool("curl")
    result = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    printed = result.stdout.splitlines()
    if name == "half_close":
        for who in ("client", "server"):
            assert [line for line in printed if line.startswith(who)] == [
                line for line in SHOWS[name] if line.startswith(who)
            ]
    else:
        assert printed == SHOWS[name]


@pytest.mark.parametrize("name", sorted(SHOWS))
def test_an_example_uses_only_what_is_public(name: str) -> None:
    imports = re.findall(r"^(?:import|from) (\S+)", (EXAMPLES / f"{name}.py").read_text(), re.M)
    packages = {each.partition(".")[0] for each in imports} - sys.stdlib_module_names
    assert packages == {"trio", "tunstack", *LIBRARIES.get(name, ())}
    assert not re.search(r"\._", (EXAMPLES / f"{name}.py").read_text())


@pytest.mark.parametrize(
    "name", [name for name in sorted([*LIBRARIES, "dns_server"]) if name != "quic"]
)
def test_it_takes_little_to_use_a_library(name: str) -> None:
    """The library as it is installed, and 40 lines; aioquic's core, without I/O, takes more."""
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 40
