"""Draws the ladder of README, of a run of today: ``python -m tests.docs.pictures``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.docs.snippets import DOCS

LADDER: Final = DOCS / "_static" / "readme" / "ladder.svg"
COMMAND: Final = ["curl", "-sS", "-o", "page", "http://198.51.100.2/"]


def drawn() -> str:
    """Run the command that README has, and draw its packets."""
    tunstack = [sys.executable, "-m", "tunstack"]
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            ["run", "--no-ipv6", "--seed", "1", "--pcap", "curl.pcapng", "--", *COMMAND],
            ["trace", "curl.pcapng", "--svg", "ladder.svg"],
        ):
            subprocess.run([*tunstack, *command], cwd=folder, check=True, capture_output=True)
        return (Path(folder) / "ladder.svg").read_text()


def essence(svg: str) -> list[str]:
    """The texts, without numbers, which differ from run to run and from curl to curl.

    ACKs without data are left out: how many there are depends on the kernel's timers.
    """
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", svg)
    texts = [each for each in texts if not re.match(r"ACK seq \d+ ack|LAST-ACK|ESTAB", each)]
    return [text for text in (re.sub(r"[\d.]+", "#", each) for each in texts) if text != "#"]


if __name__ == "__main__":
    LADDER.write_text(drawn())
