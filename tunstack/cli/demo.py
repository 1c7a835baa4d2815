"""``tunstack demo``: a connection from the first packet to the last, explained."""

from __future__ import annotations

import shutil
import socket
import textwrap
from typing import TYPE_CHECKING, Final

import click
import trio
from rich.text import Text

import tunstack
from tunstack.apps import APPS
from tunstack.cli.ladder import Ladder, Step, step_from_observation, symbols_for
from tunstack.cli.running import execute, settle
from tunstack.cli.status import Failure
from tunstack.cli.terminal import console, print_lines
from tunstack.tcp.segment import FIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tunstack.stack.observation import Observation

_ADDRESS: Final = "198.51.100.2"
_URL: Final = f"http://{_ADDRESS}/"
_QUESTION: Final = b"Can you still send after my FIN?\n"
_ANSWER: Final = (b"Yes:\n", b"I am in\n", b"CLOSE-WAIT.\n")
_HALF_CLOSE_PORT: Final = 7000
_PAUSE: Final = 0.05

_INTRODUCTION: Final = """
In a private network, the kernel has the address 198.51.100.1. The host 198.51.100.2, at the other
end of a TUN device, is this Python process, which sends every packet of that host."""
_OPENING: Final = """
Each side sends a SYN with its initial sequence number, which the other acknowledges (RFC 9293
section 3.5); the numbers shown are relative to those. The SYN's options are the maximum segment
size (mss), selective acknowledgments permitted (sackOK), timestamps (ts), and the window scale
(wscale)."""
_TALKING: Final = """
Every octet has a sequence number. The acknowledgment number is the next one expected, and the
window the number of octets that the receiver accepts from there (sections 3.4 and 3.8)."""
_CLOSING: Final = """
Each side closes its half with a FIN, which occupies a sequence number and is acknowledged as data
is (section 3.6). {first} closed first, and stays in TIME-WAIT for 2 MSL, so that delayed segments
of this connection are not accepted by a later one (section 3.6.1)."""
_HALF_CLOSING: Final = """
This client closed its half right after the question, and went on receiving. Our side is in
CLOSE-WAIT from then on: it receives no more data, but may send any amount (section 3.6.1). The
whole answer was sent after the client's FIN; our own FIN closes the connection."""
_VERDICT: Final = """
The kernel's TCP counters in this network namespace."""

_COUNTERS: Final = {
    "ActiveOpens": "connections opened",
    "InSegs": "segments received",
    "OutSegs": "segments sent",
    "InErrs": "segments received with errors",
    "InCsumErrors": "... of the checksum",
    "RetransSegs": "segments retransmitted",
    "OutRsts": "resets sent",
}


@click.command(epilog="\b\nExample:\n  tunstack demo")
def demo() -> int:
    """Show TCP connections between the kernel and tunstack, and explain them packet by packet.

    In a private network, curl fetches a page, and then a client half-closes its connection and
    receives the response afterwards. The exit status is 0 if both succeed.
    """
    return execute("tunstack demo", _Demo().run)


async def _answer_after_the_end(stream: trio.abc.Stream) -> None:
    """Read to the end of the stream; then send the response in parts."""
    while await stream.receive_some():
        pass
    for part in _ANSWER:
        await trio.sleep(_PAUSE)
        await stream.send_all(part)


class _Demo:
    def __init__(self) -> None:
        self._console = console()
        self._seen: list[Observation] = []
        self._ladder = Ladder(
            width=self._console.width,
            symbols=symbols_for(self._console.encoding),
            names=("kernel", "tunstack"),
            full=True,
        )

    async def run(self) -> int:
        async with (
            tunstack.open_namespace() as namespace,
            namespace.open_host(f"{_ADDRESS}/24", tap=self._seen.append) as host,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(host.serve_tcp, APPS["http"].handler, 80)
            await nursery.start(host.serve_tcp, _answer_after_the_end, _HALF_CLOSE_PORT)
            self._say(_INTRODUCTION)
            await self._fetch_a_page(namespace)
            await settle(host)
            self._explain_the_page()
            await self._half_close(namespace)
            await settle(host)
            self._head("The half-close")
            self._say(_HALF_CLOSING)
            self._draw(self._steps())
            await self._ask_the_kernel(namespace)
            nursery.cancel_scope.cancel()
        return 0

    async def _fetch_a_page(self, namespace: tunstack.Namespace) -> None:
        if shutil.which("curl"):
            self._head(f"$ curl {_URL}")
            result = await namespace.run_process(
                ["curl", "-sS", "--max-time", "10", _URL], capture_stdout=True, check=False
            )
            if result.returncode != 0:
                raise Failure(f"curl failed with status {result.returncode}", 1)
            page = result.stdout
        else:
            self._head(f"(no curl here: a kernel socket fetches {_URL})")
            request = f"GET / HTTP/1.1\r\nHost: {_ADDRESS}\r\n\r\n".encode()
            with namespace.socket() as client:
                await client.connect((_ADDRESS, 80))
                await client.send(request)
                page = (await client.recv(65536)).partition(b"\r\n\r\n")[2]
        self._show(page.decode())

    def _explain_the_page(self) -> None:
        steps = self._steps()
        opened = 1 + _first(n for n, step in enumerate(steps) if step.after == "ESTABLISHED")
        ending = _first(n for n, step in enumerate(steps) if _has_fin(step))
        first = "The kernel's side" if steps[ending].direction == "in" else "Our side"
        for title, text, part in (
            ("The handshake", _OPENING, steps[:opened]),
            ("Request and answer", _TALKING, steps[opened:ending]),
            ("The teardown", _CLOSING.format(first=first), steps[ending:]),
        ):
            self._head(title)
            self._say(text)
            self._draw(part)

    async def _half_close(self, namespace: tunstack.Namespace) -> None:
        self._head("A client on a kernel socket: send, shutdown(SHUT_WR), receive to the end")
        answer = b""
        with namespace.socket() as client, trio.move_on_after(10):
            await client.connect((_ADDRESS, _HALF_CLOSE_PORT))
            await client.send(_QUESTION)
            client.shutdown(socket.SHUT_WR)
            while data := await client.recv(65536):
                answer += data
        lines = [f"< {line}" for line in answer.decode().splitlines()]
        self._show(f"> {_QUESTION.decode()}" + "\n".join(lines))
        if answer != b"".join(_ANSWER):
            raise Failure("the answer after the half-close did not arrive", 1)

    async def _ask_the_kernel(self, namespace: tunstack.Namespace) -> None:
        self._head("The kernel's counters")
        self._say(_VERDICT)
        result = await namespace.run_process(["cat", "/proc/net/snmp"], capture_stdout=True)
        counters = read_snmp(result.stdout.decode()).get("Tcp", {})
        lines = [
            f"{counters[key]:>6}  {text}" for key, text in _COUNTERS.items() if key in counters
        ]
        self._show("\n".join(lines))
        if shutil.which("ss"):
            result = await namespace.run_process(["ss", "-tan"], capture_stdout=True, check=False)
            self._show(f"$ ss -tan\n{result.stdout.decode()}")
        if counters.get("InErrs"):
            raise Failure("the kernel found fault with our segments", 1)

    def _steps(self) -> list[Step]:
        """The TCP segments since the last call."""
        steps = [step_from_observation(seen) for seen in self._seen]
        self._seen.clear()
        return [step for step in steps if step.segment is not None]

    def _head(self, text: str) -> None:
        self._console.print(Text(text, "bold"))

    def _say(self, text: str) -> None:
        width = min(self._console.width, 88)
        self._show(textwrap.fill(" ".join(text.split()), width))

    def _show(self, text: str) -> None:
        self._console.print(Text(text.rstrip()))
        self._console.print()

    def _draw(self, steps: Iterable[Step]) -> None:
        for step in steps:
            print_lines(self._console, self._ladder.add(step))
        self._console.print()


def _first(numbers: Iterable[int]) -> int:
    for number in numbers:
        return number
    raise Failure("the exchange is not complete", 1)


def _has_fin(step: Step) -> bool:
    return step.segment is not None and step.segment.flags & FIN != 0


def read_snmp(text: str) -> Mapping[str, Mapping[str, int]]:
    """Parse /proc/net/snmp: pairs of lines, the names and the values of one protocol."""
    lines = text.splitlines()
    return {
        names.partition(":")[0]: dict(
            zip(names.split()[1:], map(int, numbers.split()[1:]), strict=True)
        )
        for names, numbers in zip(lines[::2], lines[1::2], strict=True)
    }
