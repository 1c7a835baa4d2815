"""``tunstack demo``: a connection from the first packet to the last, explained."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click
import trio
from rich.text import Text

import tunstack
from tunstack.apps import APPS
from tunstack.cli.ladder import Ladder, Step, step_from_observation, symbols_for
from tunstack.cli.running import Failure, execute, settle
from tunstack.cli.watching import console, print_lines
from tunstack.tcp.segment import FIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from tunstack.observation import Observation

_ADDRESS: Final = "198.51.100.2"
_HALF_CLOSE_PORT: Final = 7000
_PAUSE: Final = 0.05

_OPENING = """\
The handshake (RFC 9293 section 3.5). Each side sends a SYN with the number from which it counts its
octets, and the other acknowledges it; the numbers here are relative to those. The SYNs also carry
what each side can do: its segment size (mss), selective acknowledgments (sackOK), timestamps (ts),
and how its window is scaled (wscale)."""
_TALKING = """\
Request and answer (section 3.10.7.4). Every octet has a number; an acknowledgment names the next
one that is expected, and the window says how many more there is room for."""
_CLOSING = """\
The teardown (section 3.6). Each side ends its own half with a FIN, which has a number like an octet
and is acknowledged like one. The kernel's program closed first, so the kernel waits in TIME-WAIT
(section 3.4.2), and our connection is gone with the last acknowledgment."""
_HALF_CLOSE = """\
A half-close (section 3.6, case 1). This client says that it will send no more, and goes on
receiving. Our side is in CLOSE-WAIT: it knows that nothing will come, and may still send for as
long as it likes. What it sends here, it began to send after the client's FIN."""


@click.command(epilog="\b\nExample:\n  tunstack demo")
def demo() -> int:
    """Let the kernel talk TCP with tunstack, and explain the exchange packet by packet.

    In a private network: curl fetches a page, then a client half-closes its connection and is
    answered all the same. The exit status is 0 when all went well, 1 when not.
    """
    return execute("tunstack demo", _Demo(console()).run)


@dataclass
class _Demo:
    console: Console
    seen: list[Observation] = field(default_factory=list)

    async def run(self) -> int:
        async with (
            tunstack.open_namespace() as namespace,
            namespace.open_host(f"{_ADDRESS}/24", tap=self.seen.append) as host,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(host.serve_tcp, APPS["http"].handler, 80)
            await nursery.start(host.serve_tcp, _answer_after_the_end, _HALF_CLOSE_PORT)
            self.say(
                "A private network. The kernel is 198.51.100.1 in it; 198.51.100.2, at the other"
                " end of a TUN device, is this Python process."
            )
            await self.fetch_a_page(namespace)
            await self.settle(host)
            self.explain_the_page()
            await self.half_close(namespace)
            await self.settle(host)
            self.explain(_HALF_CLOSE, self.steps())
            await self.ask_the_kernel(namespace)
            nursery.cancel_scope.cancel()
        return 0

    def say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=False)
        self.console.print()

    def show(self, text: str) -> None:
        self.console.print(Text(text.rstrip()))
        self.console.print()
'''
