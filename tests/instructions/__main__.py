"""``make instructions``: count them, and write the table that is compared in review.

    python -m tests.instructions [FOLDER]

FOLDER is a copy of this one whose core is compiled (``make compile``): that is counted as well.

Each kind of exchange is played twice as often in one run as in another, under valgrind: the
difference is what they take, without what Python takes to start. The counts depend on the
interpreter and on the processor's kind, so the table names them, and no test compares them.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.instructions import replay, served

TABLE: Final = Path(__file__).with_name("table.txt")
KINDS: Final = (*replay.KINDS, *served.KINDS)
COUNTS: Final = {
    "request": 500,
    "connection": 100,
    "segment": 200,
    "answer": 200,
    "protocol request": 500,
    "protocol connection": 100,
    "served-request": 300,
    "served-connection": 100,
}
"""By kind, and that of the same name over IPv6."""
_NAMES: Final = {
    "request": "a small request and its answer",
    "connection": "a short connection: handshake, request, answer, both FINs",
    "segment": "a segment of 65,160 octets to us, and its reading",
    "answer": "an octet to us, and a segment of 65,160 octets from us",
    "protocol request": "a small request and its answer, by a protocol",
    "protocol connection": "a short connection, by a protocol",
}
_NAMES_6: Final = {
    f"{kind}6": f"{name.replace('65,160', '64,260')}, over IPv6" for kind, name in _NAMES.items()
}
_SERVED: Final = {
    "served-request": "a small request through serve_tcp, trio and a link in memory",
    "served-connection": "a short connection through these",
}
NAMES: Final = _NAMES | _NAMES_6 | _SERVED


def instructions(root: Path, kind: str, count: int, folder: Path) -> int:
    """How many the package in `root` takes to play a recording of so many."""
    file = folder / f"{kind}-{count}"
    source = served if kind in served.KINDS else replay
    module = [sys.executable, "-m", source.__name__]
    subprocess.run([*module, "record", kind, str(count), str(file)], check=True, cwd=root)
    done = subprocess.run(
        [
            *(
                "valgrind",
                "--tool=cachegrind",
                "--cache-sim=no",
                f"--cachegrind-out-file={file}.out",
            ),
            *(*module, "play", kind, str(file)),
        ],
        check=True,
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "pymalloc"},
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1].replace(",", ""))


def measure(root: Path) -> dict[str, int]:
    """Instructions of one exchange of each kind, by the package in `root`."""
    result = {}
    with TemporaryDirectory() as folder:
        for kind in KINDS:
            count = COUNTS[kind.removesuffix("6")]
            print(f"counting: {NAMES[kind]}", file=sys.stderr, flush=True)
            few, many = (
                instructions(root, kind, each, Path(folder)) for each in (count, 2 * count)
            )
            result[kind] = (many - few) // count
    return result


def main() -> None:
    """Count, print the table, and keep it."""
    columns = [measure(Path())] + [measure(Path(each)) for each in sys.argv[1:2]]
    machine = f"CPython {platform.python_version()}, {sysconfig.get_platform()}"
    lines = [
        f"Instructions of the core ({machine}). `make instructions` writes this.",
        "",
        "".join(f"{name:>10}" for name in ("pure", "compiled")[: len(columns)]),
    ]
    lines += [
        "".join(f"{column[kind]:>10,}" for column in columns) + f"  {NAMES[kind]}" for kind in KINDS
    ]
    TABLE.write_text("\n".join(lines) + "\n")
    print(TABLE.read_text(), end="")


if __name__ == "__main__":
    main()
