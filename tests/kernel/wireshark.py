"""What Wireshark's experts remark on in a capture.

Two of its programs tell: ``tshark``, which is started for each capture, and ``sharkd``, which stays
and answers JSON-RPC on its standard input and output. To start takes most of the time.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT: Final = 0x200000
NOTE: Final = 0x400000
WARNING: Final = 0x600000
ERROR: Final = 0x800000
"""Severities; what is below a note is left out."""

_SEVERITIES: Final = {
    "Comment": 0x100000,
    "Chat": CHAT,
    "Note": NOTE,
    "Warning": WARNING,
    "Error": ERROR,
}
_CHECKSUMS: Final = ("tcp.check_checksum", "ip.check_checksum")
_NO_GUESS: Final = "tcp.port"
"""Neither program is to guess from a port what the data might be, and find fault with that."""
_PORTS: Final = range(1, 65536)

_NAMES: Final = [
    f"/usr/share/wireshark/{name}" for name in ("enterprises.tsv", "manuf", "services")
]
"""Files of names, which nobody asks for here."""
_WITHOUT_NAMES: Final = f"""
for file in {" ".join(_NAMES)}; do
    test ! -e $file || mount --bind /dev/null $file || exit
done
exec "$@"
"""

_MEMORY: Final = 400
"""MiB that a ``sharkd`` may keep: 140 when it starts, 170 after all captures of the tests."""


class Remark(NamedTuple):
    """What an expert says of one packet."""

    source: str
    """Its address; in an ICMP error also the quoted packet's, after a bar."""
    severity: int
    message: str


class Tshark:
    """Asks ``tshark``.

    Args:
        program: Its path.
    """

    def __init__(self, program: str) -> None:
        self._program = program

    def remarks(self, capture: Path) -> list[Remark]:
        """What is a note or worse, in the order of the packets."""
        fields = ("ip.src", "ipv6.src", "_ws.expert.severity", "_ws.expert.message")
        result = subprocess.run(
            [
                *(self._program, "-n", "-r", str(capture), "-T", "fields"),
                *(word for name in _CHECKSUMS for word in ("-o", f"{name}:TRUE")),
                *("-d", f"{_NO_GUESS}=={_PORTS.start}-{_PORTS.stop - 1},data"),
                *("-Y", f"_ws.expert.severity >= {NOTE}"),
                *(word for field in fields for word in ("-e", field)),
                *("-E", "aggregator=|"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        found = []
        for line in result.stdout.splitlines():
            *sources, severities, messages = line.split("\t")
            for severity, message in zip(severities.split("|"), messages.split("|"), strict=True):
                found.append(Remark("".join(sources), int(severity, 0), message))
        return [remark for remark in found if remark.severity >= NOTE]


@functools.cache
def without_names() -> list[str]:
    """What to put before a command to which the files of names are empty; [] if that may not be.

    ``sharkd`` reads all of them for each capture, whatever its settings: that takes 30 times as
    long as a small capture, and 11 MiB that it does not give back.
    """
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *as_user, "--mount", "--", "sh", "-c", _WITHOUT_NAMES, "sh"]
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else []


class SharkdError(Exception):
    """It has ended, or does not answer what it was asked."""


class Sharkd:
    """Asks a ``sharkd``, which runs until it is closed.

    Args:
        program: Its path.
        settings: A folder, which exists, for Wireshark's settings.
    """

    def __init__(self, program: str, settings: Path) -> None:
        as_data = "".join(f"decode_as_entry: {_NO_GUESS},{port},(none),Data\n" for port in _PORTS)
        (settings / "decode_as_entries").write_text(as_data)
        (settings / "colorfilters").write_text("# No packet is coloured.\n")
        self._asked = 0
        self._process = subprocess.Popen(
            [*without_names(), program, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "WIRESHARK_CONFIG_DIR": str(settings)},
        )
        try:
            for name in _CHECKSUMS:
                self._done("setconf", name=name, value="TRUE")
        except BaseException:
            self.close()
            raise

    def remarks(self, capture: Path) -> list[Remark]:
        """What is a note or worse, in the order of the packets.

        Raises:
            SharkdError: it tells nothing.
        """
        self._done("load", file=str(capture))
        names = ("ip.src", "ipv6.src", "frame.comment", "_ws.expert.severity", "_ws.expert.message")
        columns = {f"column{at}": f"{name}:0" for at, name in enumerate(names)}
        # What a filter has found is remembered, even when another capture is loaded: so none is
        # used twice. There is no packet of that number.
        told = f"_ws.expert.severity >= {NOTE} || frame.number == {0xFFFFFFFF - self._asked}"
        found = []
        for frame in self._ask("frames", filter=told, **columns):
            source, source6, *remarks = frame["c"]
            for severity, message in self._of_columns(*remarks) or self._of_tree(frame["num"]):
                found.append(Remark((source + source6).replace(",", "|"), severity, message))
        return [remark for remark in found if remark.severity >= NOTE]

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def memory(self) -> int:
        """MiB that it has in memory; 0 once it has ended."""
        with suppress(OSError):
            _, resident, *_ = Path(f"/proc/{self.pid}/statm").read_text().split()
            return int(resident) * resource.getpagesize() >> 20
        return 0

    def close(self) -> None:
        """End it."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                assert pipe
                pipe.close()
        self._process.wait()

    @staticmethod
    def _of_columns(comment: str, severities: str, messages: str) -> list[tuple[int, str]]:
        """Severities and messages, whose separator is a comma; [] where messages have commas."""
        names = severities.split(",")
        if names[0] == "Comment" and comment and messages.startswith(f"{comment},"):
            del names[0]
            messages = messages[len(comment) + 1 :]
        each = messages.split(",")
        if len(each) != len(names):
            return []
        return [(_SEVERITIES[name], message) for name, message in zip(names, each, strict=True)]

    def _of_tree(self, number: int) -> list[tuple[int, str]]:
        """The same, of all that is shown of a packet."""
        return list(_experts(self._ask("frame", frame=number, proto=True)["tree"]))

    def _done(self, method: str, **parameters: object) -> None:
        answer = self._ask(method, **parameters)
        if answer.get("status") != "OK":
            raise SharkdError(f"{method}: {answer}")

    def _ask(self, method: str, **parameters: object) -> Any:
        self._asked += 1
        question = {"jsonrpc": "2.0", "id": self._asked, "method": method, "params": parameters}
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise SharkdError(f"{method}: {error}") from error
        if answer.get("id") != self._asked or "result" not in answer:
            raise SharkdError(f"{method}: {answer}")
        return answer["result"]


def _experts(nodes: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if node.get("f") == "_ws.expert":
            message, *rest = (child["l"] for child in node["n"])
            prefix = "Severity level: "
            severity = next(label for label in rest if label.startswith(prefix))
            yield _SEVERITIES[severity.removeprefix(prefix)], message
        yield from _experts(node.get("n", []))


class Wireshark:
    """Asks ``sharkd``, and ``tshark`` where that is missing or has failed once.

    Args:
        tshark: Path of the program.
        sharkd: Path of the program, if there is one.
        settings: A folder, which exists, for Wireshark's settings.
        memory: MiB with which one ``sharkd`` is replaced by another.
    """

    def __init__(
        self, tshark: str, sharkd: str | None, settings: Path, memory: int = _MEMORY
    ) -> None:
        self._tshark = Tshark(tshark)
        self._program = sharkd
        self._settings = settings
        self._sharkd: Sharkd | None = None
        self._memory = memory

    def open(self) -> None:
        """Start what stays, unless it runs: the first question need not wait for that."""
        if self._program and not (self._sharkd and self._sharkd.memory < self._memory):
            self.close()
            try:
                self._sharkd = Sharkd(self._program, self._settings)
            except (OSError, SharkdError):
                self._program = None

    def remarks(self, capture: Path) -> list[Remark]:
        """What is a note or worse, in the order of the packets."""
        self.open()
        if self._sharkd:
            try:
                return self._sharkd.remarks(capture)
            except SharkdError:
                self.close()
                self._program = None
        return self._tshark.remarks(capture)

    @property
    def pid(self) -> int | None:
        """Of the ``sharkd`` that runs."""
        return self._sharkd.pid if self._sharkd else None

    def close(self) -> None:
        """End what stays."""
        if self._sharkd:
            self._sharkd.close()
            self._sharkd = None
