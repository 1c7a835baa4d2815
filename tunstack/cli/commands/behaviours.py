"""``tunstack behaviours``: how a peer can misbehave, and how to have it."""

from __future__ import annotations

from difflib import get_close_matches
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import click

from tunstack.behaviours import catalogue, elsewhere_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.behaviours import Behaviour, Elsewhere

_PARTS: Final = {
    "opening": "The opening of a connection",
    "program": "The program behind the port",
    "ending": "The end of a connection",
    "path": "The network before the port",
    "segments": "Segments",
    "choice": "Which connections: beside other words",
}
_EPILOG = """\b
Examples:
  tunstack behaviours
  tunstack behaviours reset-after
  tunstack run --serve http:80,reset-after=4096 -- curl http://peer.test/bytes/9999
  tunstack run --serve echo,loss=5%,out:delay=50ms -- socat - TCP:198.51.100.2:7
  tunstack run --serve http,reset-on-accept,first=2 -- curl --retry 3 http://peer.test/

\b
Values:
  OCTETS  4096, 4kB, 1MB       TIME  20ms, 1.5s
  SHARE   5%                   RATE  64kbit, 10mbit
"""


@click.command(epilog=_EPILOG)
@click.argument("name", required=False, metavar="[NAME]")
def behaviours(name: str | None) -> int:
    """List how a peer can misbehave, or tell what NAME does and how to cope with it.

    They are written behind an app of serve and run, several with commas, and are the argument
    behaviour= of Host.serve_tcp and serve_udp.
    """
    click.echo("\n".join(_list() if name is None else _details(name)))
    return 0


def _list() -> Iterator[str]:
    for part, title in _PARTS.items():
        yield f"{title}:"
        for each in catalogue():
            if each.part == part:
                yield from _entry(each.usage(), each.summary, each.example)
        yield ""
    yield "Names and TLS, by other options:"
    for other in elsewhere_catalogue():
        yield from _entry(other.usage, other.summary, other.example)


def _entry(usage: str, summary: str, example: str) -> Iterator[str]:
    yield f"  {usage}"
    yield f"      {summary}"
    if example not in usage:
        yield f"      {example}"


def _details(name: str) -> Iterator[str]:
    found: dict[str, type[Behaviour]] = {each.name: each for each in catalogue()}
    others: dict[str, Elsewhere] = {each.name: each for each in elsewhere_catalogue()}
    if name in found:
        each = found[name]
        yield f"{each.usage()}"
        yield f"  {each.summary}"
        yield f"  of: {' and '.join(each.protocols).upper()}"
        yield f"  --serve http:80,{each.example}"
        yield f'  host.serve_tcp(handler, 80, behaviour="{each.example}")'
        yield from _advice(each.copes)
    elif name in others:
        other = others[name]
        yield other.usage
        yield f"  {other.summary}"
        yield from _wrapped(f"{other.of}: {other.use}")
        yield f"  {other.example}"
        yield from _advice(other.copes)
    else:
        close = get_close_matches(name, [*found, *others], n=3, cutoff=0.5)
        there = f"did you mean {' or '.join(close)}?" if close else "leave it out for the list"
        raise click.BadParameter(f"there is no behaviour {name!r}: {there}", param_hint="NAME")


def _advice(copes: str) -> Iterator[str]:
    yield from _wrapped(f"In a robust client: {copes}")


def _wrapped(text: str) -> Iterator[str]:
    yield from wrap(text, 80, initial_indent="  ", subsequent_indent="    ")
