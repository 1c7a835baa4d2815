"""Puts the failing example's report into its how-to page: ``python -m tests.docs.report``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.docs.snippets import DOCS, snippets_of

PAGE: Final = DOCS / "how-to" / "test-my-program.md"
NAME: Final = "test_greeting.py"

_REPORT: Final = re.compile(r"(?<=<!-- report -->\n```text\n).*?(?=```\n<!-- /report -->)", re.S)


def shown() -> str:
    """Return the report as the page shows it."""
    found = _REPORT.search(PAGE.read_text())
    assert found is not None
    return found[0]


def printed(folder: Path) -> str:
    """Run the failing example in a folder; returns what pytest prints."""
    (example,) = (each for each in snippets_of(PAGE) if each.mark == "fails")
    (folder / NAME).write_text(example.text)
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:trio"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", *plugins, NAME],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    command = f"$ pytest -q --tb=short {NAME}\n"
    return command + "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def essence(report: str) -> list[str]:
    """Leave out what differs from run to run.

    Those are times, ports, the kernel's windows; ACKs without data, whose number depends on its
    timers; and what comes after the first FIN, of which the report has as much as there was time.
    """
    lines, closed = [], False
    for line in report.splitlines():
        if re.match(r" *[\d.]+ #\d ", line):
            closed |= "FIN" in line
            if closed or (re.search(r" ACK seq .* ESTABLISHED$", line) and " len " not in line):
                continue
        line = re.sub(r"\d+\.\d+s|(?<=:)\d{4,5}\b|(?<=win )\d+|(?<=wscale )\d+", "#", line)
        line = re.sub(r"^ *\d+\.\d+(?= #\d )", "#", line)
        lines.append(re.sub(r"([-─ =_])\1+", r"\1", line))
    return lines


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        text = printed(Path(name))
    PAGE.write_text(_REPORT.sub(lambda _: text, PAGE.read_text()))
