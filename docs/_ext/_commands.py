"""The commands of a page: found in its text, and run in one folder, in the order of the page.

::

    <!-- file: shout.py -->
    ```python
    ...
    ```

    ```{run}
    :exit: 56
    $ tunstack run --serve http,reset-after=4096 -- curl http://198.51.100.2/bytes/9999
    ```

The block behind ``<!-- file: NAME -->`` is put into the page's folder, as its reader does, and the
commands of a ``{run}`` block run there: on a terminal of their own (`terminal`), with the folder
``examples`` of the repository beside them. A line that begins with ``$`` is a command, and the
lines up to the next one belong to it.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from _terminal import plain, run_on_terminal

ROOT: Final = Path(__file__).resolve().parents[2]
TIMEOUT: Final = 120.0
"""Seconds for one command."""
COLUMNS: Final = 84
"""What fits beside the site's navigation."""
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FENCE: Final = re.compile(
    r"^(?:<!-- file: (?P<file>[\w./-]+) -->\n)?"
    r"(?P<ticks>`{3,})(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=ticks)$",
    re.M | re.S,
)
_OPTION: Final = re.compile(r":([\w-]+):[ ]*(.*)\n")


@dataclass(frozen=True)
class File:
    """A block of a page that its reader saves.

    Attributes:
        name: In the page's folder.
        text: What is in it.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Block:
    """A ``{run}`` block.

    Attributes:
        line: The number of its first line, from 1.
        options: Such as ``{"exit": "56"}``.
        commands: Without their prompts.
    """

    line: int
    options: dict[str, str]
    commands: tuple[str, ...]

    @property
    def status(self) -> int:
        """The exit status that its last command must have; the others end with 0."""
        return int(self.options.get("exit", "0"))

    @property
    def pictures(self) -> list[str]:
        """The files that are shown below it."""
        return self.options.get("picture", "").split()


@dataclass
class Outcome:
    """What became of a block.

    Attributes:
        block: The block.
        printed: What each command printed, with the escape sequences of colours.
        pictures: The text of each picture, by the name of its file.
        failure: What went wrong, or None.
    """

    block: Block
    printed: list[str] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)
    failure: str | None = None


def _block(text: str, line: int) -> Block:
    """Return the block of which this is the content.

    Raises:
        ValueError: There is no command in it, or an option is wrong.
    """
    options = {}
    while option := _OPTION.match(text):
        options[option[1]] = option[2].strip()
        text = text[option.end() :]
    first, *commands = re.split(r"^\$ ", text, flags=re.M)
    if first.strip() or not commands:
        raise ValueError(f"{line}: after its options a {{run}} block begins with '$ ', a command")
    if not re.fullmatch(r"\d+", options.get("exit", "0")):
        raise ValueError(f"{line}: an exit status is a number")
    if options.get("picture") and not options.get("alt"):
        raise ValueError(f"{line}: a picture needs :alt:, what it shows in words")
    return Block(line, options, tuple(command.strip() for command in commands))


def items_of(text: str) -> list[File | Block]:
    """Find the files and the ``{run}`` blocks of a page, in their order.

    Raises:
        ValueError: A block is malformed; the message begins with its line.
    """
    items: list[File | Block] = []
    for match in _FENCE.finditer(text):
        if match["file"]:
            items.append(File(match["file"], match["text"]))
        elif match["info"].strip() == "{run}":
            items.append(_block(match["text"], text.count("\n", 0, match.start()) + 1))
    return items


def blocks_of(text: str) -> list[Block]:
    """Find the ``{run}`` blocks of a page.

    Raises:
        ValueError: A block is malformed; the message begins with its line.
    """
    return [item for item in items_of(text) if isinstance(item, Block)]


def perform(text: str) -> dict[int, Outcome]:
    """Run all blocks of a page, each by the number of its line; after a failure no further ones.

    Raises:
        ValueError: A block is malformed.
    """
    outcomes: dict[int, Outcome] = {}
    if not blocks_of(text):
        return outcomes
    with TemporaryDirectory(prefix="tunstack-page-") as name:
        folder = Path(name)
        (folder / "examples").symlink_to(ROOT / "examples")
        for item in items_of(text):
            if isinstance(item, File):
                (folder / item.name).parent.mkdir(parents=True, exist_ok=True)
                (folder / item.name).write_text(item.text)
                continue
            outcome = outcomes[item.line] = _run(item, folder)
            if outcome.failure is not None:
                break
    return outcomes


def _run(block: Block, folder: Path) -> Outcome:
    outcome = Outcome(block)
    for number, command in enumerate(block.commands, 1):
        expected = block.status if number == len(block.commands) else 0
        status, printed = run_on_terminal(
            command, folder, _environment(folder), columns=COLUMNS, timeout=TIMEOUT
        )
        printed = printed.replace(f"{folder}/", "")
        outcome.printed.append(printed)
        if status != expected:
            outcome.failure = f"$ {command}\n{printed}\nexit status {status}, not {expected}"
            if status is None:
                outcome.failure = f"$ {command}\n{printed}\nnot over after {TIMEOUT:.0f} seconds"
            return outcome
    for picture in block.pictures:
        if not (folder / picture).is_file():
            outcome.failure = f"the commands have not made the picture {picture}"
            return outcome
        outcome.pictures[picture] = (folder / picture).read_text()
    return outcome


def _environment(folder: Path) -> dict[str, str]:
    """What a reader's terminal has, and nothing of this machine."""
    scripts = os.path.dirname(sys.executable)
    return {
        "PATH": f"{scripts}:{_SYSTEM_PATH}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "COLUMNS": str(COLUMNS),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Where matplotlib keeps its list of fonts: made once, and not by every command.
        "MPLCONFIGDIR": str(ROOT / "build" / "matplotlib"),
    }


def why_not() -> str | None:
    """Why no command can run here: what ``tunstack doctor`` says; None if they can."""
    environment = _environment(ROOT)
    status, printed = run_on_terminal(
        "tunstack doctor", ROOT, environment, columns=COLUMNS, timeout=TIMEOUT
    )
    return None if status == 0 else plain(printed)
