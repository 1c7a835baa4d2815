"""What ``tunstack demo`` does: an exchange in a private network, and what it prints of it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import textwrap
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from rich.text import Text

import tunstack
from tunstack.apps import dns
from tunstack.apps.tls import over_tls
from tunstack.cli.output.explaining import CLOSING, LOOK_UP, OPENING, SECURING, TALKING, Explainer
from tunstack.cli.output.terminal import console, print_lines
from tunstack.cli.output.timings import print_timings
from tunstack.cli.running.execution import execute, settle
from tunstack.cli.status import Failure
from tunstack.deploy.addresses import default_addresses
from tunstack.ladder import Ladder, step_from_observation, symbols_for
from tunstack.ladder.timing import Timings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tunstack.ladder import Step
    from tunstack.stack.observation import Observation

    _Explained: TypeAlias = tuple[Step, str, str]

_ADDRESS: Final = "198.51.100.2"
_NAME: Final = "peer.test"
_URL: Final = f"https://{_NAME}/"
_QUESTION: Final = b"Can you still send after my FIN?\n"
_ANSWER: Final = (b"Yes:\n", b"I am in\n", b"CLOSE-WAIT.\n")
_HALF_CLOSE_PORT: Final = 7000
_PAUSE: Final = 0.05
_SECONDS: Final = 10
_PAGE: Final = """\
<!doctype html>
<title>tunstack</title>
<h1>It works</h1>
<p>This page came over a TCP connection whose other end is a Python process.</p>
"""
_RESPONSE: Final = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n{_PAGE}"
"""Without a length: it ends with the connection, which is closed by the server first."""
_REQUEST_OCTETS: Final = 65536
_CLIENT: Final = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=10) as page:
    sys.stdout.write(page.read().decode())
"""
"""A client for where there is no curl."""

_INTRODUCTION: Final = """
In a private network, the kernel has {theirs}. The host at the other end of a TUN device, {ours}, is
this Python process: DNS server, web server, and every packet of TCP."""
_TITLES: Final = {
    LOOK_UP: "The look-up",
    OPENING: "The TCP handshake",
    SECURING: "The TLS handshake",
    TALKING: "Request and answer",
    CLOSING: "The teardown",
}
_TEXTS: Final = {
    LOOK_UP: """
The client knows a name only. Its resolver asks the server of /etc/resolv.conf over UDP, once for
each family (RFC 1035; AAAA: RFC 3596).""",
    OPENING: """
{choice} Each side sends a SYN with its initial sequence number, which the other acknowledges (RFC
9293 section 3.5); the numbers shown are relative to those. The SYN's options are the maximum
segment size (mss), selective acknowledgments permitted (sackOK), timestamps (ts), and the window
scale (wscale).""",
    SECURING: """
Both sides agree on keys, and the server proves that it is {name} (RFC 8446). Only the hellos can be
read on the way: with TLS 1.3 the certificate is encrypted already.""",
    TALKING: """
Every octet has a sequence number, of what is encrypted as well. The acknowledgment number is the
next one expected, and the window the number of octets that the receiver accepts from there (RFC
9293 sections 3.4 and 3.8).""",
    CLOSING: """
Each side closes its half with a FIN, which occupies a sequence number and is acknowledged as data
is (section 3.6). {first} closed first, and stays in TIME-WAIT for 2 MSL, so that delayed segments
of this connection are not accepted by a later one (section 3.6.1).""",
}
_SIX_FIRST: Final = """
Of both families the client tries IPv6 first, and IPv4 if no answer comes: curl after 200 ms, which
is called Happy Eyeballs (RFC 8305)."""
_HALF_CLOSING: Final = """
This client closed its half right after the question, and went on receiving. Our side is in
CLOSE-WAIT from then on: it receives no more data, but may send any amount (section 3.6.1). The
whole answer was sent after the client's FIN; our own FIN closes the connection."""
_VERDICT: Final = """
The kernel's TCP counters in this network namespace."""
_TIMES: Final = """
As seen at the TUN device, by phases, as curl's --write-out has them."""
_FURTHER: Final = f"""
tunstack run --trace -- curl {_URL}
tunstack run --pcap x.pcapng --keylog keys -- curl {_URL}
tunstack trace x.pcapng --svg x.svg    (and Wireshark shows the plain text)"""

_COUNTERS: Final = {
    "ActiveOpens": "connections opened",
    "InSegs": "segments received",
    "OutSegs": "segments sent",
    "InErrs": "segments received with errors",
    "InCsumErrors": "... of the checksum",
    "RetransSegs": "segments retransmitted",
    "OutRsts": "resets sent",
}


def demo() -> int:
    """Show it all; returns the exit status."""
    return execute("tunstack demo", _Demo().run)


async def _answer_a_request(stream: trio.abc.Stream) -> None:
    """Read the head of a request, whatever it asks for, and send the page."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _REQUEST_OCTETS:
        if not (data := await stream.receive_some()):
            return
        head += data
    await stream.send_all(_RESPONSE.encode())


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
        self._explainer = Explainer()
        self._timings = Timings()
        self._ladder = Ladder(
            width=self._console.width,
            symbols=symbols_for(self._console.encoding),
            names=("kernel", "tunstack"),
            full=True,
        )

    async def run(self) -> int:
        dns.load()  # No time that is shown is that of an import.
        with tunstack.Authority() as authority:
            async with tunstack.open_namespace({}) as namespace:
                addresses = default_addresses(sysctl=namespace.sysctl)
                own = [address.partition("/")[0] for address in addresses]
                self._introduce(own)
                context = authority.issue([_NAME, *own], alpn=["http/1.1"])
                async with (
                    namespace.open_host(*addresses, tap=self._seen.append) as host,
                    trio.open_nursery() as nursery,
                ):
                    handler = over_tls(context, _answer_a_request)
                    await nursery.start(host.serve_tcp, handler, 443)
                    await nursery.start(host.serve_tcp, _answer_after_the_end, _HALF_CLOSE_PORT)
                    await self._tell(namespace, host, authority.environment())
                    nursery.cancel_scope.cancel()
        self._head("To go on")
        self._show(_FURTHER.strip())
        return 0

    async def _tell(
        self, namespace: tunstack.Namespace, host: tunstack.Host, environment: Mapping[str, str]
    ) -> None:
        await self._fetch_a_page(namespace, {**os.environ, **environment})
        await settle(host)
        self._explain_the_page()
        await self._half_close(namespace)
        await settle(host)
        self._head("The half-close")
        self._say(_HALF_CLOSING)
        self._draw(self._explained())
        self._show_times()
        await self._ask_the_kernel(namespace)

    def _introduce(self, ours: list[str]) -> None:
        theirs = [f"{address[:-1]}1" for address in ours]
        self._say(_INTRODUCTION.format(theirs=" and ".join(theirs), ours=" and ".join(ours)))

    async def _fetch_a_page(
        self, namespace: tunstack.Namespace, environment: Mapping[str, str]
    ) -> None:
        if shutil.which("curl"):
            self._head(f"$ curl {_URL}")
            command = ["curl", "-sS", "--max-time", str(_SECONDS), _URL]
        else:
            self._head("No curl here (Debian: apt install curl): Python's urllib instead")
            command = [sys.executable, "-c", _CLIENT, _URL]
        with trio.move_on_after(_SECONDS + 1):
            result = await namespace.run_process(
                command, capture_stdout=True, check=False, env=environment
            )
            if result.returncode != 0:
                name = os.path.basename(command[0])
                raise Failure(f"{name} failed with status {result.returncode}", 1)
            self._show(result.stdout.decode())
            return
        raise Failure(f"{_URL} did not arrive in {_SECONDS} seconds", 1)

    def _explain_the_page(self) -> None:
        explained = self._explained()
        opening = next((each for each in explained if each[1] == OPENING), None)
        ending = next((each for each in explained if each[1] == CLOSING), None)
        if opening is None or ending is None:
            raise Failure("the exchange is not complete", 1)
        closers = (step for step, _, _ in explained if step.before != step.after)
        first = next(
            ("Our side" if step.after == "FIN-WAIT-1" else "The kernel's side")
            for step in closers
            if step.after in ("FIN-WAIT-1", "CLOSE-WAIT")
        )
        choice = _SIX_FIRST if ":" in opening[0].source[0] else ""
        for phase, title in _TITLES.items():
            self._head(title)
            self._say(_TEXTS[phase].format(name=_NAME, first=first, choice=choice))
            self._draw(each for each in explained if each[1] == phase)

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

    def _show_times(self) -> None:
        self._head("Where the time went")
        self._say(_TIMES)
        print_timings(self._console, self._timings)
        self._console.print()

    def _explained(self) -> list[_Explained]:
        """The packets since the last call, of DNS and TCP, with their phase and explanation."""
        explained = []
        for seen in self._seen:
            step = step_from_observation(seen)
            self._timings.add(step)
            if step.protocol in ("TCP", "UDP"):
                explained.append((step, *self._explainer.explain(step)))
        self._seen.clear()
        return explained

    def _head(self, text: str) -> None:
        self._console.print(Text(text, "bold"))

    def _say(self, text: str) -> None:
        width = min(self._console.width, 88)
        self._show(textwrap.fill(" ".join(text.split()), width, break_on_hyphens=False))

    def _show(self, text: str) -> None:
        self._console.print(Text(text.rstrip()))
        self._console.print()

    def _draw(self, explained: Iterable[_Explained]) -> None:
        for step, _, line in explained:
            print_lines(self._console, self._ladder.add(step))
            self._console.print(Text(f"{' ' * 15}({line})", "italic"))
        self._console.print()


def read_snmp(text: str) -> Mapping[str, Mapping[str, int]]:
    """Parse /proc/net/snmp: pairs of lines, the names and the values of one protocol."""
    lines = text.splitlines()
    return {
        names.partition(":")[0]: dict(
            zip(names.split()[1:], map(int, numbers.split()[1:]), strict=True)
        )
        for names, numbers in zip(lines[::2], lines[1::2], strict=True)
    }
