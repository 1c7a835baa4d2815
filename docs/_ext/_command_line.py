"""The command line as a page, made of the commands' help (:mod:`generated`)."""

from __future__ import annotations

from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import tunstack.cli
from tunstack.cli import commands, options
from tunstack.cli.root import root, summaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_VERBATIM: Final = "\b"
"""The first line of a paragraph that click does not wrap."""
_SPECIAL: Final = str.maketrans({each: f"\\{each}" for each in "\\`*_<>[]|#"})


def sources() -> Iterable[Path]:
    """The modules of the commands, and of their options."""
    folders = [
        Path(folder) for each in (tunstack.cli, commands, options) for folder in each.__path__
    ]
    return sorted(path for folder in folders for path in folder.glob("*.py"))


def markdown() -> str:
    """A section for each command."""
    context = click.Context(root, info_name="tunstack", **root.context_settings)
    sections = [
        "\n".join(
            f"- [`tunstack {name}`](#tunstack-{name}): {_escaped(summary)}"
            for name, summary in summaries().items()
        ),
        *_section(context),
    ]
    for name in summaries():
        command = root.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, **command.context_settings)
        sections += _section(inner)
    return "\n\n".join(sections) + "\n"


def _section(context: click.Context) -> Iterator[str]:
    command = context.command
    path = context.command_path
    yield f"## {path}"
    yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield from _paragraphs(cleandoc(command.help or ""))
    records = [each.get_help_record(context) for each in command.get_params(context)]
    for names, text in filter(None, records):
        if text:
            yield f"`{names}`\n: {_escaped(' '.join(text.split()))}"
    yield from _paragraphs(cleandoc(command.epilog or ""))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in filter(None, text.split("\n\n")):
        if not paragraph.startswith(_VERBATIM):
            yield _escaped(" ".join(paragraph.split()))
            continue
        lines = paragraph.removeprefix(_VERBATIM).strip("\n").split("\n")
        if lines[0].endswith(":") and len(lines) > 1:
            yield _escaped(lines.pop(0))
        yield "```text\n" + cleandoc("\n" + "\n".join(lines)) + "\n```"


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)
