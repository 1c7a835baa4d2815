"""Manual pages, made of the help of the commands: ``python -m tunstack.cli.manual FOLDER``.

It writes ``tunstack.1``, and ``tunstack-COMMAND.1`` for each command, in man(7). click-man leaves
out the epilogs, where our examples and exit statuses are, and a group that imports its commands
when they are used; so this is our own.
"""

from __future__ import annotations

import sys
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import tunstack
from tunstack.cli.root import root, summaries

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERBATIM: Final = "\b"
"""The first line of a paragraph that click does not wrap."""


def pages() -> Iterator[tuple[str, str]]:
    """The name of each page's file, and its text."""
    context = click.Context(root, info_name="tunstack", **root.context_settings)
    described = summaries()
    yield "tunstack.1", _page(context, "a TCP/IP endpoint in user space", described)
    for name, summary in described.items():
        command = root.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, **command.context_settings)
        yield f"tunstack-{name}.1", _page(inner, summary.rstrip(".").lower(), {})


def main(folder: str) -> None:
    """Write all pages to a folder, which is made if it is not there."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (Path(folder) / name).write_text(text)


def _page(context: click.Context, summary: str, commands: dict[str, str]) -> str:
    command = context.command
    name = context.command_path.replace(" ", "-")
    lines = [
        f'.TH "{_text(name.upper())}" "1" "" "tunstack {tunstack.__version__}" "User Commands"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary)}",
        ".SH SYNOPSIS",
        f".B {_text(context.command_path)}",
        _text(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs(cleandoc(command.help or "")),
        ".SH OPTIONS",
    ]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            lines += _item(*record)
    if commands:
        lines.append(".SH COMMANDS")
        for each, what in commands.items():
            lines += _item(f"{name}-{each}(1)", what)
    lines += _epilog(cleandoc(command.epilog or ""))
    if not commands:
        lines += [".SH SEE ALSO", ".BR tunstack (1)"]
    return "\n".join(lines) + "\n"


def _item(term: str, text: str) -> list[str]:
    return [".TP", f"\\fB{_text(term)}\\fR", _text(" ".join(text.split()))]


def _epilog(text: str) -> Iterator[str]:
    """Our epilogs begin with the examples; other paragraphs are notes."""
    heading = ""
    for paragraph in filter(None, text.split("\n\n")):
        title = paragraph.removeprefix(f"{_VERBATIM}\n").partition("\n")[0]
        wanted = "EXAMPLES" if title in ("Example:", "Examples:") else "NOTES"
        if wanted != heading:
            heading = wanted
            yield f".SH {heading}"
        if wanted == "EXAMPLES":
            paragraph = paragraph.replace(f"{title}\n", "", 1)
        yield from _paragraphs(paragraph)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in filter(None, text.split("\n\n")):
        yield ".PP"
        if paragraph.startswith(_VERBATIM):
            yield ".nf"
            yield from map(_text, paragraph.removeprefix(_VERBATIM).strip("\n").split("\n"))
            yield ".fi"
        else:
            yield _text(" ".join(paragraph.split()))


def _text(words: str) -> str:
    """Escape what roff would read as a request or an escape sequence, or change in commands."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


if __name__ == "__main__":
    main(sys.argv[1])
