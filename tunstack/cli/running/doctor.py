"""What ``tunstack doctor`` does: a diagnosis, printed."""

from __future__ import annotations

import json
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import click
from rich.text import Text

from tunstack.cli.output.terminal import console
from tunstack.cli.running.execution import execute
from tunstack.deploy.diagnosis import diagnose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from tunstack.deploy.diagnosis import Diagnosis, Finding

_STYLES: Final = {"ok": "green", "warning": "yellow", "failure": "bold red"}
_STATUS_WIDTH: Final = max(map(len, _STYLES))
_WIDEST: Final = 100
_NARROWEST: Final = 20


def doctor(*, as_json: bool, color: bool | None) -> int:
    """Print the diagnosis; returns the exit status.

    Args:
        as_json: The option.
        color: The option.
    """

    async def main() -> int:
        diagnosis = await diagnose()
        if as_json:
            click.echo(json.dumps(diagnosis.to_dict(), indent=2))
        else:
            _print(console(color=color), diagnosis)
        return 0 if diagnosis.works else 1

    return execute("tunstack doctor", main)


def _print(page: Console, diagnosis: Diagnosis) -> None:
    names = max(len(each.name) for each in diagnosis.findings)
    width = min(page.width, _WIDEST)
    topic = ""
    for each in diagnosis.findings:
        if each.topic != topic:
            page.print(Text(each.topic, "bold"))
            topic = each.topic
        for line in _lines(each, names, width):
            page.print(line)
    page.print()
    if diagnosis.failure is None:
        page.print(Text("tunstack run works here.", "bold"))
    else:
        verdict = f"tunstack run does not work here: {diagnosis.failure}"
        for words in _wrapped(verdict, width):
            page.print(Text(words, "bold"))


def _lines(finding: Finding, names: int, width: int) -> Iterator[Text]:
    """The status, the name, and the text with the advice below it."""
    indent = 2 + _STATUS_WIDTH + 2 + names + 2
    left = max(width - indent, _NARROWEST)
    label = Text.assemble(
        "  ",
        (f"{finding.status:{_STATUS_WIDTH}}  ", _STYLES[finding.status]),
        f"{finding.name:{names}}  ",
    )
    for words in _wrapped(finding.text, left):
        yield label.append(words)
        label = Text(" " * indent)
    for words in _wrapped(f"-> {finding.advice}" if finding.advice else "", left):
        yield Text(" " * indent).append(words, "bold")


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(text, width, break_on_hyphens=False)
