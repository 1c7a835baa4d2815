"""Parts of pages that are made at the build, of the package itself.

A block of a page, with the name of what is to stand there, is replaced before the page is read:

    ```{generated} command-line
    ```

`PARTS` has the names. Each part is Markdown, as if it stood in the page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import _command_line
import _conformance_table
import _layers_picture
import _states_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

_BLOCK: Final = re.compile(r"^```\{generated\} (?P<name>\S+)\n```$", re.MULTILINE)


class Part(NamedTuple):
    """What makes a part, and the files that it depends on."""

    make: Callable[[], str]
    sources: Callable[[], Iterable[Path]]


PARTS: Final = {
    "command-line": Part(_command_line.markdown, _command_line.sources),
    "conformance": Part(_conformance_table.markdown, _conformance_table.sources),
    "layers": Part(_layers_picture.markdown, _layers_picture.sources),
    "states": Part(_states_picture.picture, _states_picture.sources),
    "transitions": Part(_states_picture.table, _states_picture.sources),
}


def replace(app: Sphinx, _page: str, source: list[str]) -> None:
    """Put the parts into a page that is about to be read."""

    def made(block: re.Match[str]) -> str:
        part = PARTS[block["name"]]
        for path in part.sources():
            app.env.note_dependency(str(path))
        return part.make()

    source[0] = _BLOCK.sub(made, source[0])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect it."""
    app.connect("source-read", replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
