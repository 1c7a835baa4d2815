"""Makes docs/how-to/misbehaviours.md of the table: ``python -m tests.misbehaviours.rendering``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.misbehaviours.names_and_tls import NAMES, TLS
from tests.misbehaviours.network import NETWORK
from tests.misbehaviours.opening import OPENING
from tests.misbehaviours.programs import PROGRAMS
from tests.misbehaviours.segments import SEGMENTS
from tunstack import behaviours

if TYPE_CHECKING:
    from tests.misbehaviours.table import Misbehaviour

PAGE: Final = Path(__file__).parents[2] / "docs" / "how-to" / "misbehaviours.md"

GROUPS: Final = {
    "The opening of a connection": OPENING,
    "The network on the way": NETWORK,
    "The peer's TCP": SEGMENTS,
    "The program behind the port, and the end": PROGRAMS,
    "Names": NAMES,
    "TLS": TLS,
}

HEAD: Final = """\
# What can go wrong on a network

{count} misbehaviours: the lines that make each, what a client meets, what a robust client does
about it, and how it is done with toxiproxy, scapy and packetdrill. Our tests run these very lines,
with a client that is a program (curl, or Python in a process of its own) and with one in the test's
own process. [Test your program](test-my-program.md) says how to begin.

The lines belong into a test with the fixtures of the pytest plugin, before the client:

```python
import threading
import tunstack
from tunstack.blocking import Stream

ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nright"

def test_it(tunstack_host, tunstack_sockets):
    host = tunstack_host
    host.serve_tcp("http")                                       # here
    host.rules.delay(0.1, direction="out", flags="SYN,ACK")      # and here
    ...                                                          # your client
```

or below `with blocking.open_namespace() as ns, ns.open_host() as host, ns.sockets():`. The same
verbs are there for trio programs, with `await`.

The other tools, in a few words, so that the rows can be short:

- **toxiproxy** is a TCP proxy between two kernels' sockets: what it does is done to the data of a
  connection that is open. What is below, it cannot touch.
- **scapy** makes and reads any packet, and has no TCP that could serve your client. *By hand* means
  that you write that, with a firewall rule against the RSTs of your own kernel; *NFQUEUE* means
  that a correct server is elsewhere, and its packets pass through a queue of netfilter, read by a
  Python library beside scapy. Both need root.
- **packetdrill** tests the kernel's TCP: the client is system calls in its script, not your
  program. The lines shown are what the script injects (`<`) or expects (`>`). They need root.
"""


def page() -> str:
    """Return the page."""
    rows = [each for group in GROUPS.values() for each in group]
    parts = [HEAD.format(count=len(rows)), _overview()]
    for title, group in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [_section(each) for each in group]
    parts.append(_behaviours())
    return "\n".join(parts)


BEHAVIOURS: Final = """\
## Behaviours by name

All words of `behaviour=`, as `tunstack behaviours` lists them. Several are joined by commas.

| how it is written | for example | met | a robust client |
|---|---|---|---|
"""


def _behaviours() -> str:
    """The catalogue, and what is made by other means."""
    rows = [
        f"| `{_cell(each.usage())}` | `{_cell(each.example)}` | {_cell(each.summary)}"
        f" | {_cell(each.copes)} |\n"
        for each in behaviours.catalogue()
    ]
    return BEHAVIOURS + "".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _overview() -> str:
    lines = [
        "| misbehaviour | made of | toxiproxy | scapy | packetdrill |",
        "|---|---|---|---|---|",
    ]
    for group in GROUPS.values():
        lines += [
            f"| [{each.title}](#{_anchor(each.title)}) | {each.made_of} | {_can(each.toxiproxy)}"
            f" | {_can(each.scapy)} | {_can(each.packetdrill, 'in its script')} |"
            for each in group
        ]
    return "\n".join(lines) + "\n"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _can(text: str, otherwise: str = "yes") -> str:
    """A counterpart in a word."""
    if text.startswith(("not possible", "not in practice")):
        return "not possible" if text.startswith("not possible") else "not in practice"
    for word in ("nearly", "by hand", "NFQUEUE", "none needed", "with a toxic of one's own"):
        if text.startswith(word):
            return word
    return otherwise


def _section(row: Misbehaviour) -> str:
    return "\n".join(
        [
            f"### {row.title}\n",
            "```python",
            _plain(row.source),
            "```\n",
            f"- Met: {row.met}",
            f"- A robust client: {row.robust}",
            f"- toxiproxy: {row.toxiproxy}.",
            f"- scapy: {row.scapy}.",
            f"- packetdrill: {row.packetdrill}.\n",
        ]
    )


def _plain(source: str) -> str:
    """Without annotations and blank lines, as one writes it in a test."""
    unannotated = re.sub(r"(\(\w+): \w+\) -> \w+:", r"\1):", source)
    return "\n".join(line for line in unannotated.splitlines() if line.strip())


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
