"""``make instructions``: count them, and write the table that is compared in review.

    python -m tests.instructions [FOLDER]

FOLDER is a copy of this one whose core is compiled (``build/compiled``): that is counted as well.

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.instructions import replay, served

TABLE: Final = Path(__file__).with_name("table.txt")
COLUMNS: Final = ("pure", "compiled")
WIDTH: Final = 10
"""Of a column."""
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
    "factory-request": 300,
    "factory-connection": 100,
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
    "factory-request": "a small request through trio.serve_tcp on the socket factory, and the link",
    "factory-connection": "a short connection through these",
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
    with (
        TemporaryDirectory() as folder,
        ThreadPoolExecutor(int(os.environ.get("CORES", os.cpu_count() or 1))) as pool,
    ):
        for kind in KINDS:
            count = COUNTS[kind.removesuffix("6")]
            print(f"counting: {NAMES[kind]}", file=sys.stderr, flush=True)
            few, many = pool.map(
                lambda each, kind=kind: instructions(root, kind, each, Path(folder)),
                (count, 2 * count),
            )
            result[kind] = (many - few) // count
    return result


def is_compiled(root: Path) -> bool:
    """Whether the core of the package in `root` is imported compiled."""
    code = "from tunstack.tcp.connection import state; print(state.__file__)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, cwd=root, stdout=subprocess.PIPE, text=True)
    return not done.stdout.strip().endswith(".py")


def table(columns: dict[str, dict[str, int]]) -> str:
    """The table of figures, by column and kind."""
    machine = f"CPython {platform.python_version()}, {sysconfig.get_platform()}"
    lines = [
        f"Instructions of the core ({machine}). `make instructions` writes this.",
        "",
        "".join(f"{name:>{WIDTH}}" for name in columns),
    ]
    for kind in KINDS:
        figures = "".join(f"{column[kind]:>{WIDTH},}" for column in columns.values())
        lines.append(f"{figures}  {NAMES[kind]}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count, print the table, and keep it."""
    roots = [Path(), *map(Path, sys.argv[1:2])]
    for root, compiled in zip(roots, (False, True), strict=False):
        if is_compiled(root) != compiled:
            sys.exit(f"the core in {root.absolute()} is {'pure' if compiled else 'compiled'}")
    TABLE.write_text(table(dict(zip(COLUMNS, map(measure, roots), strict=False))))
    print(TABLE.read_text(), end="")


if __name__ == "__main__":
    main()
